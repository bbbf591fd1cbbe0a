/*
 * Cron schedules.
 */
#include "services/history/core/cron.h"

#include <ctype.h>
#include <strings.h>

#include "common/tz/calendar.h"
#include "services/history/core/pbtime.h"

#define TEXT_BYTES_MAX 1000
#define YEARS_AHEAD    5

/* ------------------------------------------------------------------ fields */

struct field {
	int min, max;
	const char *const *names; /* of min, min + 1, …; NULL: none */
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
					  "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static const struct field minute_field = {0, 59, NULL}, hour_field = {0, 23, NULL}, day_field = {1, 31, NULL},
			  month_field = {1, 12, month_names}, weekday_field = {0, 6, weekday_names};

/* A decimal number, a plus before it allowed. */
static bool parse_number(const char *s, size_t len, int64_t *ret)
{
	int64_t n = 0;
	size_t i = len && s[0] == '+';
	if (i == len)
		return false;
	for (; i < len; i++)
		if (!isdigit((unsigned char)s[i]) || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, s[i] - '0', &n))
			return false;
	*ret = n;
	return true;
}

static bool parse_value(const struct field *f, const char *s, size_t len, int64_t *ret)
{
	for (int i = 0; f->names && i <= f->max - f->min; i++) {
		if (strlen(f->names[i]) == len && strncasecmp(f->names[i], s, len) == 0) {
			*ret = f->min + i;
			return true;
		}
	}
	return parse_number(s, len, ret);
}

static uint64_t bits(int64_t from, int64_t to, int64_t step)
{
	uint64_t set = 0;
	for (int64_t i = from; i <= to; i += min_i64(step, 64))
		set |= 1ULL << i;
	return set;
}

/* "*", "n", "n-m", each with "/step" behind it. */
static bool parse_range(const struct field *f, const char *s, size_t len, uint64_t *set, bool *any)
{
	const char *end = s + len, *slash = memchr(s, '/', len);
	const char *range_end = slash ? slash : end, *dash = memchr(s, '-', (size_t)(range_end - s));
	size_t first_len = (size_t)((dash ? dash : range_end) - s);
	bool star = first_len == 1 && (*s == '*' || *s == '?');
	int64_t from = f->min, to = f->max, step = 1;
	if (!star) {
		if (!parse_value(f, s, first_len, &from))
			return false;
		to = from;
		if (dash && !parse_value(f, dash + 1, (size_t)(range_end - dash - 1), &to))
			return false;
	}
	if (slash) {
		if (!parse_number(slash + 1, (size_t)(end - slash - 1), &step))
			return false;
		if (!dash)
			to = f->max; /* "n/step" begins at n */
	}
	if (from < f->min || to > f->max || from > to || step == 0)
		return false;
	*set |= bits(from, to, step);
	*any |= star && step == 1;
	return true;
}

static bool parse_field(const struct field *f, struct bytes text, uint64_t *set, bool *any)
{
	const char *s = (const char *)text.data, *end = s + text.len;
	*set = 0;
	*any = false;
	while (s < end) {
		const char *comma = memchr(s, ',', (size_t)(end - s));
		size_t len = (size_t)((comma ? comma : end) - s);
		if (len && !parse_range(f, s, len, set, any))
			return false;
		s += len + 1;
	}
	return true;
}

static bool parse_fields(const char *text, struct cron *c)
{
	bool any; /* of no interest but for days */
	const struct {
		const struct field *field;
		uint64_t *set;
		bool *any;
	} fields[] = {
		{&minute_field, &c->minutes, &any},
		{&hour_field, &c->hours, &any},
		{&day_field, &c->days, &c->any_day},
		{&month_field, &c->months, &any},
		{&weekday_field, &c->weekdays, &c->any_weekday},
	};
	const char *blanks = " \t\n\v\f\r";
	for (size_t i = 0; i < array_len(fields); i++) {
		text += strspn(text, blanks);
		size_t len = strcspn(text, blanks);
		if (!len || !parse_field(fields[i].field, bytes_of(text, len), fields[i].set, fields[i].any))
			return false;
		text += len;
	}
	return text[strspn(text, blanks)] == '\0';
}

/* ------------------------------------------------------------------ descriptors */

