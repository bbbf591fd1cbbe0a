/*
 * The rule at a zone file's end, by which its offset changes for ever after: POSIX's TZ string ("CET-1CEST,M3.5.0,…").
 */
#ifndef COMMON_TZ_TZ_RULE_H
#define COMMON_TZ_TZ_RULE_H

#include "common/tz/tz.h"

struct tz_rule_date {
	enum {
		TZ_DAY_JULIAN, /* day 1..365, February 29 is not counted */
		TZ_DAY_ZERO,   /* day 0..365, it is */
		TZ_DAY_WEEK,   /* weekday `day` of week 1..5 (5: the last) of the month */
	} kind;
	int day, week, month;
	int64_t time_s; /* local, since that day's midnight */
};

struct tz_rule {
	int64_t standard_s, summer_s; /* offsets */
	bool has_summer;
	struct tz_rule_date begin, end; /* of summer */
};

/* False for a text that is no such rule. */
bool tz_rule_parse(struct bytes text, struct tz_rule *ret);
struct tz_span tz_rule_span_at(const struct tz_rule *r, int64_t utc_s);

#endif
