/*
 * A shard's life: claimed, reclaimed, released, lost.
 */
#include "services/history/shard/shard.h"

#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/history.h"

#define CLAIM_RETRY_NS	    (100 * NS_PER_MS)
#define RELEASE_JOURNAL_MAX (256 * 1024) /* so much is left to the next owner: it reads faster than we fold */

struct shard *shard_new(struct history *h, uint32_t id)
{
	struct shard *s = new0(struct shard);
	s->h = h;
	s->id = id;
	shard_timers_init(s);
	return s;
}

bool shard_serving(const struct shard *s)
{
	return s->state == SHARD_SERVING;
}

static struct err moved(void)
{
	return (struct err){.code = ERR_UNAVAILABLE,
			    .reason = ERR_REASON_NOT_OWNER,
			    .message = "the workflow's shard is moving; retry"};
}

/* The batch under way may have been committed all the same. */
static struct err maybe_committed(void)
{
	return (struct err){.code = ERR_UNAVAILABLE,
			    .reason = ERR_REASON_OUTCOME_UNKNOWN,
			    .message = "the workflow's shard moved while the request was being committed"};
}

/* Every waiter hears of it; all memory goes. */
static void forget_all(struct shard *s, bool fenced)
{
	struct batch *inflight = s->inflight, *open = s->open;
	struct err e = moved();
	s->inflight = s->open = NULL;
	batch_fail(inflight, fenced ? e : maybe_committed());
	batch_fail(open, e);
	struct workflow *wf, *tmp;
	HASH_ITER (hh, s->workflows, wf, tmp) {
		wf->pins++;
		workflow_abandon_loads(wf, e);
		while (wf->runs) {
			watchers_fail(wf->runs, e);
			queries_fail(wf->runs, e);
			cached_run_drop(wf->runs);
		}
		wf->pins--;
		workflow_put(wf);
	}
	backlog_forget(s);
	known_forget(s->h->known, s);
	s->journal_bytes = 0;
	s->fold_under_way = s->fold_unsure = false;
	s->due_load = NULL;
	s->due_loaded_until_ns = 0;
	env_timer_stop(s->h->env, &s->wake_timer);
	env_timer_stop(s->h->env, &s->tend_timer);
	struct waiter *w = s->fold_waiters;
	s->fold_waiters = NULL;
	while (w) {
		struct waiter *next = w->next;
		w->fn(w, e);
		w = next;
	}
}

void shard_lose(struct shard *s, const char *why)
{
	if (s->state == SHARD_ABSENT)
		return;
	log_warn(s->h->log, "shard lost", log_int("shard", s->id), log_int("epoch", s->epoch), log_str("why", why));
	s->h->counts.shards_lost++;
	/* While it serves, only a commit that comes back fenced ends it: that one did not happen. */
	bool fenced = s->state == SHARD_SERVING;
	s->state = SHARD_ABSENT;
	s->retry_claim_ns = env_mono_ns(s->h->env) + CLAIM_RETRY_NS;
	forget_all(s, fenced);
}

void shard_free(struct shard *s)
{
	if (!s)
		return;
	s->state = SHARD_ABSENT;
	forget_all(s, false);
	heap_done(&s->wakes);
	free(s);
}

static void on_claimed(void *ctx, struct err e, const struct store_claimed *claimed)
{
	struct shard *s = ctx;
	struct history *h = s->h;
	if (s->state == SHARD_CLAIMING && err_is(e)) {
		s->state = SHARD_ABSENT;
		s->retry_claim_ns = env_mono_ns(h->env) + CLAIM_RETRY_NS;
		if (e.code != ERR_ABORTED)
			log_warn(h->log, "claiming a shard failed, will try again", log_int("shard", s->id),
				 log_err(e));
		return;
	}
	if (s->state == SHARD_CLAIMING) {
		s->epoch = claimed->epoch;
		s->last_seq = claimed->last_seq;
		s->checkpoint_seq = claimed->checkpoint_seq;
		s->state = SHARD_REPLAYING;
		h->counts.shards_claimed++;
		shard_replay(s);
		return;
	}
	if (s->state != SHARD_RECLAIMING)
		return;
	if (err_is(e) && e.code == ERR_ABORTED) {
		shard_lose(s, "another node claimed it while the database was out of reach");
		return;
	}
	if (err_is(e)) { /* not reached: the tend timer tries again */
		s->retry_claim_ns = env_mono_ns(h->env) + CLAIM_RETRY_NS;
		return;
	}
	int64_t expect = s->inflight ? s->inflight->seq : s->last_seq;
	if (claimed->last_seq != expect && claimed->last_seq != expect - (s->inflight ? 1 : 0)) {
		shard_lose(s, "the journal went on without us");
		return;
	}
	s->epoch = claimed->epoch;
	s->state = SHARD_SERVING;
	s->grace_until_ns = env_wall_ns(h->env) + h->config.takeover_grace_ns; /* nobody's answer could be taken */
	shard_settle(s, claimed->last_seq);
	shard_timers_arm(s); /* what became due meanwhile */
	if (s->open)
		committer_kick(h->committer);
}

