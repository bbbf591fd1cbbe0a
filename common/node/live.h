/*
 * Keeps the daemon's settings as the database says they are for the whole cluster.
 *
 * They are read before the node joins, at once when a change is announced, and every half minute for what an
 * announcement may have missed. Until the first reading has succeeded nothing else happens.
 */
#ifndef COMMON_NODE_LIVE_H
#define COMMON_NODE_LIVE_H

#include "common/daemon/daemon.h"
#include "common/store/store.h"

struct node;

/* Embedded in the node; starts as zero. */
struct live {
	const struct daemon_ctx *daemon;
	struct store *store;
	struct env_timer timer;
	bool reading, again; /* announced while a reading was under way */
	void (*first)(void *ctx);
	void *ctx;
};

/* `first` is called once, on the loop, when they have been read; not from within. */
void live_start(struct live *l, struct node *n, void (*first)(void *ctx), void *ctx);
/* Before the store is freed in the same turn. Also when it was never started. */
void live_stop(struct live *l);

#endif
