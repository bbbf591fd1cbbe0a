/*
 * Which shards are ours: follows the map, claims what it gives us, hands over what it takes away.
 */
#include "services/history/history.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define TEND_NS	  NS_PER_S
#define TRIM_RUNS 2000 /* this many runs left memory: give it back */
/* Shards handed over at a time: each is served until its turn comes, folded, and then stands still for milliseconds. */
#define RELEASING_MAX 4
#define TEND_SOON_NS  (15 * NS_PER_MS) /* while something that should be ours is not, or the other way round */
#define AUDIT_NS      (10 * NS_PER_S)  /* the owners are read at least so often */

static void tend(struct history *h);

void history_config_defaults(struct history_config *c)
{
	*c = (struct history_config){
		.shard_count = 64,
		.cache_bytes_max = 256LL << 20,
		.known_bytes_max = 64LL << 20,
		.checkpoint_interval_ns = 30 * NS_PER_S,
		.checkpoint_journal_bytes = 4 << 20,
		.lease_ns = 3 * NS_PER_S,
		.lookahead_ns = 120 * NS_PER_S,
		.idle_evict_ns = 60 * NS_PER_S,
		.offer_again_ns = 10 * NS_PER_S,
		.takeover_grace_ns = 8 * NS_PER_S,
		.long_poll_max_ns = 20 * NS_PER_S,
		.upkeep_interval_ns = 600 * NS_PER_S,
		.purge_grace_ns = 15 * NS_PER_S,
		.names_age_max_ns = 12 * NS_PER_S,
		.default_retention_ns = 72LL * 3600 * NS_PER_S,
		.core =
			{
				.default_workflow_task_timeout_ns = 10 * NS_PER_S,
				.workflow_task_timeout_max_ns = 120 * NS_PER_S,
				.workflow_task_heartbeat_timeout_ns = 30 * 60 * NS_PER_S,
				.sticky_schedule_to_start_default_ns = 5 * NS_PER_S,
				.retry_initial_interval_ns = NS_PER_S,
				.retry_backoff_coefficient = 2,
				.retry_maximum_interval_coefficient = 100,
				.id_bytes_max = 1000,
				.blob_bytes_max = 2 << 20,
				.blob_bytes_warn = 512 << 10,
				.memo_bytes_max = 2 << 20,
				.pending_activities_max = 2000,
				.signals_max = 10000,
				.history_events_max = 51200,
				.history_bytes_max = 50 << 20,
				.history_events_suggest_can = 4096,
				.history_bytes_suggest_can = 4 << 20,
				.buffered_events_max = 100,
				.workflow_task_retry_max_interval_ns = 10 * 60 * NS_PER_S,
			},
	};
}

struct shard *history_shard_of(struct history *h, const char *namespace_id, const char *workflow_id)
{
	return h->shards[shard_of(namespace_id, workflow_id, h->config.shard_count)];
}

bool history_ready(const struct history *h)
{
	if (!membership_joined(h->membership))
		return false;
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		if (membership_owns_shard(h->membership, i) && !shard_serving(h->shards[i]))
			return false;
	return true;
}

/* ------------------------------------------------------------------ claiming */

/* An owner whose row is gone, or is another incarnation's, can renew no more; what it read before may be served until
 * its lease runs out, counted from when we saw it gone. */
static bool lease_is_out(struct history *h, struct shard *s, uint64_t incarnation)
{
	int64_t now = env_mono_ns(h->env);
	if (s->gone_incarnation != incarnation) {
		s->gone_incarnation = incarnation;
		s->gone_since_ns = now;
	}
	return now - s->gone_since_ns >= h->config.lease_ns;
}

