/*
 * The upkeep of the closed runs' partitions. Whoever owns shard 0 does it; should two believe that they do, the store
 * lets one of them. A run whose retention is over isn't found whether or not its partition is still there, so a late
 * upkeep costs space only.
 */
#include "services/history/upkeep.h"

#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/namespaces/namespace_api.h"
#include "services/history/history.h"

#define FIRST_NS (5 * NS_PER_S)
#define RETRY_NS (60 * NS_PER_S)
/* What is made far ahead is wide, and it will be near one day: longer retentions get their partitions when needed. */
#define AHEAD_MAX_NS (30LL * 24 * 3600 * NS_PER_S)

struct upkeep {
	struct history *h;
	struct env_timer timer;
	int64_t began_ns; /* monotonic */
	struct upkeep_counts counts;
};

/* Folds should find the partition that they need until the upkeep after next. */
static int64_t ahead_until(const struct history *h)
{
	int64_t longest = 0;
	size_t count = 0;
	const struct namespace *all = h->namespaces ? namespaces_all(h->namespaces, &count) : NULL;
	for (size_t i = 0; i < count; i++) {
		bool used = !purge_is_deleted(&all[i]) && !str_eq(all[i].name, NAMESPACE_SYSTEM);
		longest = max_i64(longest, used ? all[i].record->retention_ns : 0);
	}
	return env_wall_ns(h->env) + min_i64(longest, AHEAD_MAX_NS) + 2 * h->config.upkeep_interval_ns;
}

static void on_done(void *ctx, struct err e, const struct store_upkept *done)
{
	struct upkeep *u = ctx;
	struct history *h = u->h;
	if (err_is(e)) {
		u->counts.failed++;
		log_warn(h->log, "upkeep of closed runs failed, will try again", log_err(e));
		env_timer_start(h->env, &u->timer, min_i64(h->config.upkeep_interval_ns, RETRY_NS));
		return;
	}
	env_timer_start(h->env, &u->timer, h->config.upkeep_interval_ns);
	if (done->busy)
		return;
	u->counts.done++;
	u->counts.dropped += done->dropped;
	u->counts.last_ns = env_wall_ns(h->env);
	if (done->dropped)
		log_info(h->log, "closed runs whose retention was over were dropped",
			 log_int("partitions", (int64_t)done->dropped),
			 log_duration("took", env_mono_ns(h->env) - u->began_ns));
	else
		log_debug(h->log, "partitions of closed runs looked after",
			  log_duration("took", env_mono_ns(h->env) - u->began_ns));
}

static void on_timer(struct env_timer *t)
{
	struct upkeep *u = container_of(t, struct upkeep, timer);
	struct history *h = u->h;
	if (h->draining || !shard_serving(h->shards[0])) {
		env_timer_start(h->env, &u->timer, min_i64(h->config.upkeep_interval_ns, RETRY_NS));
		return;
	}
	u->began_ns = env_mono_ns(h->env);
	store_maintain_partitions(h->store, ahead_until(h), on_done, u);
}

struct upkeep *upkeep_new(struct history *h)
{
	struct upkeep *u = new0(struct upkeep);
	u->h = h;
	u->timer.fn = on_timer;
	env_timer_start(h->env, &u->timer, min_i64(FIRST_NS, h->config.upkeep_interval_ns));
	return u;
}

void upkeep_free(struct upkeep *u)
{
	if (!u)
		return;
	env_timer_stop(u->h->env, &u->timer);
	free(u);
}

struct upkeep_counts upkeep_counts(const struct upkeep *u)
{
	return u->counts;
}
