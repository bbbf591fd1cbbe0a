/*
 * All namespaces of the cluster, cached: they are few, every request needs one, and they hardly ever change.
 *
 * The whole table is read at the start, when somebody announces a change (NOTIFY), now and then, and when a look-up
 * misses: so "not found" always rests on a read that began after the question. Reads have a minimum distance, however
 * many look-ups miss.
 *
 * Belongs to one loop. A `struct namespace` is valid until the end of the turn; copy what must live longer.
 */
#ifndef COMMON_NAMESPACES_NAMESPACES_H
#define COMMON_NAMESPACES_NAMESPACES_H

#include <perdure/namespace.pb-c.h>

#include "common/store/store.h"

struct namespace
{
	const char *id, *name;
	int64_t version; /* for store_namespace_put() */
	const Perdure__NamespaceRecord *record;
};

struct namespaces;

struct namespaces_config {
	int64_t refresh_ns; /* read again at least this often; 0: 10 s */
};

/* Neither env nor store is owned. Nothing happens before namespaces_start(). */
struct namespaces *namespaces_new(struct env *env, struct store *store, const struct namespaces_config *config);
void namespaces_start(struct namespaces *n);
/* Accepts NULL. Waiters are not called. The store goes in the same turn: it may still have a read of ours. */
void namespaces_free(struct namespaces *n);

/* Read at least once. */
bool namespaces_loaded(const struct namespaces *n);
/* Monotonic: when the read began that the cache is from. What happened before, the cache knows. */
int64_t namespaces_read_ns(const struct namespaces *n);
/* From the cache; NULL when it isn't there (which may mean that it is new: namespaces_refresh()). */
const struct namespace *namespaces_by_name(const struct namespaces *n, const char *name);
const struct namespace *namespaces_by_id(const struct namespaces *n, const char *id);
/* All, ordered by name. */
const struct namespace *namespaces_all(const struct namespaces *n, size_t *ret_count);

/* Embedded in the object that waits. */
struct namespaces_wait {
	/* e: the store's error; the cache is then as it was. Never called inline. */
	void (*fn)(struct namespaces_wait *w, struct err e);
	struct namespaces_wait *prev, *next;
	bool waiting;
};
/* Calls w->fn after a read that began after this call. */
void namespaces_refresh(struct namespaces *n, struct namespaces_wait *w);
/* Harmless when it doesn't wait. */
void namespaces_refresh_cancel(struct namespaces *n, struct namespaces_wait *w);

#endif
