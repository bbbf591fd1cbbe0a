/*
 * The group commit: one transaction at a time for all shards of the node.
 *
 * What gathers in the shards' open batches while a transaction is under way leaves with the next one, so that one fsync
 * serves every workflow of that moment and cost per transition falls as load rises. When the writer's connection is
 * lost, every serving shard is claimed again first: the claim's last_seq tells whether the batch under way was
 * committed, and a batch that was not is sent again unchanged.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/history.h"
#include "services/history/measure.h"

#define RETRY_NS (50 * NS_PER_MS)

/* A transaction. The store reads it until it answers, which may be after the connection it went over was given up. */
struct commit {
	struct committer *committer;
	struct store_append *appends;
	struct shard **shards; /* of appends, same index */
	struct buf *records;   /* the same index */
	size_t count, cap;
	int64_t sent_ns;
};

struct committer {
	struct history *h;
	struct shard *dirty;	/* have an open batch; utlist by dirty_next */
	struct commit *current; /* under way, or rolled back for certain and to be sent again; NULL: none */
	bool under_way;
	struct env_task kick;
	struct env_timer retry;
};

static struct batch *batch_new(int64_t seq)
{
	struct batch *b = new0(struct batch);
	b->seq = seq;
	b->waiters_tail = &b->waiters;
	return b;
}

static void batch_free(struct batch *b)
{
	buf_done(&b->record);
	buf_done(&b->offers);
	free(b->touched);
	free(b);
}

struct batch *shard_open_batch(struct shard *s)
{
	if (!s->open) {
		int64_t after = s->inflight ? s->inflight->seq : s->last_seq;
		s->open = batch_new(after + 1);
		s->start_counter = 0;
	}
	struct committer *c = s->h->committer;
	if (!s->in_dirty) {
		s->in_dirty = true;
		s->dirty_next = c->dirty;
		c->dirty = s;
	}
	committer_kick(c);
	return s->open;
}

void batch_touch(struct batch *b, struct cached_run *r)
{
	if (b->touched_count && b->touched[b->touched_count - 1] == r)
		return;
	if (b->touched_count == b->touched_cap) {
		b->touched_cap = b->touched_cap ? b->touched_cap * 2 : 16;
		b->touched = mem_realloc(b->touched, b->touched_cap * sizeof(struct cached_run *));
	}
	b->touched[b->touched_count++] = r;
}

static void on_waiter_ready(struct env_task *t)
{
	struct waiter *w = container_of(t, struct waiter, task);
	w->fn(w, w->result);
}

void shard_after(struct shard *s, int64_t seq, struct waiter *w)
{
	struct batch *b = NULL;
	w->next = NULL;
	w->result = err_ok;
	w->proven = false;
	w->task = (struct env_task){.fn = on_waiter_ready};
	if (seq > s->last_seq) {
		b = s->inflight && s->inflight->seq == seq ? s->inflight : s->open;
		assert(b && b->seq == seq);
	} else if (s->state == SHARD_RECLAIMING && s->inflight) {
		b = s->inflight; /* a read must not be answered before we know that we still own the shard */
	}
	if (!b) {
		env_defer(s->h->env, &w->task);
		return;
	}
	*b->waiters_tail = w;
	b->waiters_tail = &w->next;
}

static void batch_wake(struct batch *b, struct err e)
{
	struct waiter *w = b->waiters;
	b->waiters = NULL;
	b->waiters_tail = &b->waiters;
	while (w) {
		struct waiter *next = w->next;
		w->proven = !err_is(e);
		w->fn(w, e);
		w = next;
	}
}

void batch_fail(struct batch *b, struct err e)
{
	if (!b)
		return;
	batch_wake(b, e);
	batch_free(b);
}

/* The batch under way of one shard is committed. */
static void on_committed(struct shard *s)
{
	struct batch *b = s->inflight;
	s->inflight = NULL;
	s->last_seq = b->seq;
	s->journal_bytes += (int64_t)b->record.len;
	s->h->committed_transitions += b->deltas;
	batch_wake(b, err_ok);
	if (b->offers.len)
		dispatch_offers(s, buf_view(&b->offers));
	for (size_t i = 0; i < b->touched_count; i++) {
		watchers_notify(b->touched[i]);
		if (b->touched[i]->run->deleted)
			queries_gone(b->touched[i]);
	}
	batch_free(b);
}

static void commit_free(struct commit *k)
{
	for (size_t i = 0; i < k->cap; i++)
		buf_done(&k->records[i]);
	free(k->records);
	free(k->appends);
	free(k->shards);
	free(k);
}

static void take_outcome(struct commit *k)
{
	for (size_t i = 0; i < k->count; i++) {
		struct shard *s = k->shards[i];
		const struct store_append *a = &k->appends[i];
		if (!s->inflight || s->inflight->seq != a->seq || s->epoch != a->epoch)
			continue; /* lost or dropped meanwhile */
		if (a->fenced)
			shard_lose(s, "another node owns the shard now");
		else
			on_committed(s);
	}
}

static void measure(const struct commit *k)
{
	struct history *h = k->committer->h;
	int64_t transitions = 0, bytes = 0;
	for (size_t i = 0; i < k->count; i++) {
		transitions += k->shards[i]->inflight ? (int64_t)k->shards[i]->inflight->deltas : 0;
		bytes += (int64_t)k->records[i].len;
	}
	h->counts.journal_bytes += (uint64_t)bytes;
	struct commit_measure done = {
		.took_ns = env_mono_ns(h->env) - k->sent_ns,
		.shards = k->count,
		.transitions = transitions,
		.bytes = bytes,
	};
	measure_commit(h->measures, &done);
}

