/*
 * Hashes that place things: FNV-1a with a finalizer, and rendezvous weights.
 */
#include "common/membership/placement.h"

#define FNV_OFFSET 0xcbf29ce484222325ULL
#define FNV_PRIME  0x100000001b3ULL

static uint64_t fnv(uint64_t h, struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		h = (h ^ b.data[i]) * FNV_PRIME;
	return h;
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

uint64_t placement_hash(struct bytes key)
{
	return mix(fnv(FNV_OFFSET, key));
}

uint64_t placement_hash2(struct bytes a, struct bytes b)
{
	return mix(fnv(fnv(fnv(FNV_OFFSET, a), bytes_of("", 1)), b));
}

uint32_t shard_of(const char *namespace_id, const char *workflow_id, uint32_t shard_count)
{
	assert(shard_count > 0);
	return (uint32_t)(placement_hash2(bytes_str(namespace_id), bytes_str(workflow_id)) % shard_count);
}

uint64_t placement_weight(uint64_t candidate, uint64_t key)
{
	return mix(candidate ^ mix(key));
}
