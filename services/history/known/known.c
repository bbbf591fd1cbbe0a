/*
 * The filters: made, one shard after the other, by reading the ids of all its rows, and again when they are full.
 *
 * Why it never misses an id. A row is written by folds only, a fold writes runs that are in memory, and whatever comes
 * into memory is added. So a filter has to hold what memory has when its making begins, what comes into memory from
 * then on, and the rows that were there: they are read after the shard was claimed, when no earlier owner can write any
 * more. A row that moves while they are read moves from the open table to the closed ones, which are read in that
 * order, by a fold. What leaves the database stays in the filter until that is made again; this costs a look-up, no
 * more.
 */
#include "services/history/known/known.h"

#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/membership/placement.h"
#include "services/history/history.h"
#include "services/history/known/bloom.h"

#define TICK_NS	      NS_PER_S
#define PAUSE_NS      (10 * NS_PER_MS)
#define RETRY_MIN_NS  (600 * NS_PER_S) /* of one that did not fit; twice as long each time that it doesn't */
#define RETRY_MAX_NS  (24 * 3600 * NS_PER_S)
#define ROWS_PER_PAGE 2000
#define ADDS_PER_TURN 20000 /* a millisecond or two */
#define CAPACITY_MIN  4096

struct filter {
	struct bloom *bloom; /* NULL: none */
	size_t count, capacity, bytes;
	int64_t retry_ns; /* monotonic: made not before */
	int64_t pause_ns; /* before that, when it did not fit */
};

/* One that is being made. */
struct making {
	struct known *known;
	struct shard *shard; /* NULL: given up while the store was reading */
	int64_t epoch;
	uint64_t *hashes;
	size_t count, cap;
	bool closed; /* the open table has been read */
	struct arena *after;
	struct store_scan at; /* its ids are in `after` */
	bool reading;	      /* the store has the scan */
	struct bloom *bloom;  /* NULL: rows are being read; else it takes the hashes, `done` of them so far */
	size_t done, fresh, capacity, bytes;
};

struct known {
	struct history *h;
	struct filter *filters; /* by shard */
	struct making *making;	/* NULL: none */
	struct env_timer timer;
	struct known_counts counts;
};

static uint64_t hash_of(const char *namespace_id, const char *workflow_id)
{
	return placement_hash2(bytes_str(namespace_id), bytes_str(workflow_id));
}

/* ------------------------------------------------------------------ asking */

bool known_absent(struct known *k, const struct shard *s, const char *namespace_id, const char *workflow_id)
{
	const struct filter *f = &k->filters[s->id];
	bool absent = f->bloom && !bloom_maybe(f->bloom, hash_of(namespace_id, workflow_id));
	if (absent)
		k->counts.spared++;
	else
		k->counts.asked++;
	return absent;
}

static void making_add(struct making *m, uint64_t hash)
{
	if (m->count > 0 && m->hashes[m->count - 1] == hash)
		return; /* another run of the same id */
	if (m->count == m->cap) {
		m->cap = m->cap ? 2 * m->cap : 1024;
		m->hashes = mem_realloc(m->hashes, m->cap * sizeof *m->hashes);
	}
	m->hashes[m->count++] = hash;
}

void known_add(struct known *k, const struct shard *s, const char *namespace_id, const char *workflow_id)
{
	struct filter *f = &k->filters[s->id];
	bool making = k->making && k->making->shard == s;
	if (!f->bloom && !making)
		return;
	uint64_t hash = hash_of(namespace_id, workflow_id);
	if (making)
		making_add(k->making, hash);
	if (f->bloom && bloom_add(f->bloom, hash))
		f->count++;
}

static void filter_drop(struct known *k, struct filter *f)
{
	if (!f->bloom)
		return;
	bloom_free(f->bloom);
	k->counts.bytes -= f->bytes;
	k->counts.shards--;
	*f = (struct filter){0};
}

/* ------------------------------------------------------------------ making */

static void making_free(struct making *m)
{
	m->known->counts.bytes -= m->bytes;
	bloom_free(m->bloom);
	arena_free(m->after);
	free(m->hashes);
	free(m);
}

/* Unless the store reads from it: then its answer does. */
static void give_up(struct known *k, int64_t retry_ns)
{
	struct making *m = k->making;
	k->making = NULL;
	k->filters[m->shard->id].retry_ns = env_mono_ns(k->h->env) + retry_ns;
	m->shard = NULL;
	if (!m->reading)
		making_free(m);
}

void known_forget(struct known *k, const struct shard *s)
{
	if (!k)
		return;
	filter_drop(k, &k->filters[s->id]);
	if (k->making && k->making->shard == s)
		give_up(k, 0);
}

static bool fits(const struct known *k, size_t more, size_t less)
{
	size_t bytes = k->counts.bytes + more + (k->making ? k->making->cap * sizeof(uint64_t) : 0);
	return bytes <= (size_t)k->h->config.known_bytes_max + less;
}

static void give_up_large(struct known *k)
{
	struct filter *f = &k->filters[k->making->shard->id];
	f->pause_ns = min_i64(max_i64(2 * f->pause_ns, RETRY_MIN_NS), RETRY_MAX_NS);
	k->counts.failed++;
	give_up(k, f->pause_ns);
}

