/*
 * Bits, five of them a hash. The hashes of one shard have their remainder by the number of shards in common, so they
 * are mixed again first; the five places follow from two halves (Kirsch and Mitzenmacher: as good as five hashes).
 */
#include "services/history/known/bloom.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define BITS_PER_HASH 12
#define PLACES	      5

struct bloom {
	uint64_t bits;
	uint64_t words[];
};

static size_t words_for(size_t capacity)
{
	return (capacity * BITS_PER_HASH + 63) / 64 + 1;
}

size_t bloom_bytes(size_t capacity)
{
	return sizeof(struct bloom) + words_for(capacity) * sizeof(uint64_t);
}

struct bloom *bloom_new(size_t capacity)
{
	struct bloom *b = mem_zalloc(bloom_bytes(capacity));
	b->bits = words_for(capacity) * 64;
	return b;
}

void bloom_free(struct bloom *b)
{
	free(b);
}

/* The multipliers and shifts are those of the finalizer of SplitMix64. */
static uint64_t mixed(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t place(const struct bloom *b, uint64_t hash, uint64_t i)
{
	uint64_t one = hash & UINT32_MAX, two = (hash >> 32) | 1;
	return (one + i * two) * 0x9e3779b97f4a7c15u % b->bits;
}

bool bloom_add(struct bloom *b, uint64_t hash)
{
	bool fresh = false;
	hash = mixed(hash);
	for (uint64_t i = 0; i < PLACES; i++) {
		uint64_t at = place(b, hash, i), bit = (uint64_t)1 << (at % 64);
		fresh = fresh || !(b->words[at / 64] & bit);
		b->words[at / 64] |= bit;
	}
	return fresh;
}

bool bloom_maybe(const struct bloom *b, uint64_t hash)
{
	hash = mixed(hash);
	for (uint64_t i = 0; i < PLACES; i++) {
		uint64_t at = place(b, hash, i);
		if (!(b->words[at / 64] & ((uint64_t)1 << (at % 64))))
			return false;
	}
	return true;
}
