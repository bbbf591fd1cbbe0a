/*
 * The invariants of the design, checked against what the simulated database holds and what owners have in memory.
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "tests/sim/cluster.h"

/* Journal: epochs never go down as seq goes up, seq has no gaps; runs: numbered events, one open run an id. */
void sim_check_stored(struct sim_cluster *c);
/* Snapshot plus journal equals the owner's memory, for every run; every open run waits for something. Only when the
 * cluster is at rest. */
void sim_check_memory(struct sim_cluster *c);
/* Whoever serves a shard wakes up for the next thing that is due on it. */
void sim_check_timers(struct sim_cluster *c);

/* Rows of the backlog against runs and the owners' memory. */
void sim_check_backlog(struct sim_cluster *c);
/* Of all nodes that run. */
void sim_check_auditors(struct sim_cluster *c);
/* What a history node's own auditor has found while it ran: nothing, whatever happened around it. */
void sim_check_auditor(const struct sim_node *n);

#endif
