/*
 * Clients and workers of the simulated cluster, and what they expect: the model that results are held against.
 *
 * Each workflow follows a script (script.h). Clients repeat what was not acknowledged, with the same request id, as
 * SDKs do; workers poll, cache runs for their sticky queues, heartbeat, fail, and die.
 */
#ifndef TESTS_SIM_LOAD_H
#define TESTS_SIM_LOAD_H

#include "tests/sim/cluster.h"

struct sim_load;

struct sim_load *sim_load_new(struct sim_cluster *c, int workflows, int workers);
void sim_load_free(struct sim_load *l);
/* All workflows have ended and their results were seen. */
bool sim_load_done(void *load);
/* "3 of 10 done; w4: started signalled …" */
void sim_load_describe(const struct sim_load *l, struct buf *out);
/* From now on no worker dies and no activity fails by itself. */
void sim_load_calm(struct sim_load *l);

#endif
