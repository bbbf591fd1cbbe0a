/*
 * Which workflow ids the database may know: a filter a shard, so that a request for an id that it surely doesn't know
 * costs no look-up (which visits every partition of closed runs).
 */
#ifndef SERVICES_HISTORY_KNOWN_KNOWN_H
#define SERVICES_HISTORY_KNOWN_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct history;
struct shard;
struct known;

/* For metrics. */
struct known_counts {
	uint64_t spared, asked; /* look-ups: ids that were surely not there, others */
	uint64_t built, failed; /* filters */
	size_t shards, bytes;
};

struct known *known_new(struct history *h);
void known_free(struct known *k); /* accepts NULL */
/* A run of the id is in memory, and may be written from now on. */
void known_add(struct known *k, const struct shard *s, const char *namespace_id, const char *workflow_id);
/* True: the database has no run of the id, open or closed, but those that are in memory. */
bool known_absent(struct known *k, const struct shard *s, const char *namespace_id, const char *workflow_id);
/* The shard is no longer ours: others may write to it. */
void known_forget(struct known *k, const struct shard *s);
struct known_counts known_counts(const struct known *k);

#endif
