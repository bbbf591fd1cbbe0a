/*
 * What breaks, when, chosen by the seed; and the healing of everything at the end.
 */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/cluster.h"

struct sim_faults;

/* `count` faults over the next `span_ns`. */
struct sim_faults *sim_faults_new(struct sim_cluster *c, int count, int64_t span_ns);
/* Everything runs again, nothing is cut, nothing fails. */
void sim_faults_heal(struct sim_faults *f);
void sim_faults_free(struct sim_faults *f);

#endif
