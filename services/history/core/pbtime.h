/*
 * Between our int64 nanoseconds and the public API's Duration and Timestamp messages.
 */
#ifndef SERVICES_HISTORY_CORE_PBTIME_H
#define SERVICES_HISTORY_CORE_PBTIME_H

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>

#include "common/err/err.h"

/* The longest duration that is kept as it is (100 years of 365 days); what is longer is cut to it. */
#define PBTIME_DURATION_MAX_S (100LL * 365 * 24 * 3600)

/* NULL is 0; what doesn't fit is the nearest that does. */
int64_t pb_duration_ns(const Google__Protobuf__Duration *d);
/* Never NULL: 0 gives a present, empty message ("0s"). */
Google__Protobuf__Duration *pb_duration(struct arena *a, int64_t ns);

/* NULL is 0. */
int64_t pb_timestamp_ns(const Google__Protobuf__Timestamp *t);
Google__Protobuf__Timestamp *pb_timestamp(struct arena *a, int64_t ns);
/* 0 (none) gives NULL. */
Google__Protobuf__Timestamp *pb_timestamp_or_null(struct arena *a, int64_t ns);

/*
 * Why a duration from outside is refused ("negative duration", "duration has seconds and nanos with different signs"),
 * or NULL. An acceptable one beyond the maximum is cut to it in place. NULL is acceptable.
 */
const char *pb_duration_check(Google__Protobuf__Duration *d);

/* b after a, without overflow: a + b, at most INT64_MAX. Both >= 0. */
int64_t time_add_ns(int64_t a, int64_t b);
/* In nanoseconds; what doesn't fit is the nearest that does. */
int64_t seconds_ns(int64_t seconds);

#endif
