/*
 * Counters, gauges and histograms of one loop, and their Prometheus text.
 *
 * A registry belongs to one loop: updates are plain additions, no lock, no look-up; a metric is made (or found) once
 * and its handle kept. Names follow Prometheus: "perdure_…_total", "…_seconds", "…_bytes".
 */
#ifndef COMMON_METRICS_METRICS_H
#define COMMON_METRICS_METRICS_H

#include "common/base/bytes.h"

struct metrics;

struct metric_label {
	const char *name;
	const char *value;
};

struct counter {
	int64_t value;
};

struct gauge {
	int64_t value;
};

struct histogram {
	const int64_t *bounds; /* ascending, `count` of them */
	size_t count;
	int64_t *buckets; /* count + 1: the last is +Inf; not cumulative */
	int64_t sum;
};

struct metrics *metrics_new(void);
/* Accepts NULL. Handles are invalid afterwards. */
void metrics_free(struct metrics *m);

/*
 * The same name and labels give the same handle. `help` of the first call counts. A name has one kind and one set of
 * label names: anything else is our own mistake and asserts. Strings are copied. At most METRICS_SERIES_MAX label
 * combinations a name: what exceeds it is counted together under the label value "other".
 */
#define METRICS_SERIES_MAX 2000
struct counter *metrics_counter(struct metrics *m, const char *name, const char *help,
				const struct metric_label *labels, size_t label_count);
/* Counts nanoseconds, is exposed in seconds. */
struct counter *metrics_counter_seconds(struct metrics *m, const char *name, const char *help,
					const struct metric_label *labels, size_t label_count);
struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *help, const struct metric_label *labels,
			    size_t label_count);
/* Observes nanoseconds, is exposed in seconds; buckets from 100 µs to 60 s. */
struct histogram *metrics_histogram_seconds(struct metrics *m, const char *name, const char *help,
					    const struct metric_label *labels, size_t label_count);
/* Observes plain numbers (bytes, items); buckets in powers of four from 1 to 4^12. */
struct histogram *metrics_histogram_size(struct metrics *m, const char *name, const char *help,
					 const struct metric_label *labels, size_t label_count);

/* Called before each exposition, to set gauges from what is true now. */
void metrics_on_collect(struct metrics *m, void (*fn)(void *ctx), void *ctx);
/* Takes back every metrics_on_collect() with this ctx. */
void metrics_off_collect(struct metrics *m, void *ctx);

/* Appends the Prometheus text format, families sorted by name. */
void metrics_write(struct metrics *m, struct buf *out);

static inline void counter_add(struct counter *c, int64_t n)
{
	c->value += n;
}

static inline void counter_inc(struct counter *c)
{
	c->value++;
}

static inline void gauge_set(struct gauge *g, int64_t value)
{
	g->value = value;
}

static inline void gauge_add(struct gauge *g, int64_t n)
{
	g->value += n;
}

static inline void histogram_observe(struct histogram *h, int64_t value)
{
	size_t i = 0;
	while (i < h->count && value > h->bounds[i])
		i++;
	h->buckets[i]++;
	h->sum += value;
}

#endif
