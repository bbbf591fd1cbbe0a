/*
 * Texts to values and back: durations, sizes, numbers, lists.
 */
#include "common/config/value.h"

#include <inttypes.h>
#include <stdlib.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first: formatting takes them in this order, parsing takes the longest name that fits. */
static const struct unit durations[] = {
	{"d", 86400 * NS_PER_S},
	{"h", 3600 * NS_PER_S},
	{"m", 60 * NS_PER_S},
	{"s", NS_PER_S},
	{"ms", NS_PER_MS},
	{"us", NS_PER_US},
	{"ns", 1},
};

static const struct unit sizes[] = {
	{"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1},
};

static const struct unit *unit_at(const struct unit *units, size_t count, const char *text)
{
	const struct unit *best = NULL;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(units[i].name);
		if (strncmp(text, units[i].name, len) == 0 && (!best || len > strlen(best->name)))
			best = &units[i];
	}
	return best;
}

/* Digits at *text, which moves behind them; false when there are none or they overflow. */
static bool parse_digits(const char **text, int64_t *ret)
{
	const char *s = *text;
	int64_t n = 0;
	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n))
			return false;
	*text = s;
	*ret = n;
	return true;
}

/* "1m30s": numbers with units, added up; "0" needs none. */
struct err config_parse_duration(const char *text, int64_t *ret_ns, struct arena *errors)
{
	struct err bad = err_make(errors, ERR_INVALID_ARGUMENT,
				  "expected a duration such as 500ms, 3s, 1m30s, 72h, got \"%s\"", text);
	const char *s = text;
	int64_t total = 0;
	if (!*s)
		return bad;
	while (*s) {
		int64_t n;
		if (!parse_digits(&s, &n))
			return bad;
		const struct unit *u = unit_at(durations, array_len(durations), s);
		if (!u && n == 0 && !*s)
			break;
		if (!u || __builtin_mul_overflow(n, u->factor, &n) || __builtin_add_overflow(total, n, &total))
			return bad;
		s += strlen(u->name);
	}
	*ret_ns = total;
	return err_ok;
}

struct err config_parse_bytes(const char *text, int64_t *ret_bytes, struct arena *errors)
{
	struct err bad = err_make(errors, ERR_INVALID_ARGUMENT,
				  "expected a size such as 4096, 64KiB, 256MiB, 2GiB, got \"%s\"", text);
	const char *s = text;
	int64_t n;
	if (!parse_digits(&s, &n))
		return bad;
	const struct unit *u = unit_at(sizes, array_len(sizes), s);
	if (*s && (!u || s[strlen(u->name)] || __builtin_mul_overflow(n, u->factor, &n)))
		return bad;
	*ret_bytes = n;
	return err_ok;
}

const char *config_format_duration(struct arena *a, int64_t ns)
{
	if (ns == 0)
		return "0s";
	/* Days are for people who read retentions; 24h stays 24h. */
	struct buf out = {0};
	for (size_t i = 0; i < array_len(durations) && ns > 0; i++) {
		if (ns < durations[i].factor || (i == 0 && (ns % durations[0].factor || ns < 4 * durations[0].factor)))
			continue;
		buf_printf(&out, "%" PRId64 "%s", ns / durations[i].factor, durations[i].name);
		ns %= durations[i].factor;
	}
	const char *text = arena_printf(a, "%.*s", (int)out.len, (const char *)out.data);
	buf_done(&out);
	return text;
}

const char *config_format_bytes(struct arena *a, int64_t bytes)
{
	for (size_t i = 0; bytes > 0 && i < array_len(sizes); i++)
		if (bytes % sizes[i].factor == 0 && sizes[i].factor > 1)
			return arena_printf(a, "%" PRId64 "%s", bytes / sizes[i].factor, sizes[i].name);
	return arena_printf(a, "%" PRId64, bytes);
}

const char *value_format_number(const struct setting *s, int64_t number, struct arena *a)
{
	if (s->type == SETTING_TYPE_DURATION)
		return config_format_duration(a, number);
	if (s->type == SETTING_TYPE_BYTES)
		return config_format_bytes(a, number);
	return arena_printf(a, "%" PRId64, number);
}

static void *field_of(const struct setting *s, struct settings *values)
{
	return (char *)values + s->offset;
}

static struct err parse_int(const char *text, const char *unit, int64_t *ret, struct arena *errors)
{
	const char *s = text;
	bool negative = *s == '-';
	if (negative)
		s++;
	if (!parse_digits(&s, ret) || *s)
		return err_make(errors, ERR_INVALID_ARGUMENT, "expected a number (%s), got \"%s\"", unit, text);
	if (negative)
		*ret = -*ret;
	return err_ok;
}

