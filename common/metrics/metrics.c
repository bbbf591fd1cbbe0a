/*
 * Families (a name, its help and kind) and their series (one per combination of label values).
 */
#include "common/metrics/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "common/mem/mem.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

static const char *const kind_names[] = {[COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};

struct series {
	char *labels; /* as exposed, without braces: method="x",code="OK" */
	union {
		struct counter counter;
		struct gauge gauge;
		struct histogram histogram;
	};
	UT_hash_handle hh;
};

struct family {
	char *name, *help;
	enum kind kind;
	char *label_names; /* "method,code" */
	const int64_t *bounds;
	size_t bound_count;
	int64_t scale; /* observed units in one exposed unit: 1e9 for seconds */
	struct series *series;
	UT_hash_handle hh;
};

struct collector {
	void (*fn)(void *ctx);
	void *ctx;
	struct collector *next;
};

struct metrics {
	struct family *families;
	struct collector *collectors;
};

static const int64_t seconds_bounds[] = {
	100 * NS_PER_US, 250 * NS_PER_US,  500 * NS_PER_US, 1 * NS_PER_MS,   2500 * NS_PER_US, 5 * NS_PER_MS,
	10 * NS_PER_MS,	 25 * NS_PER_MS,   50 * NS_PER_MS,  100 * NS_PER_MS, 250 * NS_PER_MS,  500 * NS_PER_MS,
	1 * NS_PER_S,	 2500 * NS_PER_MS, 5 * NS_PER_S,    10 * NS_PER_S,   30 * NS_PER_S,    60 * NS_PER_S,
};

static const int64_t size_bounds[] = {
	1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216,
};

struct metrics *metrics_new(void)
{
	return new0(struct metrics);
}

static void family_free(struct family *f)
{
	struct series *s, *next;
	HASH_ITER (hh, f->series, s, next) {
		HASH_DEL(f->series, s);
		if (f->kind == HISTOGRAM)
			free(s->histogram.buckets);
		free(s->labels);
		free(s);
	}
	free(f->name);
	free(f->help);
	free(f->label_names);
	free(f);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	struct family *f, *next;
	HASH_ITER (hh, m->families, f, next) {
		HASH_DEL(m->families, f);
		family_free(f);
	}
	struct collector *c, *next_collector;
	LL_FOREACH_SAFE (m->collectors, c, next_collector) {
		free(c);
	}
	free(m);
}

/* ------------------------------------------------------------------ finding and making */

static void put_label_value(struct buf *out, const char *value)
{
	for (const char *s = value ? value : ""; *s; s++) {
		if (*s == '\\' || *s == '"')
			buf_printf(out, "\\%c", *s);
		else if (*s == '\n')
			buf_printf(out, "\\n");
		else
			buf_put(out, s, 1);
	}
}

static char *take_string(struct buf *b)
{
	size_t len;
	buf_put(b, "", 1);
	return (char *)buf_take(b, &len);
}

/* method="x",code="OK"; with `other`, every value is "other". */
static char *label_text(const struct metric_label *labels, size_t count, bool other)
{
	struct buf out = {0};
	for (size_t i = 0; i < count; i++) {
		buf_printf(&out, "%s%s=\"", i ? "," : "", labels[i].name);
		put_label_value(&out, other ? "other" : labels[i].value);
		buf_printf(&out, "\"");
	}
	return take_string(&out);
}

static char *label_names(const struct metric_label *labels, size_t count)
{
	struct buf out = {0};
	for (size_t i = 0; i < count; i++)
		buf_printf(&out, "%s%s", i ? "," : "", labels[i].name);
	return take_string(&out);
}

static struct family *family_get(struct metrics *m, enum kind kind, const char *name, const char *help,
				 const struct metric_label *labels, size_t count)
{
	struct family *f;
	char *names = label_names(labels, count);
	HASH_FIND_STR(m->families, name, f);
	if (f) {
		assert(f->kind == kind && strcmp(f->label_names, names) == 0);
		free(names);
		return f;
	}
	f = new0(struct family);
	f->name = mem_strdup(name);
	f->help = mem_strdup(help);
	f->kind = kind;
	f->label_names = names;
	f->scale = 1;
	HASH_ADD_KEYPTR(hh, m->families, f->name, strlen(f->name), f);
	return f;
}

static struct series *series_get(struct family *f, const struct metric_label *labels, size_t count)
{
	struct series *s;
	char *text = label_text(labels, count, false);
	HASH_FIND_STR(f->series, text, s);
	if (!s && count > 0 && HASH_COUNT(f->series) >= METRICS_SERIES_MAX) {
		free(text);
		text = label_text(labels, count, true);
		HASH_FIND_STR(f->series, text, s);
	}
	if (s) {
		free(text);
		return s;
	}
	s = new0(struct series);
	s->labels = text;
	if (f->kind == HISTOGRAM)
		s->histogram = (struct histogram){.bounds = f->bounds,
						  .count = f->bound_count,
						  .buckets = mem_zalloc((f->bound_count + 1) * sizeof(int64_t))};
	HASH_ADD_KEYPTR(hh, f->series, s->labels, strlen(s->labels), s);
	return s;
}

struct counter *metrics_counter(struct metrics *m, const char *name, const char *help,
				const struct metric_label *labels, size_t label_count)
{
	struct family *f = family_get(m, COUNTER, name, help, labels, label_count);
	return &series_get(f, labels, label_count)->counter;
}

struct counter *metrics_counter_seconds(struct metrics *m, const char *name, const char *help,
					const struct metric_label *labels, size_t label_count)
{
	struct family *f = family_get(m, COUNTER, name, help, labels, label_count);
	f->scale = NS_PER_S;
	return &series_get(f, labels, label_count)->counter;
}

struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help, const struct metric_label *labels,
			    size_t label_count)
{
	struct family *f = family_get(m, GAUGE, name, help, labels, label_count);
	return &series_get(f, labels, label_count)->gauge;
}

