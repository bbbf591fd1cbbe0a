/*
 * Other namespaces: one that keeps closed runs for seconds only, and one that is deleted while it is in use. What is
 * over must not be found, what is not must be; of the deleted one nothing may stay.
 */
#ifndef TESTS_SIM_TENANTS_H
#define TESTS_SIM_TENANTS_H

#include "tests/sim/cluster.h"

struct sim_tenants;

/* So many workflows in each. */
struct sim_tenants *sim_tenants_new(struct sim_cluster *c, int workflows);
void sim_tenants_free(struct sim_tenants *t);
/* The brief ones' runs have expired, and the deleted namespace is gone. */
bool sim_tenants_done(const struct sim_tenants *t);
/* Nothing of the deleted namespace is anywhere. Only when the cluster is at rest. */
void sim_tenants_check(const struct sim_tenants *t);
void sim_tenants_describe(const struct sim_tenants *t, struct buf *out);

#endif