static const struct {
	const char *name;
	int64_t ns;
} units[] = {
	{"ns", 1},	   {"us", NS_PER_US}, {"\u00b5s", NS_PER_US}, {"\u03bcs", NS_PER_US},
	{"ms", NS_PER_MS}, {"s", NS_PER_S},   {"m", 60 * NS_PER_S},   {"h", 3600 * NS_PER_S},
};

static int64_t unit_of(const char *s, size_t len)
{
	for (size_t i = 0; i < array_len(units); i++)
		if (strlen(units[i].name) == len && memcmp(units[i].name, s, len) == 0)
			return units[i].ns;
	return 0;
}

/* One part of a duration: "1.5h". Returns what is behind it; NULL: it is none. */
static const char *parse_part(const char *s, int64_t *sum_ns)
{
	size_t whole = strspn(s, "0123456789"), fraction = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
	const char *unit = s + whole + (s[whole] == '.' ? 1 + fraction : 0);
	size_t unit_len = strcspn(unit, ".0123456789");
	int64_t n = 0, ns, unit_ns = unit_of(unit, unit_len);
	if (whole + fraction == 0 || !unit_ns || (whole && !parse_number(s, whole, &n)) ||
	    __builtin_mul_overflow(n, unit_ns, &ns) || __builtin_add_overflow(*sum_ns, ns, sum_ns))
		return NULL;
	double scale = (double)unit_ns;
	for (size_t i = 0; i < fraction; i++) {
		scale /= 10;
		ns = (int64_t)((s[whole + 1 + i] - '0') * scale);
		if (__builtin_add_overflow(*sum_ns, ns, sum_ns))
			return NULL;
	}
	return unit + unit_len;
}

/* As Go writes durations: "1h30m", "-1.5h", "0". */
static bool parse_duration(const char *s, int64_t *ret_ns)
{
	bool negative = *s == '-';
	int64_t sum_ns = 0;
	if (*s == '-' || *s == '+')
		s++;
	if (!*s)
		return false;
	if (strcmp(s, "0") != 0)
		while (s && *s)
			s = parse_part(s, &sum_ns);
	*ret_ns = negative ? -sum_ns : sum_ns;
	return s != NULL;
}