struct histogram *metrics_histogram_seconds(struct metrics *m, const char *name, const char *help,
					    const struct metric_label *labels, size_t label_count)
{
	struct family *f = family_get(m, HISTOGRAM, name, help, labels, label_count);
	f->bounds = seconds_bounds;
	f->bound_count = array_len(seconds_bounds);
	f->scale = NS_PER_S;
	return &series_get(f, labels, label_count)->histogram;
}

struct histogram *metrics_histogram_size(struct metrics *m, const char *name, const char *help,
					 const struct metric_label *labels, size_t label_count)
{
	struct family *f = family_get(m, HISTOGRAM, name, help, labels, label_count);
	f->bounds = size_bounds;
	f->bound_count = array_len(size_bounds);
	return &series_get(f, labels, label_count)->histogram;
}

/* ------------------------------------------------------------------ exposition */

void metrics_on_collect(struct metrics *m, void (*fn)(void *ctx), void *ctx)
{
	struct collector *c = new0(struct collector);
	c->fn = fn;
	c->ctx = ctx;
	LL_APPEND(m->collectors, c);
}

void metrics_off_collect(struct metrics *m, void *ctx)
{
	struct collector *c, *next;
	LL_FOREACH_SAFE (m->collectors, c, next) {
		if (c->ctx != ctx)
			continue;
		LL_DELETE(m->collectors, c);
		free(c);
	}
}

static void put_scaled(struct buf *out, const struct family *f, int64_t value)
{
	if (f->scale == 1)
		buf_printf(out, "%" PRId64, value);
	else
		buf_printf(out, "%.9g", (double)value / (double)f->scale);
}

static void write_histogram(struct buf *out, const struct family *f, const struct series *s)
{
	const struct histogram *h = &s->histogram;
	const char *comma = *s->labels ? "," : "";
	const char *open = *s->labels ? "{" : "", *close = *s->labels ? "}" : "";
	int64_t total = 0;
	for (size_t i = 0; i <= h->count; i++) {
		total += h->buckets[i];
		buf_printf(out, "%s_bucket{%s%sle=\"", f->name, s->labels, comma);
		if (i < h->count)
			put_scaled(out, f, h->bounds[i]);
		else
			buf_printf(out, "+Inf");
		buf_printf(out, "\"} %" PRId64 "\n", total);
	}
	buf_printf(out, "%s_sum%s%s%s ", f->name, open, s->labels, close);
	put_scaled(out, f, h->sum);
	buf_printf(out, "\n%s_count%s%s%s %" PRId64 "\n", f->name, open, s->labels, close, total);
}

static void write_family(struct buf *out, const struct family *f)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, kind_names[f->kind]);
	for (const struct series *s = f->series; s; s = s->hh.next) {
		if (f->kind == HISTOGRAM) {
			write_histogram(out, f, s);
			continue;
		}
		buf_printf(out, *s->labels ? "%s{%s} " : "%s%s ", f->name, s->labels);
		put_scaled(out, f, f->kind == COUNTER ? s->counter.value : s->gauge.value);
		buf_printf(out, "\n");
	}
}

static int by_name(const struct family *a, const struct family *b)
{
	return strcmp(a->name, b->name);
}

void metrics_write(struct metrics *m, struct buf *out)
{
	for (struct collector *c = m->collectors; c; c = c->next)
		c->fn(c->ctx);
	HASH_SORT(m->families, by_name);
	for (const struct family *f = m->families; f; f = f->hh.next)
		write_family(out, f);
}
