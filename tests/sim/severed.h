/*
 * An edge that cannot reach one history node: a scenario of its own.
 */
#ifndef TESTS_SIM_SEVERED_H
#define TESTS_SIM_SEVERED_H

#include "tests/sim/cluster.h"

/* Whole, the cluster's end included. It has an edge, and at least two history nodes. */
void sim_severed(struct sim_cluster *c);

#endif
