/*
 * The removal of what deleted namespaces held: see README.md.
 */
#ifndef SERVICES_HISTORY_PURGE_PURGE_H
#define SERVICES_HISTORY_PURGE_PURGE_H

#include <stdint.h>

#include "common/namespaces/namespaces.h"

struct history;
struct purge;

/* For metrics. */
struct purge_counts {
	uint64_t runs, failed,
		namespaces; /* removed by this node; sweeps of it that failed; namespaces that are gone */
	uint64_t waiting;   /* deleted namespaces that are still there */
};

struct purge *purge_new(struct history *h);
/* The shards have been freed. Accepts NULL. */
void purge_free(struct purge *p);
struct purge_counts purge_counts(const struct purge *p);

/* Whether it is deleted: nothing in it is served any more. */
bool purge_is_deleted(const struct namespace *ns);

#endif
