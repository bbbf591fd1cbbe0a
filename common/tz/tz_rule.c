/*
 * POSIX's TZ string.
 */
#include "common/tz/tz_rule.h"

#include <ctype.h>

#include "common/tz/calendar.h"

/* ------------------------------------------------------------------ reading */

struct cursor {
	const char *at, *end;
};

static bool take(struct cursor *c, char what)
{
	if (c->at == c->end || *c->at != what)
		return false;
	c->at++;
	return true;
}

static bool take_number(struct cursor *c, int max, int *ret)
{
	int n = 0;
	const char *begin = c->at;
	while (c->at < c->end && isdigit((unsigned char)*c->at) && n <= max)
		n = n * 10 + (*c->at++ - '0');
	*ret = n;
	return c->at > begin && n <= max;
}

/* "CET", or "<+0330>". The name itself is of no interest. */
static bool take_name(struct cursor *c)
{
	const char *begin = c->at;
	if (take(c, '<')) {
		while (c->at < c->end && *c->at != '>')
			c->at++;
		return take(c, '>');
	}
	while (c->at < c->end && isalpha((unsigned char)*c->at))
		c->at++;
	return c->at - begin >= 3;
}

/* [+-]hours[:minutes[:seconds]] */
static bool take_time(struct cursor *c, int64_t *ret_s)
{
	const int hours_max = 167;
	int sign = 1, part;
	if (take(c, '-'))
		sign = -1;
	else
		(void)take(c, '+');
	if (!take_number(c, hours_max, &part))
		return false;
	int64_t s = part * 3600LL;
	for (int unit = 60; unit >= 1 && take(c, ':'); unit /= 60) {
		if (!take_number(c, 59, &part))
			return false;
		s += (int64_t)part * unit;
	}
	*ret_s = sign * s;
	return true;
}

static bool take_date(struct cursor *c, struct tz_rule_date *d)
{
	bool ok;
	*d = (struct tz_rule_date){.kind = TZ_DAY_ZERO, .time_s = 2 * 3600};
	if (take(c, 'M')) {
		d->kind = TZ_DAY_WEEK;
		ok = take_number(c, 12, &d->month) && d->month >= 1 && take(c, '.') && take_number(c, 5, &d->week) &&
		     d->week >= 1 && take(c, '.') && take_number(c, 6, &d->day);
	} else if (take(c, 'J')) {
		d->kind = TZ_DAY_JULIAN;
		ok = take_number(c, 365, &d->day) && d->day >= 1;
	} else {
		ok = take_number(c, 365, &d->day);
	}
	if (ok && take(c, '/'))
		ok = take_time(c, &d->time_s);
	return ok;
}

bool tz_rule_parse(struct bytes text, struct tz_rule *r)
{
	struct cursor c = {(const char *)text.data, (const char *)text.data + text.len};
	int64_t west_s;
	*r = (struct tz_rule){0};
	if (!take_name(&c) || !take_time(&c, &west_s))
		return false;
	r->standard_s = -west_s;
	if (c.at == c.end)
		return true;
	r->has_summer = true;
	r->summer_s = r->standard_s + 3600;
	if (!take_name(&c))
		return false;
	if (c.at < c.end && *c.at != ',') {
		if (!take_time(&c, &west_s))
			return false;
		r->summer_s = -west_s;
	}
	return take(&c, ',') && take_date(&c, &r->begin) && take(&c, ',') && take_date(&c, &r->end) && c.at == c.end;
}

/* ------------------------------------------------------------------ applying */

static int64_t day_of(const struct tz_rule_date *d, int64_t year)
{
	int64_t january = civil_to_days(year, 1, 1);
	switch (d->kind) {
	case TZ_DAY_ZERO:
		return january + d->day;
	case TZ_DAY_JULIAN: {
		bool leap = civil_month_days(year, 2) == 29;
		const int march_first = 60;
		return january + d->day - 1 + (leap && d->day >= march_first);
	}
	case TZ_DAY_WEEK:
		break;
	}
	int64_t first = civil_to_days(year, d->month, 1);
	int64_t day = (d->day - civil_weekday(first) + 7) % 7 + (d->week - 1) * 7;
	if (day >= civil_month_days(year, d->month))
		day -= 7;
	return first + day;
}

struct tz_span tz_rule_span_at(const struct tz_rule *r, int64_t utc_s)
{
	struct tz_span span = {INT64_MIN, INT64_MAX, r->standard_s};
	if (!r->has_summer)
		return span;
	int64_t year = civil_from_days(floor_div(utc_s, DAY_S)).year;
	for (int64_t y = year - 1; y <= year + 1; y++) {
		const struct {
			int64_t at_s, offset_s;
		} changes[] = {
			{day_of(&r->begin, y) * DAY_S + r->begin.time_s - r->standard_s, r->summer_s},
			{day_of(&r->end, y) * DAY_S + r->end.time_s - r->summer_s, r->standard_s},
		};
		for (size_t i = 0; i < array_len(changes); i++) {
			if (changes[i].at_s <= utc_s && changes[i].at_s > span.from_s) {
				span.from_s = changes[i].at_s;
				span.offset_s = changes[i].offset_s;
			} else if (changes[i].at_s > utc_s && changes[i].at_s < span.to_s) {
				span.to_s = changes[i].at_s;
			}
		}
	}
	return span;
}