void shard_claim(struct shard *s, const struct store_claim *claim, bool takeover)
{
	assert(s->state == SHARD_ABSENT);
	s->state = SHARD_CLAIMING;
	s->stray = true;
	s->claim_from_ns = env_mono_ns(s->h->env);
	s->grace_until_ns = takeover ? env_wall_ns(s->h->env) + s->h->config.takeover_grace_ns : 0;
	store_claim(s->h->store, claim, on_claimed, s);
}

static void claim_again(struct shard *s)
{
	struct store_claim claim = {
		.shard = s->id,
		.node_id = s->h->config.node_id,
		.incarnation = s->h->config.incarnation,
	};
	s->retry_claim_ns = INT64_MAX;
	store_claim(s->h->store, &claim, on_claimed, s);
}

void shard_reclaim(struct shard *s)
{
	switch (s->state) {
	case SHARD_SERVING:
		s->state = SHARD_RECLAIMING;
		claim_again(s);
		break;
	case SHARD_RECLAIMING: /* a claim that died with the connection before; on_claimed() heard of it */
		if (s->retry_claim_ns <= env_mono_ns(s->h->env))
			claim_again(s);
		break;
	case SHARD_REPLAYING:
	case SHARD_RELEASING:
		shard_lose(s, "the database connection was lost");
		break;
	case SHARD_ABSENT:
	case SHARD_CLAIMING:
		break;
	}
}

/* ------------------------------------------------------------------ release */

struct releasing {
	struct waiter waiter;
	struct shard *shard;
	int64_t epoch;
};

static void on_released(void *ctx, struct err e)
{
	struct shard *s = ctx;
	if (s->state != SHARD_RELEASING)
		return;
	if (err_is(e))
		log_warn(s->h->log, "releasing a shard failed, will try again", log_int("shard", s->id), log_err(e));
	s->stray = err_is(e);
	s->state = SHARD_ABSENT;
	s->retry_claim_ns = 0;
	forget_all(s, false);
	env_timer_start(s->h->env, &s->h->tend, 0); /* the next one's turn */
}

void shard_give_back(struct shard *s, int64_t epoch)
{
	assert(s->state == SHARD_ABSENT);
	s->state = SHARD_RELEASING;
	s->epoch = epoch;
	store_release(s->h->store, s->id, epoch, on_released, s);
}

static void release(struct shard *s)
{
	store_release(s->h->store, s->id, s->epoch, on_released, s);
}

/* False: the shard was lost meanwhile, and its memory with it. */
static bool still(const struct releasing *r, enum shard_state state)
{
	return r->shard->state == state && r->shard->epoch == r->epoch;
}

static void on_folded_for_release(struct waiter *w, struct err e)
{
	struct releasing *r = container_of(w, struct releasing, waiter);
	struct shard *s = r->shard;
	bool go_on = still(r, SHARD_RELEASING);
	free(r);
	if (!go_on)
		return;
	if (err_is(e))
		log_warn(s->h->log, "folding before the hand-over failed; the journal has it all",
			 log_int("shard", s->id), log_err(e));
	release(s);
}

static void on_quiet(struct waiter *w, struct err e)
{
	struct releasing *r = container_of(w, struct releasing, waiter);
	struct shard *s = r->shard;
	if (err_is(e) || !still(r, SHARD_RELEASING)) {
		free(r);
	} else if (s->journal_bytes > RELEASE_JOURNAL_MAX) {
		r->waiter = (struct waiter){.fn = on_folded_for_release};
		shard_fold(s, &r->waiter);
	} else {
		free(r);
		release(s);
	}
}

/* From here on nothing new is taken; what is open still commits. */
static void stand_still(struct releasing *r)
{
	struct shard *s = r->shard;
	s->state = SHARD_RELEASING;
	r->waiter = (struct waiter){.fn = on_quiet};
	int64_t seq = s->open ? s->open->seq : s->inflight ? s->inflight->seq : s->last_seq;
	if (s->open)
		committer_kick(s->h->committer);
	shard_after(s, seq, &r->waiter);
}

static void on_folded_beforehand(struct waiter *w, struct err e)
{
	(void)e; /* the fold that follows, or the journal, has what this one has not */
	struct releasing *r = container_of(w, struct releasing, waiter);
	bool ours = still(r, SHARD_SERVING);
	r->shard->leaving = false;
	if (ours && !r->shard->wanted)
		stand_still(r);
	else
		free(r);
}

void shard_release(struct shard *s)
{
	if (s->state != SHARD_SERVING || s->leaving)
		return;
	s->leaving = true;
	struct releasing *r = new0(struct releasing);
	r->shard = s;
	r->epoch = s->epoch;
	r->waiter.fn = on_folded_beforehand;
	shard_fold(s, &r->waiter);
}