/* Whether we may claim what another incarnation owned, and how. */
static bool may_claim(struct history *h, struct shard *s, const struct store_shard *row, struct store_claim *claim,
		      bool *ret_takeover)
{
	*ret_takeover = false;
	if (!row->owner_node_id || !*row->owner_node_id)
		return true;
	if (str_eq(row->owner_node_id, h->config.node_id)) {
		/* Our own earlier start: its row is ours now, so it can never renew again. It is dead when we hold its
		 * directory's lock (R9), and harmless when its lease has run out. */
		if (row->owner_incarnation != h->config.incarnation && !h->config.alone &&
		    env_mono_ns(h->env) - h->began_ns < h->config.lease_ns)
			return false;
		*ret_takeover = row->owner_incarnation != h->config.incarnation;
		if (*ret_takeover) {
			claim->expired_node_id = row->owner_node_id;
			claim->expired_incarnation = row->owner_incarnation;
		}
		return true;
	}
	int64_t renewals = 0;
	enum member_state state =
		membership_state(h->membership, row->owner_node_id, row->owner_incarnation, &renewals);
	*ret_takeover = true;
	switch (state) {
	case MEMBER_EXPIRED:
		claim->expired_node_id = row->owner_node_id;
		claim->expired_incarnation = row->owner_incarnation;
		claim->expired_renewals = renewals;
		return true;
	case MEMBER_GONE:
		if (!membership_declared_dead(h->membership, row->owner_node_id, row->owner_incarnation) &&
		    !lease_is_out(h, s, row->owner_incarnation))
			return false;
		claim->expired_node_id = row->owner_node_id;
		claim->expired_incarnation = row->owner_incarnation;
		return true;
	case MEMBER_LIVE:
	case MEMBER_UNKNOWN:
		return false;
	}
	return false;
}

static bool is_ours(const struct history *h, const struct store_shard *row)
{
	return str_eq(row->owner_node_id, h->config.node_id) && row->owner_incarnation == h->config.incarnation;
}

/* A shard that we have nothing of: claimed when it should be ours, given back when it should not. */
static void settle_absent(struct history *h, struct shard *s, const struct store_shard *row)
{
	struct store_claim claim = {.shard = s->id, .node_id = h->config.node_id, .incarnation = h->config.incarnation};
	bool takeover;
	if (s->wanted && may_claim(h, s, row, &claim, &takeover))
		shard_claim(s, &claim, takeover);
	else if (!s->wanted && is_ours(h, row))
		shard_give_back(s, row->epoch);
	else if (!s->wanted)
		s->stray = false;
}

static void on_shards(void *ctx, struct err e, const struct store_shard *rows, size_t count)
{
	struct history *h = ctx;
	h->reading_shards = false;
	if (err_is(e)) {
		log_warn(h->log, "reading the shards' owners failed, will try again", log_err(e));
		return;
	}
	int64_t now = env_mono_ns(h->env);
	h->shards_read_ns = now;
	for (size_t i = 0; i < count; i++) {
		if (rows[i].shard >= h->config.shard_count)
			continue;
		struct shard *s = h->shards[rows[i].shard];
		if (s->state == SHARD_ABSENT && s->retry_claim_ns <= now)
			settle_absent(h, s, &rows[i]);
	}
}

/* ------------------------------------------------------------------ tending */

/* Returns whether something is still on its way. */
static bool follow_map(struct history *h, bool *ret_moving)
{
	bool missing = false;
	int releasing = 0;
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		releasing += h->shards[i]->state == SHARD_RELEASING || h->shards[i]->leaving;
	for (uint32_t i = 0; i < h->config.shard_count; i++) {
		struct shard *s = h->shards[i];
		s->wanted = !h->draining && membership_owns_shard(h->membership, i);
		if (s->state == SHARD_ABSENT && (s->wanted || s->stray))
			missing = true;
		else if (!s->wanted && s->state == SHARD_SERVING && !s->leaving && releasing++ < RELEASING_MAX)
			shard_release(s);
		if (s->state == SHARD_RECLAIMING)
			shard_reclaim(s);
	}
	*ret_moving = releasing > 0;
	return missing;
}

static bool all_absent(const struct history *h)
{
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		if (h->shards[i]->state != SHARD_ABSENT)
			return false;
	return true;
}