static void on_commit_done(void *ctx, struct err e, struct store_append *appends, size_t count)
{
	struct commit *k = ctx;
	struct committer *c = k->committer;
	(void)appends;
	if (err_is(e))
		c->h->counts.commits_failed++;
	if (c->current != k) { /* its connection was lost meanwhile: the claims settle each shard */
		commit_free(k);
		return;
	}
	c->under_way = false;
	if (err_is(e) && e.reason != ERR_REASON_OUTCOME_UNKNOWN) {
		log_warn(c->h->log, "commit failed, sending the same again", log_err(e),
			 log_int("shards", (int64_t)count));
		env_timer_start(c->h->env, &c->retry, RETRY_NS);
		return;
	}
	c->current = NULL;
	if (!err_is(e)) {
		c->h->commits++;
		measure(k);
		take_outcome(k);
	}
	commit_free(k);
	if (c->dirty)
		committer_kick(c);
}

static void seal(struct batch *b, int64_t now_ns, struct buf *out)
{
	out->len = 0;
	buf_put_varint(out, 1 << 3);
	buf_put_varint(out, 1);
	buf_put_varint(out, 2 << 3);
	buf_put_varint(out, (uint64_t)now_ns);
	buf_put_bytes(out, buf_view(&b->record));
}

static void grow(struct commit *k)
{
	size_t old = k->cap;
	k->cap = old ? old * 2 : 16;
	k->appends = mem_realloc(k->appends, k->cap * sizeof *k->appends);
	k->shards = mem_realloc(k->shards, k->cap * sizeof(struct shard *));
	k->records = mem_realloc(k->records, k->cap * sizeof *k->records);
	memset(k->records + old, 0, (k->cap - old) * sizeof *k->records);
}

static void add_append(struct commit *k, struct shard *s)
{
	if (k->count == k->cap)
		grow(k);
	size_t i = k->count++;
	seal(s->inflight, env_wall_ns(s->h->env), &k->records[i]);
	k->shards[i] = s;
	k->appends[i] = (struct store_append){
		.shard = s->id,
		.epoch = s->epoch,
		.seq = s->inflight->seq,
		.record = buf_view(&k->records[i]),
	};
}

/* Whether this shard's batch can go now: one transaction in flight a shard, and only while it serves. */
static bool may_send(const struct shard *s)
{
	return (s->state == SHARD_SERVING || s->state == SHARD_RELEASING) && (s->open || s->inflight);
}

/* NULL: nothing can go now. */
static struct commit *gather(struct committer *c)
{
	struct commit *k = new0(struct commit);
	k->committer = c;
	struct shard *wait = NULL;
	struct shard *s = c->dirty;
	c->dirty = NULL;
	while (s) {
		struct shard *next = s->dirty_next;
		s->in_dirty = false;
		s->dirty_next = NULL;
		if (may_send(s)) {
			if (!s->inflight) {
				s->inflight = s->open;
				s->open = NULL;
			}
			add_append(k, s);
		}
		if (s->open && !s->in_dirty) {
			s->in_dirty = true;
			s->dirty_next = wait;
			wait = s;
		}
		s = next;
	}
	c->dirty = wait;
	if (k->count > 0)
		return k;
	commit_free(k);
	return NULL;
}

static void commit_next(struct committer *c)
{
	if (c->under_way)
		return;
	if (!c->current)
		c->current = gather(c);
	struct commit *k = c->current;
	if (!k)
		return;
	c->under_way = true;
	k->sent_ns = env_mono_ns(c->h->env);
	store_commit(c->h->store, k->appends, k->count, on_commit_done, k);
}

static void on_kick(struct env_task *t)
{
	struct committer *c = container_of(t, struct committer, kick);
	if (!c->current) /* else it is under way, or its retry will come */
		commit_next(c);
}

static void on_retry(struct env_timer *t)
{
	commit_next(container_of(t, struct committer, retry));
}

void committer_kick(struct committer *c)
{
	if (!c->current)
		env_defer(c->h->env, &c->kick);
}

void shard_settle(struct shard *s, int64_t last_seq)
{
	struct batch *b = s->inflight;
	if (!b) {
		assert(last_seq == s->last_seq);
		return;
	}
	if (last_seq == b->seq) {
		on_committed(s);
		return;
	}
	assert(last_seq == b->seq - 1);
	/* Rolled back for certain: the same again, under the new epoch. */
	struct committer *c = s->h->committer;
	if (!s->in_dirty) {
		s->in_dirty = true;
		s->dirty_next = c->dirty;
		c->dirty = s;
	}
	committer_kick(c);
}

/* The writer's connection is new: whoever used the old one must be fenced out, so every shard is claimed again. */
static void on_writer_reset(void *ctx)
{
	struct committer *c = ctx;
	struct history *h = c->h;
	if (c->current && !c->under_way)
		commit_free(c->current);
	c->current = NULL; /* what is under way frees itself when it is answered */
	c->under_way = false;
	env_timer_stop(h->env, &c->retry);
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		shard_reclaim(h->shards[i]);
}

struct committer *committer_new(struct history *h)
{
	struct committer *c = new0(struct committer);
	c->h = h;
	c->kick.fn = on_kick;
	c->retry.fn = on_retry;
	store_on_writer_reset(h->store, on_writer_reset, c);
	return c;
}

void committer_free(struct committer *c)
{
	if (!c)
		return;
	env_undefer(c->h->env, &c->kick);
	env_timer_stop(c->h->env, &c->retry);
	if (c->current && !c->under_way)
		commit_free(c->current);
	free(c);
}
