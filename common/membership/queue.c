/*
 * Where a task queue lives.
 */
#include "common/membership/placement.h"

uint64_t placement_queue(const char *namespace_id, const char *name, int pollers, bool sticky)
{
	const uint8_t tail[] = {(uint8_t)pollers, sticky};
	uint64_t name_hash = placement_hash2(bytes_str(namespace_id), bytes_str(name));
	return placement_weight(name_hash, placement_hash(bytes_of(tail, sizeof tail)));
}
