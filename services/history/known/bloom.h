/*
 * A Bloom filter over 64-bit hashes: it may say yes to what was never added, and never no to what was.
 */
#ifndef SERVICES_HISTORY_KNOWN_BLOOM_H
#define SERVICES_HISTORY_KNOWN_BLOOM_H

#include "common/base/base.h"

struct bloom;

/* Up to `capacity` hashes it errs on fewer than one in a hundred; beyond, more often. */
struct bloom *bloom_new(size_t capacity);
void bloom_free(struct bloom *b); /* accepts NULL */
/* Whether it surely was not there before. */
bool bloom_add(struct bloom *b, uint64_t hash);
bool bloom_maybe(const struct bloom *b, uint64_t hash);
size_t bloom_bytes(size_t capacity);

#endif