static struct err set_number(const struct setting *s, const char *text, struct settings *values, struct arena *a)
{
	int64_t n = 0;
	if (s->type == SETTING_TYPE_DURATION)
		try(config_parse_duration(text, &n, a));
	else if (s->type == SETTING_TYPE_BYTES)
		try(config_parse_bytes(text, &n, a));
	else
		try(parse_int(text, s->unit, &n, a));
	if (n < s->min || n > s->max)
		return err_make(a, ERR_INVALID_ARGUMENT, "expected %s to %s, got \"%s\"",
				value_format_number(s, s->min, a), value_format_number(s, s->max, a), text);
	*(int64_t *)field_of(s, values) = n;
	return err_ok;
}

static struct err set_bool(const struct setting *s, const char *text, struct settings *values, struct arena *a)
{
	bool yes = strcmp(text, "true") == 0;
	if (!yes && strcmp(text, "false") != 0)
		return err_make(a, ERR_INVALID_ARGUMENT, "expected true or false, got \"%s\"", text);
	*(bool *)field_of(s, values) = yes;
	return err_ok;
}

static struct err set_choice(const struct setting *s, const char *text, struct settings *values, struct arena *a)
{
	size_t len = strlen(text);
	for (const char *c = s->choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL) {
		if (len > 0 && strcspn(c, "|") == len && strncmp(c, text, len) == 0) {
			*(const char **)field_of(s, values) = arena_strdup(a, text);
			return err_ok;
		}
	}
	return err_make(a, ERR_INVALID_ARGUMENT, "expected one of %s, got \"%s\"", s->choices, text);
}

void value_set_list(const struct setting *s, const char *const *items, size_t count, struct settings *values,
		    struct arena *a)
{
	const char **copy = arena_array(a, const char *, count);
	for (size_t i = 0; i < count; i++)
		copy[i] = arena_strdup(a, items[i]);
	*(struct setting_list *)field_of(s, values) = (struct setting_list){copy, count};
}

static void set_split_list(const struct setting *s, const char *text, struct settings *values, struct arena *a)
{
	char *rest = arena_strdup(a, text);
	const char **items = arena_array(a, const char *, strlen(text) + 1);
	size_t count = 0;
	for (char *item; (item = strsep(&rest, ","));)
		if (*item)
			items[count++] = item;
	value_set_list(s, items, count, values, a);
}

struct err value_set(const struct setting *s, const char *text, struct settings *values, struct arena *a)
{
	switch (s->type) {
	case SETTING_TYPE_STRING:
		*(const char **)field_of(s, values) = arena_strdup(a, text);
		return err_ok;
	case SETTING_TYPE_CHOICE:
		return set_choice(s, text, values, a);
	case SETTING_TYPE_LIST:
		set_split_list(s, text, values, a);
		return err_ok;
	case SETTING_TYPE_BOOL:
		return set_bool(s, text, values, a);
	case SETTING_TYPE_INT:
	case SETTING_TYPE_BYTES:
	case SETTING_TYPE_DURATION:
		return set_number(s, text, values, a);
	}
	assert(false);
	return err_ok;
}

static void put_quoted(struct buf *out, const char *text)
{
	buf_put(out, "\"", 1);
	for (const char *s = text; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_printf(out, "\\%c", *s);
		else if ((uint8_t)*s < 0x20)
			buf_printf(out, "\\x%02x", (uint8_t)*s);
		else
			buf_put(out, s, 1);
	}
	buf_put(out, "\"", 1);
}

static void put_value(struct buf *out, const struct setting *s, const struct settings *values, struct arena *a)
{
	const void *field = (const char *)values + s->offset;
	switch (s->type) {
	case SETTING_TYPE_STRING:
		put_quoted(out, *(const char *const *)field);
		return;
	case SETTING_TYPE_CHOICE:
		buf_printf(out, "%s", *(const char *const *)field);
		return;
	case SETTING_TYPE_BOOL:
		buf_printf(out, "%s", *(const bool *)field ? "true" : "false");
		return;
	case SETTING_TYPE_LIST: {
		const struct setting_list *list = field;
		buf_printf(out, "[");
		for (size_t i = 0; i < list->count; i++) {
			buf_printf(out, i ? ", " : "");
			put_quoted(out, list->items[i]);
		}
		buf_printf(out, "]");
		return;
	}
	case SETTING_TYPE_INT:
	case SETTING_TYPE_BYTES:
	case SETTING_TYPE_DURATION:
		buf_printf(out, "%s", value_format_number(s, *(const int64_t *)field, a));
		return;
	}
}

const char *value_shown(const struct setting *s, const struct settings *values, struct arena *a)
{
	if (s->type != SETTING_TYPE_STRING)
		return value_yaml(s, values, a);
	struct buf out = {0};
	put_quoted(&out, value_masked(s->name, *(const char *const *)((const char *)values + s->offset), a));
	const char *text = arena_printf(a, "%.*s", (int)out.len, (const char *)out.data);
	buf_done(&out);
	return text;
}

const char *value_yaml(const struct setting *s, const struct settings *values, struct arena *a)
{
	struct buf out = {0};
	put_value(&out, s, values, a);
	const char *text = arena_printf(a, "%.*s", (int)out.len, (const char *)out.data);
	buf_done(&out);
	return text;
}
