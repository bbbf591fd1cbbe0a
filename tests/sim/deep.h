/*
 * Deep backlogs: a scenario of its own.
 */
#ifndef TESTS_SIM_DEEP_H
#define TESTS_SIM_DEEP_H

#include "tests/sim/cluster.h"

/* Whole, the cluster's end included. */
void sim_deep(struct sim_cluster *c);

#endif
