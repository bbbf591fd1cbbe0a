/*
 * A history node at a glance.
 */
#include <utlist.h>

#include "services/history/admin/admin.h"
#include "services/history/shard/dispatch.h"

const char *admin_shard_state(enum shard_state state)
{
	static const char *const names[] = {"absent", "claiming", "replaying", "serving", "reclaiming", "releasing"};
	return names[state];
}

static json_t *shard_json(const struct shard *s)
{
	size_t unstarted = 0;
	const struct cached_run *r;
	DL_COUNT2(s->unstarted, r, unstarted, unstarted_next);
	return json_pack("{s:i, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "shard", (int)s->id, "state",
			 admin_shard_state(s->state), "wanted", s->wanted, "epoch", (json_int_t)s->epoch, "last_seq",
			 (json_int_t)s->last_seq, "checkpoint_seq", (json_int_t)s->checkpoint_seq, "lag",
			 (json_int_t)(s->last_seq - s->checkpoint_seq), "journal_bytes", (json_int_t)s->journal_bytes,
			 "runs", (json_int_t)s->run_count, "unstarted", (json_int_t)unstarted);
}

/* Tasks that matching had no room for. */
static size_t backlog_of(const struct history *h)
{
	size_t sum = 0;
	for (const struct task_queue *q = h->dispatch->queues; q; q = q->hh.next)
		for (uint32_t i = 0; i < q->count; i++)
			sum += q->parts[i].parked;
	return sum;
}

json_t *admin_overview(const struct history *h)
{
	json_t *shards = json_array();
	int64_t lag = 0, journal = 0;
	size_t runs = 0;
	for (uint32_t i = 0; i < h->config.shard_count; i++) {
		const struct shard *s = h->shards[i];
		if (s->state == SHARD_ABSENT && !s->wanted)
			continue;
		lag = max_i64(lag, s->last_seq - s->checkpoint_seq);
		journal += s->journal_bytes;
		runs += s->run_count;
		json_array_append_new(shards, shard_json(s));
	}
	return json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "node_id",
			 h->config.node_id, "draining", h->draining || membership_told_to_drain(h->membership), "ready",
			 history_ready(h), "cache_bytes", (json_int_t)h->cache_bytes, "cache_bytes_max",
			 (json_int_t)h->config.cache_bytes_max, "runs", (json_int_t)runs, "lag_max", (json_int_t)lag,
			 "journal_bytes", (json_int_t)journal, "backlog", (json_int_t)backlog_of(h), "commits",
			 (json_int_t)h->commits, "transitions", (json_int_t)h->committed_transitions, "folds",
			 (json_int_t)h->folds, "loads", (json_int_t)h->loads, "shards", shards);
}
