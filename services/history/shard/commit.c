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

#define RETRY_NS (50 * NS_PER_MS)

struct committer {
	struct history *h;
	struct shard *dirty; /* have an open batch; utlist by dirty_next */
	struct store_append *appends;
	struct shard **shards; /* of appends, same index */
	struct buf *records;   /* the same index; kept for a retry */
	size_t count, cap;
	bool under_way;
	bool resending; /* appends hold a batch that was rolled back for certain */
	int64_t last_commit_ns;
	struct env_task kick;
	struct env_timer retry;
};

static void commit_next(struct committer *c);

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
	for (size_t i = 0; i < b->touched_count; i++)
		watchers_notify(b->touched[i]);
	batch_free(b);
}

static void on_commit_done(void *ctx, struct err e, struct store_append *appends, size_t count)
{
	struct committer *c = ctx;
	c->under_way = false;
	if (err_is(e) && e.reason == ERR_REASON_OUTCOME_UNKNOWN) {
		/* store_on_writer_reset() follows, and the claims settle each shard. */
		c->count = 0;
		c->resending = false;
		return;
	}
	if (err_is(e)) {
		log_warn(c->h->log, "commit failed, sending the same again", log_err(e),
			 log_int("shards", (int64_t)count));
		c->resending = true;
		env_timer_start(c->h->env, &c->retry, RETRY_NS);
		return;
	}
	c->h->commits++;
	c->resending = false;
	c->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct shard *s = c->shards[i];
		if (!s->inflight || s->inflight->seq != appends[i].seq || s->epoch != appends[i].epoch)
			continue; /* lost or dropped meanwhile */
		if (appends[i].fenced)
			shard_lose(s, "another node owns the shard now");
		else
			on_committed(s);
	}
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

static void grow(struct committer *c)
{
	size_t old = c->cap;
	c->cap = old ? old * 2 : 16;
	c->appends = mem_realloc(c->appends, c->cap * sizeof *c->appends);
	c->shards = mem_realloc(c->shards, c->cap * sizeof(struct shard *));
	c->records = mem_realloc(c->records, c->cap * sizeof *c->records);
	memset(c->records + old, 0, (c->cap - old) * sizeof *c->records);
}

static void add_append(struct committer *c, struct shard *s)
{
	if (c->count == c->cap)
		grow(c);
	size_t i = c->count++;
	seal(s->inflight, env_wall_ns(c->h->env), &c->records[i]);
	c->shards[i] = s;
	c->appends[i] = (struct store_append){
		.shard = s->id,
		.epoch = s->epoch,
		.seq = s->inflight->seq,
		.record = buf_view(&c->records[i]),
	};
}

/* Whether this shard's batch can go now: one transaction in flight a shard, and only while it serves. */
static bool may_send(const struct shard *s)
{
	return (s->state == SHARD_SERVING || s->state == SHARD_RELEASING) && (s->open || s->inflight);
}

static void gather(struct committer *c)
{
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
			add_append(c, s);
		}
		if (s->open && !s->in_dirty) {
			s->in_dirty = true;
			s->dirty_next = wait;
			wait = s;
		}
		s = next;
	}
	c->dirty = wait;
}

static void commit_next(struct committer *c)
{
	if (c->under_way)
		return;
	if (!c->resending) {
		c->count = 0;
		gather(c);
	}
	if (c->count == 0)
		return;
	c->under_way = true;
	store_commit(c->h->store, c->appends, c->count, on_commit_done, c);
}

static void on_kick(struct env_task *t)
{
	struct committer *c = container_of(t, struct committer, kick);
	if (!c->resending)
		commit_next(c);
}

static void on_retry(struct env_timer *t)
{
	struct committer *c = container_of(t, struct committer, retry);
	commit_next(c);
}

void committer_kick(struct committer *c)
{
	if (!c->under_way && !c->resending)
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
	c->under_way = false;
	c->resending = false;
	c->count = 0;
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
	for (size_t i = 0; i < c->cap; i++)
		buf_done(&c->records[i]);
	free(c->records);
	free(c->appends);
	free(c->shards);
	free(c);
}