static bool parse_descriptor(const char *text, struct cron *c)
{
	static const struct {
		const char *name, *fields;
	} descriptors[] = {
		{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
		{"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
		{"@hourly", "0 * * * *"},
	};
	static const char every[] = "@every ";
	int64_t ns;
	for (size_t i = 0; i < array_len(descriptors); i++)
		if (str_eq(descriptors[i].name, text))
			return parse_fields(descriptors[i].fields, c);
	if (strncmp(text, every, strlen(every)) != 0 || !parse_duration(text + strlen(every), &ns))
		return false;
	c->every_s = max_i64(1, ns / NS_PER_S);
	return true;
}

/* ------------------------------------------------------------------ the whole */

/* The zone between "TZ=" and the blank; *text then begins behind it. */
static bool take_zone(const struct core_zones *zones, const char **text, const struct tz **ret)
{
	*ret = NULL;
	if (strncmp(*text, "TZ=", 3) != 0 && strncmp(*text, "CRON_TZ=", 8) != 0)
		return true;
	const char *name = strchr(*text, '=') + 1, *end = strchr(*text, ' ');
	char copy[TEXT_BYTES_MAX + 1];
	if (!end || end < name)
		return false;
	memcpy(copy, name, (size_t)(end - name));
	copy[end - name] = '\0';
	*text = end + strspn(end, " \t\n\v\f\r");
	if (!*copy || str_eq(copy, "UTC") || str_eq(copy, "Local"))
		return true;
	return zones->find && zones->find(zones->ctx, copy, ret);
}

bool cron_parse(const struct core_zones *zones, const char *text, struct cron *c)
{
	char trimmed[TEXT_BYTES_MAX + 1];
	*c = (struct cron){0};
	if (strlen(text) > TEXT_BYTES_MAX)
		return false;
	const char *rest = text;
	if (!take_zone(zones, &rest, &c->zone))
		return false;
	/* Behind a zone, blanks at the end don't count. */
	size_t len = strlen(rest);
	while (rest != text && len && isspace((unsigned char)rest[len - 1]))
		len--;
	memcpy(trimmed, rest, len);
	trimmed[len] = '\0';
	return *trimmed == '@' ? parse_descriptor(trimmed, c) : parse_fields(trimmed, c);
}

/* ------------------------------------------------------------------ the next moment */

static bool has(uint64_t set, int64_t value)
{
	return (set >> value) & 1;
}

static bool is_day(const struct cron *c, int64_t days)
{
	struct civil_date d = civil_from_days(days);
	if (!has(c->months, d.month))
		return false;
	bool by_day = has(c->days, d.day), by_weekday = has(c->weekdays, civil_weekday(days));
	return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* The first minute of a day that is named, at or after `minute`; -1: none. */
static int64_t minute_of_day(const struct cron *c, int64_t minute)
{
	for (; minute < 24 * 60; minute++)
		if (has(c->hours, minute / 60) && has(c->minutes, minute % 60))
			return minute;
	return -1;
}

/* As if there were no zones: the first named second in [from, to); -1: none. */
static int64_t match_local(const struct cron *c, int64_t from_s, int64_t to_s)
{
	int64_t day = floor_div(from_s, DAY_S), minute = (from_s - day * DAY_S + 59) / 60;
	for (; day * DAY_S < to_s; day++, minute = 0) {
		int64_t found = is_day(c, day) ? minute_of_day(c, minute) : -1;
		if (found >= 0)
			return day * DAY_S + found * 60 < to_s ? day * DAY_S + found * 60 : -1;
	}
	return -1;
}

int64_t cron_next(const struct cron *c, int64_t after_ns)
{
	int64_t at_s = floor_div(after_ns, NS_PER_S);
	if (c->every_s)
		return seconds_ns(at_s + c->every_s);
	at_s++;
	/* Between two changes of the zone's offset, local time is as regular as UTC. A local time that is skipped never
	 * matches; one that comes twice does so twice. */
	struct tz_span span = tz_span_at(c->zone, at_s);
	int64_t year = civil_from_days(floor_div(at_s + span.offset_s, DAY_S)).year;
	int64_t limit_s = civil_to_days(year + YEARS_AHEAD + 1, 1, 1) * DAY_S;
	while (at_s + span.offset_s < limit_s) {
		int64_t to_s = span.to_s == INT64_MAX ? limit_s : min_i64(limit_s, span.to_s + span.offset_s);
		int64_t local_s = match_local(c, at_s + span.offset_s, to_s);
		if (local_s >= 0)
			return seconds_ns(local_s - span.offset_s);
		if (to_s == limit_s)
			break;
		at_s = span.to_s;
		span = tz_span_at(c->zone, at_s);
	}
	return INT64_MAX;
}

struct err cron_validate(const struct core_zones *zones, const char *text, int64_t now_ns)
{
	struct cron c;
	if (str_empty(text))
		return err_ok;
	if (!cron_parse(zones, text, &c))
		return err_static(ERR_INVALID_ARGUMENT, "invalid CronSchedule.");
	if (cron_next(&c, now_ns) == INT64_MAX)
		return err_static(ERR_INVALID_ARGUMENT,
				  "invalid CronSchedule, no time can be found to satisfy the schedule");
	return err_ok;
}

/* The first of the schedule's moments after `due_ns` that has not passed yet. */
static int64_t next_from_now(const struct cron *c, int64_t due_ns, int64_t now_ns)
{
	if (now_ns < due_ns)
		return due_ns;
	int64_t next = cron_next(c, due_ns);
	if (next >= now_ns)
		return next;
	if (!c->every_s)
		return cron_next(c, now_ns - 1);
	int64_t every_ns = seconds_ns(c->every_s);
	return time_add_ns(next, (now_ns - next + every_ns - 1) / every_ns * every_ns);
}

int64_t cron_backoff_ns(const struct core_zones *zones, const char *text, int64_t due_ns, int64_t now_ns)
{
	struct cron c;
	if (str_empty(text) || !cron_parse(zones, text, &c))
		return CRON_NONE;
	int64_t next = next_from_now(&c, due_ns, now_ns);
	if (next == INT64_MAX)
		return CRON_NONE;
	int64_t wait_s = (next - now_ns) / NS_PER_S + ((next - now_ns) % NS_PER_S > 0);
	return seconds_ns(wait_s);
}
