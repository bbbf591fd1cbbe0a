/*
 * Time zones: how far local time is from UTC, and until when. From the system's zone files (TZif, RFC 8536).
 */
#ifndef COMMON_TZ_TZ_H
#define COMMON_TZ_TZ_H

#include "common/base/bytes.h"

struct tz;

/* NULL for bytes that are no zone. Nothing of `file` is kept. */
struct tz *tz_parse(struct bytes file);
/* Accepts NULL. */
void tz_free(struct tz *z);

/* A stretch of time with one offset. All in seconds; times since the Unix epoch. */
struct tz_span {
	int64_t from_s;	  /* INT64_MIN: always so far */
	int64_t to_s;	  /* the first moment after it; INT64_MAX: for ever */
	int64_t offset_s; /* local = UTC + offset */
};
/* The stretch that contains a moment. NULL is UTC. */
struct tz_span tz_span_at(const struct tz *z, int64_t utc_s);

#endif
