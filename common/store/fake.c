/*
 * The store in memory: how calls travel and what goes wrong on their way. What they do is in fake_nodes.c,
 * fake_shards.c and fake_runs.c.
 */
#include "common/store/fake.h"

#include <stdlib.h>

#include "common/store/fake_impl.h"
#include "common/store/schema.h"

#define CALL_ARENA_LIMIT ((size_t)1 << 40)
#define LATENCY_NS	 (100 * NS_PER_US)
#define TIMEOUT_NS	 NS_PER_S
#define TEXT_MAX	 ((size_t)1 << 30)

/* ------------------------------------------------------------------ chance */

/* splitmix64 */
static uint64_t db_random(struct fake_db *db)
{
	uint64_t z = db->rng += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static bool db_chance(struct fake_db *db, double p)
{
	return p > 0 && (double)(db_random(db) >> 11) / (double)(1ULL << 53) < p;
}

static int64_t db_latency(struct fake_db *db)
{
	const struct fake_faults *f = &db->faults;
	int64_t span = f->latency_max_ns - f->latency_min_ns;
	return f->latency_min_ns + (span > 0 ? (int64_t)(db_random(db) % (uint64_t)(span + 1)) : 0);
}

/* ------------------------------------------------------------------ a call's way */

static struct err unavailable(const char *text)
{
	return err_static(ERR_UNAVAILABLE, text);
}

static struct err outcome_unknown(void)
{
	struct err e = err_static(ERR_UNAVAILABLE, "the database connection was lost during commit");
	e.reason = ERR_REASON_OUTCOME_UNKNOWN;
	return e;
}

/* In order within a lane: a call never overtakes the one before it. */
static void call_arm(struct fake_call *c, int64_t delay)
{
	struct fake_store *s = c->s;
	int64_t now = env_mono_ns(s->base.env), due = now + delay;
	if (c->lane != FAKE_LANE_READ)
		due = max_i64(due, s->lane_due_ns[c->lane] + 1);
	s->lane_due_ns[c->lane] = due;
	env_timer_start(s->base.env, &c->timer, due - now);
}

static void call_free(struct fake_call *c)
{
	env_timer_stop(c->s->base.env, &c->timer);
	DL_DELETE(c->s->calls, c);
	arena_free(c->arena);
}

static void call_execute(struct fake_call *c)
{
	c->executed = true;
	c->s->db->calls++;
	if (c->run)
		c->run(c);
}

/* At the database. */
static void call_arrive(struct fake_call *c)
{
	struct fake_store *s = c->s;
	c->arrived = true;
	if (s->cut) {
		c->timed_out = true;
		call_arm(c, s->db->faults.timeout_ns);
		return;
	}
	if (s->db->down) {
		c->err = unavailable("the database is down");
	} else if (c->fate == FAKE_FATE_FAIL) {
		c->err = unavailable("the database gave up the transaction");
	} else if (c->fate == FAKE_FATE_OK) {
		call_execute(c);
	} else {
		fake_store_lose_writer(&s->base); /* settles and answers this one too */
		return;
	}
	call_arm(c, db_latency(s->db));
}

/* Back at the node. */
static void call_answer(struct fake_call *c)
{
	struct fake_store *s = c->s;
	if (s->cut && !c->local && !c->timed_out && !err_is(c->err)) {
		c->timed_out = true;
		call_arm(c, s->db->faults.timeout_ns);
		return;
	}
	if (c->timed_out && !err_is(c->err)) {
		if (c->lane == FAKE_LANE_WRITER) {
			fake_store_lose_writer(&s->base); /* answers this one too, on the next turn */
			return;
		}
		c->err = c->executed ? outcome_unknown() : unavailable("the database does not answer");
	}
	/* The callback may free the store. Then the call went with it. */
	struct arena *arena = c->arena;
	env_timer_stop(s->base.env, &c->timer);
	DL_DELETE(s->calls, c);
	c->reply(c);
	arena_free(arena);
}

static void on_call_timer(struct env_timer *t)
{
	struct fake_call *c = container_of(t, struct fake_call, timer);
	if (c->orphan) {
		call_execute(c);
		call_free(c);
	} else if (!c->arrived) {
		call_arrive(c);
	} else {
		call_answer(c);
	}
}

void *fake_call_start(struct fake_store *s, size_t size, enum fake_lane lane, void (*run)(struct fake_call *),
		      void (*reply)(struct fake_call *))
{
	struct fake_db *db = s->db;
	struct arena *arena = arena_new(CALL_ARENA_LIMIT);
	struct fake_call *c = arena_alloc(arena, size);
	c->s = s;
	c->arena = arena;
	c->lane = lane;
	c->run = run;
	c->reply = reply;
	c->timer.fn = on_call_timer;
	c->fate = db_chance(db, db->faults.fail) ? FAKE_FATE_FAIL : FAKE_FATE_OK;
	DL_APPEND(s->calls, c);
	int64_t delay = db_latency(db);
	if (db_chance(db, db->faults.stall))
		delay += db->faults.stall_ns;
	call_arm(c, delay);
	return c;
}

void fake_call_orphan(struct fake_call *c, int64_t delay_ns)
{
	c->orphan = true;
	env_timer_start(c->s->base.env, &c->timer, delay_ns);
}

/* ------------------------------------------------------------------ losing the writer */

static void reply_reset(struct fake_call *c)
{
	if (c->s->reset)
		c->s->reset(c->s->reset_ctx);
}

/* Whether a commit that was under way happens all the same, now or later. */
static void settle_lost_commit(struct fake_call *c)
{
	enum fake_fate fate = c->fate;
	if (fate == FAKE_FATE_OK || fate == FAKE_FATE_FAIL) {
		static const enum fake_fate fates[] = {FAKE_FATE_UNKNOWN_APPLIED, FAKE_FATE_UNKNOWN_LOST,
						       FAKE_FATE_UNKNOWN_LATE};
		fate = fates[db_random(c->s->db) % array_len(fates)];
	}
	if (c->executed || c->s->cut || c->s->db->down)
		return;
	if (fate == FAKE_FATE_UNKNOWN_APPLIED)
		call_execute(c);
	else if (fate == FAKE_FATE_UNKNOWN_LATE)
		fake_commit_orphan(c);
}

void fake_store_lose_writer(struct store *base)
{
	struct fake_store *s = fake_of(base);
	store_claims_clear(&s->claims);
	s->lane_due_ns[FAKE_LANE_WRITER] = env_mono_ns(base->env);
	struct fake_call *c, *tmp;
	struct fake_call *reset = fake_call_new(s, struct fake_call, FAKE_LANE_WRITER, NULL, reply_reset);
	reset->arrived = reset->local = true;
	s->lane_due_ns[FAKE_LANE_WRITER] = env_mono_ns(base->env);
	call_arm(reset, 0);
	DL_FOREACH_SAFE (s->calls, c, tmp) {
		if (c == reset)
			break;
		if (c->lane != FAKE_LANE_WRITER || c->reply == reply_reset || err_is(c->err))
			continue;
		if (fake_call_is_commit(c))
			settle_lost_commit(c);
		c->err = outcome_unknown();
		c->arrived = true;
		call_arm(c, 0);
	}
}

/* ------------------------------------------------------------------ notifications */

struct notify_call {
	struct fake_call call;
	const char *topic;
};

static void reply_notify(struct fake_call *c)
{
	struct fake_store *s = c->s;
	if (s->notify && !err_is(c->err))
		s->notify(s->notify_ctx, container_of(c, struct notify_call, call)->topic);
}

static void announce_to(struct fake_store *s, const char *topic)
{
	if (!s->notify || s->cut || s->db->down)
		return;
	struct notify_call *n = fake_call_new(s, struct notify_call, FAKE_LANE_CONTROL, NULL, reply_notify);
	n->topic = topic;
	n->call.arrived = true;
}

void fake_announce(struct fake_db *db, const char *topic)
{
	struct fake_store *s;
	DL_FOREACH (db->stores, s) {
		announce_to(s, topic);
	}
}

/* After a reconnect nobody knows what was missed. */
static void announce_all_to(struct fake_store *s)
{
	announce_to(s, STORE_TOPIC_NODES);
	announce_to(s, STORE_TOPIC_NAMESPACES);
	announce_to(s, STORE_TOPIC_SETTINGS);
}

static void on_notify(struct store *base, void (*fn)(void *ctx, const char *topic), void *ctx)
{
	fake_of(base)->notify = fn;
	fake_of(base)->notify_ctx = ctx;
}

static void on_writer_reset(struct store *base, void (*fn)(void *ctx), void *ctx)
{
	fake_of(base)->reset = fn;
	fake_of(base)->reset_ctx = ctx;
}

/* ------------------------------------------------------------------ faults */

void fake_db_set_faults(struct fake_db *db, const struct fake_faults *f)
{
	db->faults = *f;
	if (db->faults.timeout_ns <= 0)
		db->faults.timeout_ns = TIMEOUT_NS;
	db->faults.latency_max_ns = max_i64(f->latency_min_ns, f->latency_max_ns);
}

void fake_store_next_commit(struct store *s, enum fake_fate fate)
{
	fake_of(s)->next_commit = fate;
}

void fake_store_cut(struct store *base, bool cut)
{
	struct fake_store *s = fake_of(base);
	bool healed = s->cut && !cut;
	s->cut = cut;
	if (healed)
		announce_all_to(s);
}

void fake_db_set_down(struct fake_db *db, bool down)
{
	if (db->down == down)
		return;
	db->down = down;
	struct fake_store *s;
	DL_FOREACH (db->stores, s) {
		if (down)
			fake_store_lose_writer(&s->base);
		else
			announce_all_to(s);
	}
}

void fake_db_set_newer_schema(struct fake_db *db, int version, int serves_from)
{
	db->cluster.schema_version = version;
	db->schema_serves_from = serves_from;
}

void fake_db_set_schema_version(struct fake_db *db, int version)
{
	fake_db_set_newer_schema(db, version, version);
}

enum fake_fate fake_take_fate(struct fake_store *s, enum fake_fate drawn)
{
	enum fake_fate fate = s->next_commit;
	s->next_commit = FAKE_FATE_OK;
	if (fate != FAKE_FATE_OK)
		return fate;
	if (!db_chance(s->db, s->db->faults.lose_writer))
		return drawn;
	return FAKE_FATE_UNKNOWN_APPLIED + (enum fake_fate)(db_random(s->db) % 3);
}

/* ------------------------------------------------------------------ making and freeing */

static void fake_free(struct store *base)
{
	struct fake_store *s = fake_of(base);
	s->notify = NULL; /* nothing new is sent to us while the calls go */
	struct fake_call *c, *tmp;
	DL_FOREACH_SAFE (s->calls, c, tmp) {
		/* What was on its way to the database may still happen. */
		if (c->lane == FAKE_LANE_WRITER && !c->arrived && !s->cut && !s->db->down && db_chance(s->db, 0.5))
			call_execute(c);
		call_free(c);
	}
	fake_shards_forget(s);
	DL_DELETE(s->db->stores, s);
	store_claims_done(&s->claims);
	free(s->registered_node_id);
	free(s);
}

static const struct store_ops fake_ops = {
	.node_renew = fake_node_renew,
	.node_leave = fake_node_leave,
	.on_notify = on_notify,
	.shards = fake_shards,
	.claim = fake_claim,
	.release = fake_release,
	.read_journal = fake_read_journal,
	.commit = fake_commit,
	.on_writer_reset = on_writer_reset,
	.load_run = fake_load_run,
	.load_history = fake_load_history,
	.load_due = fake_load_due,
	.load_tasks = fake_load_tasks,
	.sum_tasks = fake_sum_tasks,
	.scan = fake_scan,
	.fold = fake_fold,
	.maintain_partitions = fake_maintain_partitions,
	.namespaces = fake_namespaces,
	.namespace_put = fake_namespace_put,
	.namespace_delete = fake_namespace_delete,
	.list_namespace = fake_list_namespace,
	.purge = fake_purge,
	.purge_progress = fake_purge_progress,
	.settings = fake_settings,
	.cluster = fake_cluster,
	.free = fake_free,
};

struct store *fake_store_new(struct env *env, struct fake_db *db)
{
	struct fake_store *s = new0(struct fake_store);
	s->base = (struct store){.ops = &fake_ops, .env = env};
	s->db = db;
	DL_APPEND(db->stores, s);
	return &s->base;
}

struct fake_db *fake_db_new(uint32_t shard_count, uint64_t seed)
{
	assert(shard_count > 0);
	struct fake_db *db = new0(struct fake_db);
	db->rng = seed;
	db->faults = (struct fake_faults){
		.latency_min_ns = LATENCY_NS, .latency_max_ns = LATENCY_NS, .timeout_ns = TIMEOUT_NS};
	db->cluster = (struct store_cluster){.cluster_id = "00000000-0000-4000-8000-000000000001",
					     .shard_count = shard_count,
					     .schema_version = STORE_SCHEMA_VERSION,
					     .database_version = "memory"};
	db->shards = mem_zalloc(shard_count * sizeof *db->shards);
	db->pins = mem_zalloc(shard_count * sizeof *db->pins);
	return db;
}

void fake_db_free(struct fake_db *db)
{
	if (!db)
		return;
	assert(!db->stores);
	fake_nodes_free(db);
	fake_shards_free(db);
	fake_runs_free(db);
	fake_settings_free(db);
	fake_tasks_free(db);
	free(db->refused);
	fake_purges_forget(db, NULL);
	free(db);
}

void fake_still_there(const char *text)
{
	assert(!text || strlen(text) < TEXT_MAX);
}

struct bytes fake_bytes_dup(struct bytes b)
{
	return bytes_of(mem_dup(b.data, b.len), b.len);
}

void fake_bytes_free(struct bytes *b)
{
	free((void *)b->data);
	*b = (struct bytes){0};
}

uint64_t fake_db_commits(const struct fake_db *db)
{
	return db->commits;
}

uint64_t fake_db_calls(const struct fake_db *db)
{
	return db->calls;
}
