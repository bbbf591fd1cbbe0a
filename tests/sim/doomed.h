/*
 * Clients that delete runs: open and closed ones, the current one and older ones. What is deleted must not be found
 * again, whatever breaks, and what is not must stay.
 */
#ifndef TESTS_SIM_DOOMED_H
#define TESTS_SIM_DOOMED_H

#include "tests/sim/cluster.h"

struct sim_doomed;

struct sim_doomed *sim_doomed_new(struct sim_cluster *c, int workflows);
void sim_doomed_free(struct sim_doomed *d);
/* All of them have seen what they had to. */
bool sim_doomed_done(const struct sim_doomed *d);
/* Nothing of the deleted runs is in the database. Only when the cluster is at rest. */
void sim_doomed_check(const struct sim_doomed *d);
/* "doomed: 1 of 4 done; d2 at step 3" */
void sim_doomed_describe(const struct sim_doomed *d, struct buf *out);

#endif
