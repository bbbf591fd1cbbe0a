/*
 * An arena: memory that is given back all at once, when the operation it serves ends.
 *
 * The limit counts what is unpacked from outside (arena_try_alloc and the protobuf allocator): it answers NULL past
 * the limit, and arena_full() then tells "too large" from "malformed". What our own code asks for (arena_alloc) is
 * small and always granted.
 */
#ifndef COMMON_MEM_ARENA_H
#define COMMON_MEM_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"

struct arena;

/* limit: bytes that arena_try_alloc and the protobuf allocator may hand out in all. */
struct arena *arena_new(size_t limit);
/* Accepts NULL. */
void arena_free(struct arena *a);
/* Forgets everything, keeps the first chunk for the next operation. */
void arena_reset(struct arena *a);
size_t arena_used(const struct arena *a);
/* True once an allocation was refused because of the limit. */
bool arena_full(const struct arena *a);

/* Zeroed, aligned for any type; valid until the arena is reset or freed. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
void *arena_try_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3) __attribute__((returns_nonnull));
struct bytes arena_copy(struct arena *a, struct bytes v);

/* For protobuf_c_message_unpack(); its free does nothing. Valid as long as the arena. */
ProtobufCAllocator *arena_pb(struct arena *a);

#define arena_new0(a, type)	((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (n)))

#endif
