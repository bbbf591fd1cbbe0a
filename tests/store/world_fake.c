/*
 * The contract suite's world in memory: virtual time, so it never waits.
 */
#include "common/mem/mem.h"
#include "common/store/fake.h"
#include "tests/store/world.h"

#define OPENED_MAX 8

struct fake_world {
	struct env env;
	int64_t now_ns;
	struct fake_db *db;
	struct store *opened[OPENED_MAX];
	size_t count;
	uint64_t random;
};

static struct fake_world *world_of(struct env *e)
{
	return container_of(e, struct fake_world, env);
}

static int64_t mono_ns(struct env *e)
{
	return world_of(e)->now_ns;
}

static int64_t wall_ns(struct env *e)
{
	return 1700000000 * NS_PER_S + world_of(e)->now_ns;
}

static void random_bytes(struct env *e, void *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)(world_of(e)->random = world_of(e)->random * 6364136223846793005u + 1);
}

static void wake_at(struct env *e, int64_t due_ns)
{
	(void)e;
	(void)due_ns;
}

static const struct env_ops env_ops = {
	.wall_ns = wall_ns, .mono_ns = mono_ns, .random = random_bytes, .wake_at = wake_at, .post = env_defer};

static void fake_start(struct world *w)
{
	struct fake_world *f = new0(struct fake_world);
	env_init(&f->env, &env_ops);
	f->db = fake_db_new(WORLD_SHARDS, 1);
	w->env = &f->env;
	w->impl = f;
}

static void fake_stop(struct world *w)
{
	struct fake_world *f = w->impl;
	for (size_t i = 0; i < f->count; i++)
		store_free(f->opened[i]);
	fake_db_free(f->db);
	heap_done(&f->env.timers);
	free(f);
}

static void fake_turn(struct world *w)
{
	struct fake_world *f = w->impl;
	int64_t due = env_next_due(&f->env);
	ck_assert_msg(due != INT64_MAX, "nothing will ever happen");
	f->now_ns = max_i64(f->now_ns, due);
	env_run(&f->env);
}

static struct store *fake_open(struct world *w)
{
	struct fake_world *f = w->impl;
	ck_assert(f->count < OPENED_MAX);
	return f->opened[f->count++] = fake_store_new(&f->env, f->db);
}

static void fake_lose(struct world *w, struct store *s)
{
	(void)w;
	fake_store_lose_writer(s);
}

static void fake_unknown(struct world *w, struct store *s, bool applied)
{
	(void)w;
	fake_store_next_commit(s, applied ? FAKE_FATE_UNKNOWN_APPLIED : FAKE_FATE_UNKNOWN_LOST);
}

static void fake_freeze(struct world *w, struct store *s, uint32_t shard)
{
	(void)w;
	(void)s;
	(void)shard;
}

static void fake_set_setting(struct world *w, const char *name, const char *value)
{
	fake_db_set_setting(((struct fake_world *)w->impl)->db, name, value, "test", 5);
}

static void fake_schema(struct world *w, int version)
{
	fake_db_set_schema_version(((struct fake_world *)w->impl)->db, version);
}

static void fake_add_schema(struct world *w, int version, int serves_from)
{
	fake_db_set_newer_schema(((struct fake_world *)w->impl)->db, version, serves_from ? serves_from : version);
}

static void fake_pin(struct world *w, uint32_t shard, const char *node_id)
{
	fake_db_pin(((struct fake_world *)w->impl)->db, shard, node_id);
}

static void fake_tell(struct world *w, const char *node_id, bool drain)
{
	fake_db_tell_to_drain(((struct fake_world *)w->impl)->db, node_id, drain);
}

static void count_row(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	(void)seq;
	(void)epoch;
	(void)record;
	++*(size_t *)ctx;
}

static size_t fake_journal_rows(struct world *w, uint32_t shard)
{
	size_t n = 0;
	fake_db_each_journal(((struct fake_world *)w->impl)->db, shard, count_row, &n);
	return n;
}

const struct world_ops world_fake = {
	.name = "fake",
	.start = fake_start,
	.stop = fake_stop,
	.turn = fake_turn,
	.open = fake_open,
	.lose_writer = fake_lose,
	.next_commit_unknown = fake_unknown,
	.freeze_writer = fake_freeze,
	.set_schema_version = fake_schema,
	.add_schema = fake_add_schema,
	.set_setting = fake_set_setting,
	.pin = fake_pin,
	.tell_to_drain = fake_tell,
	.journal_rows = fake_journal_rows,
};
