/*
 * Cron schedules: minute, hour, day of month, month, day of week; "@daily" and the like; "@every 90s"; each with an
 * optional "CRON_TZ=zone " before it. The dialect is that of Go's robfig/cron, which clients of this API write for.
 */
#ifndef SERVICES_HISTORY_CORE_CRON_H
#define SERVICES_HISTORY_CORE_CRON_H

#include "common/tz/tz.h"
#include "services/history/core/txn.h"

struct cron {
	int64_t every_s; /* > 0: "@every", and the rest is unset */
	/* Bit n: the value n is in. */
	uint64_t minutes, hours, days, months, weekdays;
	/* Not restricted ("*"): the other day field alone decides. Where both are, either does. */
	bool any_day, any_weekday;
	const struct tz *zone; /* NULL: UTC */
};

/* False for what is no schedule. */
bool cron_parse(const struct core_zones *zones, const char *text, struct cron *ret);

/* The first moment after `after_ns` that the schedule names, on a whole second; INT64_MAX when the next five years have
 * none. */
int64_t cron_next(const struct cron *c, int64_t after_ns);

/* INVALID_ARGUMENT for what is no schedule, or names no moment. Empty is valid. */
must_check struct err cron_validate(const struct core_zones *zones, const char *text, int64_t now_ns);

#define CRON_NONE (-1)
/*
 * How long the next run of a schedule waits, in whole seconds; CRON_NONE without a schedule. `due_ns` is when the run
 * before was due: what was missed meanwhile is left out.
 */
int64_t cron_backoff_ns(const struct core_zones *zones, const char *text, int64_t due_ns, int64_t now_ns);

#endif