static void tend(struct history *h)
{
	bool joined = membership_joined(h->membership);
	bool moving = false, missing = joined && follow_map(h, &moving);
	bool audit = joined && env_mono_ns(h->env) - h->shards_read_ns >= AUDIT_NS;
	if ((missing || audit) && !h->reading_shards && !h->draining) {
		h->reading_shards = true;
		store_shards(h->store, on_shards, h);
	}
	if (h->draining && h->drained && all_absent(h)) {
		void (*drained)(void *ctx) = h->drained;
		h->drained = NULL;
		drained(h->drained_ctx);
		return;
	}
	env_timer_start(h->env, &h->tend, missing || moving || h->draining ? TEND_SOON_NS : TEND_NS);
}

/* Memory that cold runs leave behind goes back to the system, when it is worth it. */
static void trim(struct history *h)
{
	if (h->evicted - h->trimmed_at < TRIM_RUNS)
		return;
	h->trimmed_at = h->evicted;
	mem_trim();
}

static void on_tend(struct env_timer *t)
{
	struct history *h = container_of(t, struct history, tend);
	trim(h);
	tend(h);
}

static void on_members_changed(void *ctx)
{
	struct history *h = ctx;
	env_timer_start(h->env, &h->tend, 0);
	dispatch_members_changed(h);
}

/* ------------------------------------------------------------------ life */

static bool find_zone(void *ctx, const char *name, const struct tz **ret)
{
	return tz_db_find(ctx, name, ret);
}

void history_configure(struct history *h, const struct history_config *config)
{
	struct history_config before = h->config;
	h->config = *config;
	h->config.node_id = before.node_id;
	h->config.incarnation = before.incarnation;
	h->config.shard_count = before.shard_count;
	h->config.core.zones = before.core.zones;
}

struct history *history_new(struct env *env, struct rpc *rpc, struct store *store, struct membership *membership,
			    struct namespaces *namespaces, struct log *log, const struct history_config *config)
{
	struct history *h = new0(struct history);
	h->env = env;
	h->rpc = rpc;
	h->store = store;
	h->membership = membership;
	h->namespaces = namespaces;
	h->log = log;
	h->config = *config;
	h->config.node_id = mem_strdup(config->node_id);
	h->zones = tz_db_new(NULL);
	h->config.core.zones = (struct core_zones){.find = find_zone, .ctx = h->zones};
	h->began_ns = env_mono_ns(env);
	h->scratch = arena_new(SIZE_MAX);
	h->shards = mem_zalloc(config->shard_count * sizeof(struct shard *));
	for (uint32_t i = 0; i < config->shard_count; i++)
		h->shards[i] = shard_new(h, i);
	h->committer = committer_new(h);
	h->dispatch = dispatch_new(h);
	h->tend.fn = on_tend;
	h->upkeep = upkeep_new(h);
	h->purge = purge_new(h);
	h->known = known_new(h);
	history_serve_calls(h);
	history_serve_start_task(h);
	history_serve_take_back(h);
	h->relay = relay_new(rpc, membership);
	membership_on_change(membership, on_members_changed, h);
	env_timer_start(env, &h->tend, 0);
	return h;
}

void history_drain(struct history *h, void (*drained)(void *ctx), void *ctx)
{
	h->draining = true;
	h->drained = drained;
	h->drained_ctx = ctx;
	env_timer_start(h->env, &h->tend, 0);
}

void history_free(struct history *h)
{
	if (!h)
		return;
	membership_off_change(h->membership, on_members_changed, h);
	env_timer_stop(h->env, &h->tend);
	relay_free(h->relay);
	upkeep_free(h->upkeep);
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		shard_free(h->shards[i]);
	history_starts_forget(h);
	known_free(h->known);
	purge_free(h->purge);
	committer_free(h->committer);
	dispatch_free(h->dispatch);
	free(h->shards);
	arena_free(h->scratch);
	tz_db_free(h->zones);
	free((char *)h->config.node_id);
	free(h);
}
