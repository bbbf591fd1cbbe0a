/*
 * Nanoseconds from and to protobuf's Duration and Timestamp.
 */
#include "services/history/core/pbtime.h"

static int64_t nearest_ns(int64_t seconds, int64_t nanos)
{
	int64_t ns;
	if (__builtin_mul_overflow(seconds, NS_PER_S, &ns) || __builtin_add_overflow(ns, nanos, &ns))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

int64_t pb_duration_ns(const Google__Protobuf__Duration *d)
{
	return d ? nearest_ns(d->seconds, d->nanos) : 0;
}

Google__Protobuf__Duration *pb_duration(struct arena *a, int64_t ns)
{
	Google__Protobuf__Duration *d = arena_new0(a, Google__Protobuf__Duration);
	google__protobuf__duration__init(d);
	d->seconds = ns / NS_PER_S;
	d->nanos = (int32_t)(ns % NS_PER_S);
	return d;
}

int64_t pb_timestamp_ns(const Google__Protobuf__Timestamp *t)
{
	return t ? nearest_ns(t->seconds, t->nanos) : 0;
}

Google__Protobuf__Timestamp *pb_timestamp(struct arena *a, int64_t ns)
{
	Google__Protobuf__Timestamp *t = arena_new0(a, Google__Protobuf__Timestamp);
	google__protobuf__timestamp__init(t);
	/* Nanos count forward, also before the epoch. */
	t->seconds = ns / NS_PER_S - (ns % NS_PER_S < 0);
	t->nanos = (int32_t)(ns - t->seconds * NS_PER_S);
	return t;
}

Google__Protobuf__Timestamp *pb_timestamp_or_null(struct arena *a, int64_t ns)
{
	return ns ? pb_timestamp(a, ns) : NULL;
}

const char *pb_duration_check(Google__Protobuf__Duration *d)
{
	if (!d)
		return NULL;
	if ((d->seconds > 0 && d->nanos < 0) || (d->seconds < 0 && d->nanos > 0))
		return "duration has seconds and nanos with different signs";
	int64_t ns = pb_duration_ns(d);
	if (ns < 0)
		return "negative duration";
	if (ns > PBTIME_DURATION_MAX_S * NS_PER_S) {
		d->seconds = PBTIME_DURATION_MAX_S;
		d->nanos = 0;
	}
	return NULL;
}

int64_t time_add_ns(int64_t a, int64_t b)
{
	int64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t seconds_ns(int64_t seconds)
{
	return nearest_ns(seconds, 0);
}