/* All rows have been read. */
static void fill(struct known *k)
{
	struct making *m = k->making;
	struct filter *f = &k->filters[m->shard->id];
	size_t capacity = 2 * m->count + CAPACITY_MIN, bytes = bloom_bytes(capacity);
	if (!fits(k, bytes, f->bytes)) {
		give_up_large(k);
		return;
	}
	if (!fits(k, bytes, 0))
		filter_drop(k, f);
	m->bloom = bloom_new(capacity);
	m->capacity = capacity;
	m->bytes = bytes;
	k->counts.bytes += bytes;
}

static void finish(struct known *k)
{
	struct making *m = k->making;
	struct filter *f = &k->filters[m->shard->id];
	filter_drop(k, f);
	*f = (struct filter){.bloom = m->bloom, .count = m->fresh, .capacity = m->capacity, .bytes = m->bytes};
	m->bloom = NULL;
	m->bytes = 0;
	k->counts.shards++;
	k->counts.built++;
	log_debug(k->h->log, "filter of workflow ids made", log_int("shard", m->shard->id),
		  log_int("ids", (int64_t)f->count), log_int("bytes", (int64_t)f->bytes));
	k->making = NULL;
	making_free(m);
}

/* A part at a time: a shard may have millions. */
static void fill_on(struct known *k)
{
	struct making *m = k->making;
	for (size_t i = 0; i < ADDS_PER_TURN && m->done < m->count; i++)
		m->fresh += bloom_add(m->bloom, m->hashes[m->done++]);
	if (m->done == m->count)
		finish(k);
	env_timer_start(k->h->env, &k->timer, PAUSE_NS);
}

static void continue_after(struct making *m, const struct store_run_row *last)
{
	struct arena *a = arena_new(0);
	m->at.after_namespace_id = arena_strdup(a, last->namespace_id);
	m->at.after_workflow_id = arena_strdup(a, last->workflow_id);
	m->at.after_run_id = arena_strdup(a, last->run_id);
	m->at.after_start_seq = last->start_seq;
	arena_free(m->after);
	m->after = a;
}

static void take_page(struct known *k, const struct store_run_row *rows, size_t count)
{
	struct making *m = k->making;
	for (size_t i = 0; i < count; i++)
		making_add(m, hash_of(rows[i].namespace_id, rows[i].workflow_id));
	if (!fits(k, 0, 0)) {
		give_up_large(k);
	} else if (count == ROWS_PER_PAGE) {
		continue_after(m, &rows[count - 1]);
	} else if (!m->closed) {
		m->closed = true;
		m->at = (struct store_scan){.shard = m->shard->id, .closed = true};
	} else {
		fill(k);
	}
}

static bool still_ours(const struct making *m)
{
	return shard_serving(m->shard) && m->shard->epoch == m->epoch;
}

static void on_page(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct making *m = ctx;
	m->reading = false;
	if (!m->shard) { /* given up meanwhile */
		making_free(m);
		return;
	}
	struct known *k = m->known;
	if (err_is(e) || !still_ours(m))
		give_up(k, TICK_NS);
	else
		take_page(k, rows, count);
	env_timer_start(k->h->env, &k->timer, PAUSE_NS);
}

static void read_page(struct known *k)
{
	struct making *m = k->making;
	m->reading = true;
	m->at.limit = ROWS_PER_PAGE;
	m->at.ids_only = true;
	store_scan(k->h->store, &m->at, on_page, m);
}

static void begin(struct known *k, struct shard *s)
{
	struct making *m = new0(struct making);
	m->known = k;
	m->shard = s;
	m->epoch = s->epoch;
	m->at.shard = s->id;
	k->making = m;
	struct workflow *wf, *tmp;
	HASH_ITER (hh, s->workflows, wf, tmp)
		if (wf->runs)
			making_add(m, hash_of(wf->namespace_id, wf->workflow_id));
	read_page(k);
}

static bool is_wanted(const struct known *k, const struct shard *s)
{
	const struct filter *f = &k->filters[s->id];
	return shard_serving(s) && k->h->config.known_bytes_max > 0 && env_mono_ns(k->h->env) >= f->retry_ns &&
	       (!f->bloom || f->count >= f->capacity);
}

static void on_timer(struct env_timer *t)
{
	struct known *k = container_of(t, struct known, timer);
	env_timer_start(k->h->env, t, TICK_NS);
	if (k->making && k->making->bloom)
		fill_on(k);
	else if (k->making && !k->making->reading)
		read_page(k);
	if (k->making)
		return;
	for (uint32_t i = 0; i < k->h->config.shard_count; i++) {
		if (!is_wanted(k, k->h->shards[i]))
			continue;
		begin(k, k->h->shards[i]);
		return;
	}
}

/* ------------------------------------------------------------------ life */

struct known *known_new(struct history *h)
{
	struct known *k = new0(struct known);
	k->h = h;
	k->filters = mem_zalloc(h->config.shard_count * sizeof *k->filters);
	k->timer.fn = on_timer;
	env_timer_start(h->env, &k->timer, TICK_NS);
	return k;
}

void known_free(struct known *k)
{
	if (!k)
		return;
	env_timer_stop(k->h->env, &k->timer);
	if (k->making) /* the store goes in the same turn: it does not answer any more */
		making_free(k->making);
	for (uint32_t i = 0; i < k->h->config.shard_count; i++)
		filter_drop(k, &k->filters[i]);
	free(k->filters);
	free(k);
}

struct known_counts known_counts(const struct known *k)
{
	return k->counts;
}
