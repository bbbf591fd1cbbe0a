/*
 * The few macros every file uses. Nothing here allocates.
 */
#ifndef COMMON_BASE_BASE_H
#define COMMON_BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define array_len(a)			(sizeof(a) / sizeof((a)[0]))
#define must_check			__attribute__((warn_unused_result))
#define printf_like(fmt, args)		__attribute__((format(printf, fmt, args)))

#define NS_PER_US 1000LL
#define NS_PER_MS 1000000LL
#define NS_PER_S  1000000000LL

static inline int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* NULL-tolerant: protobuf-c strings may be NULL when a message was built by hand. */
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

static inline bool str_eq(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

#endif
