/*
 * Where things live: pure functions from keys to shards and from keys to nodes. All daemons compute the same.
 *
 * The hash is part of the stored data (a workflow's shard is derived from it) and never changes: FNV-1a (64 bit) over
 * the bytes, then the finalizer of MurmurHash3 (fmix64), because FNV alone leaves the low bits of similar keys alike.
 */
#ifndef COMMON_MEMBERSHIP_PLACEMENT_H
#define COMMON_MEMBERSHIP_PLACEMENT_H

#include "common/base/bytes.h"

uint64_t placement_hash(struct bytes key);
/* Of the two keys with a NUL between them, which neither contains. */
uint64_t placement_hash2(struct bytes a, struct bytes b);

/* The shard (0 … shard_count-1) of a workflow id: forever, for a given shard_count. */
uint32_t shard_of(const char *namespace_id, const char *workflow_id, uint32_t shard_count);

/*
 * Rendezvous hashing: a key belongs to the candidate with the greatest weight, so that a node that comes or goes moves
 * only its own keys. `candidate` and `key` are hashes.
 */
uint64_t placement_weight(uint64_t candidate, uint64_t key);

/*
 * The key of a task queue, to be given to membership_partition_owner(): gateways, matching and history must agree.
 * `pollers` is perdure.TaskKind.
 */
uint64_t placement_queue(const char *namespace_id, const char *name, int pollers, bool sticky);

#endif
