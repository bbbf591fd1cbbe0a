/*
 * A deleted namespace's runs in one shard are removed. For purge.c only.
 */
#ifndef SERVICES_HISTORY_PURGE_SWEEP_H
#define SERVICES_HISTORY_PURGE_SWEEP_H

#include "services/history/history.h"

struct sweep;

/* clean: nothing is left, and that is noted. Else it is to be tried again. Never called inline; the sweep is gone. */
typedef void sweep_done_fn(void *ctx, bool clean, size_t removed);

/* Precondition: the shard serves. */
struct sweep *sweep_start(struct shard *s, const char *namespace_id, sweep_done_fn *fn, void *ctx);
/* Ends it without a word. Accepts NULL. The shard's memory must have been dropped. */
void sweep_free(struct sweep *w);

#endif
