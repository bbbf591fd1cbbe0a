/*
 * The partitions of closed runs: made ahead of time by a function of the schema, dropped here when the last retention
 * end in them has passed.
 *
 * Dropping detaches concurrently first, so that no reader or fold waits. That needs a transaction of its own and waits
 * for the older ones, so it has a connection for the while. One node at a time, by a session's advisory lock; whatever
 * an interrupted upkeep leaves (a detach that is pending, a table that is detached) the next one finishes.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

#define UPKEEP_TIMEOUT_NS (600 * NS_PER_S)

static const struct pg_stmt stmt_ensure = {"partitions_ensure",
					   "SELECT from_ns, to_ns FROM closed_partitions_ensure($1, $2, $3)"};

void pg_op_ensure_partitions(const struct pg_store *s, struct pg_op *op, int64_t until_ns, int64_t now_ns)
{
	pg_op_add(op, &stmt_ensure);
	pg_op_int8(op, until_ns);
	pg_op_int8(op, now_ns);
	pg_op_int8(op, s->partition_width_ns);
}

void pg_partitions_seen(struct pg_store *s, const PGresult *r)
{
	s->partitions_from_ns = pg_int8(r, 0, 0);
	s->partitions_to_ns = pg_int8(r, 0, 1);
}

/* ------------------------------------------------------------------ upkeep */

static const char lock_sql[] = "SELECT pg_try_advisory_lock(7237, 3)";

/* $1 now. state: 'a' attached, 'p' half detached, 'd' detached, 'x' no such table */
static const char expired_sql[] =
	"SELECT p.suffix, t.parent, CASE WHEN to_regclass(t.parent || '_' || p.suffix) IS NULL THEN 'x'"
	" ELSE coalesce((SELECT CASE WHEN i.inhdetachpending THEN 'p' ELSE 'a' END FROM pg_inherits i"
	"  WHERE i.inhrelid = to_regclass(t.parent || '_' || p.suffix)), 'd') END "
	"FROM closed_partition p CROSS JOIN unnest(ARRAY['closed_run', 'closed_history']) t (parent) "
	"WHERE p.to_ns <= $1 ORDER BY p.to_ns, t.parent";

static const char forget_sql[] =
	"DELETE FROM closed_partition p WHERE p.to_ns <= $1"
	" AND to_regclass('closed_run_' || p.suffix) IS NULL AND to_regclass('closed_history_' || p.suffix) IS NULL";

struct upkeep {
	struct pg_store *s;
	int64_t until_ns, now_ns;
	bool locked;
	size_t at; /* of the expired tables, the next to be dropped */
	struct arena *arena;
	struct {
		char *name, *parent;
		char state;
	} * tables;
	size_t count, dropped;
	bool busy;
	store_upkept_fn *fn;
	void *ctx;
};

static void drop_next(struct upkeep *u);

static void finish(struct upkeep *u, struct err e)
{
	struct pg_store *s = u->s;
	pg_link_free(s->upkeep); /* the advisory lock goes with it */
	s->upkeep = NULL;
	s->upkeep_arena = NULL;
	const struct store_upkept done = {.busy = u->busy,
					  .dropped = (u->dropped + 1) / 2, /* each is two tables */
					  .from_ns = s->partitions_from_ns,
					  .to_ns = s->partitions_to_ns};
	u->fn(u->ctx, e, err_is(e) ? NULL : &done);
	arena_free(u->arena);
}

static void on_forgotten(void *ctx, const struct pg_done *d)
{
	struct upkeep *u = ctx;
	if (!err_is(d->e))
		pg_partitions_seen(u->s, d->rows[1]);
	finish(u, pg_store_err(d->e));
}

static void forget(struct upkeep *u)
{
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, forget_sql);
	pg_op_int8(op, u->now_ns);
	pg_op_ensure_partitions(u->s, op, u->until_ns, u->now_ns);
	pg_link_submit(u->s->upkeep, op, on_forgotten, u);
}

static void on_step(void *ctx, const struct pg_done *d)
{
	struct upkeep *u = ctx;
	if (err_is(d->e)) {
		finish(u, pg_store_err(d->e));
		return;
	}
	switch (u->tables[u->at].state) {
	case 'a':
	case 'p':
		u->tables[u->at].state = 'd';
		break;
	default:
		u->at++;
		u->dropped++;
		break;
	}
	drop_next(u);
}

static void drop_next(struct upkeep *u)
{
	while (u->at < u->count && u->tables[u->at].state == 'x')
		u->at++;
	if (u->at == u->count) {
		forget(u);
		return;
	}
	/* The names are the schema function's: lower case, digits, underscores. */
	const char *name = u->tables[u->at].name, *parent = u->tables[u->at].parent;
	char state = u->tables[u->at].state;
	struct pg_op *op = pg_op_new();
	struct arena *a = pg_op_arena(op);
	if (state == 'd')
		pg_op_add_text(op, arena_printf(a, "DROP TABLE %s", name));
	else
		pg_op_add_text(op, arena_printf(a, "ALTER TABLE %s DETACH PARTITION %s %s", parent, name,
						state == 'a' ? "CONCURRENTLY" : "FINALIZE"));
	pg_link_submit(u->s->upkeep, op, on_step, u);
}

static void on_expired(void *ctx, const struct pg_done *d)
{
	struct upkeep *u = ctx;
	if (err_is(d->e)) {
		finish(u, pg_store_err(d->e));
		return;
	}
	const PGresult *r = d->rows[0];
	u->count = pg_row_count(r);
	u->tables = arena_alloc(u->arena, u->count * sizeof *u->tables);
	for (size_t i = 0; i < u->count; i++) {
		u->tables[i].parent = arena_strdup(u->arena, pg_text(r, i, 1));
		u->tables[i].name = arena_printf(u->arena, "%s_%s", pg_text(r, i, 1), pg_text(r, i, 0));
		u->tables[i].state = *pg_text(r, i, 2);
	}
	drop_next(u);
}

static void on_locked(void *ctx, const struct pg_done *d)
{
	struct upkeep *u = ctx;
	u->busy = !err_is(d->e) && !pg_bool(d->rows[0], 0, 0);
	if (err_is(d->e) || u->busy) {
		finish(u, pg_store_err(d->e));
		return;
	}
	pg_partitions_seen(u->s, d->rows[1]);
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, expired_sql);
	pg_op_int8(op, u->now_ns);
	pg_link_submit(u->s->upkeep, op, on_expired, u);
}

void pg_maintain_partitions(struct store *base, int64_t until_ns, store_upkept_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	assert(!s->upkeep);
	struct arena *a = arena_new(0);
	struct upkeep *u = arena_new0(a, struct upkeep);
	*u = (struct upkeep){
		.s = s, .arena = a, .until_ns = until_ns, .now_ns = env_wall_ns(base->env), .fn = fn, .ctx = ctx};
	struct pg_link_config config = s->link_config;
	config.statement_timeout_ns = UPKEEP_TIMEOUT_NS;
	struct err e = pg_link_new(s->loop, &config, NULL, NULL, a, &s->upkeep);
	assert(!err_is(e)); /* the DSN was good enough for the others */
	s->upkeep_arena = a;
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, lock_sql);
	pg_op_ensure_partitions(s, op, until_ns, u->now_ns);
	pg_link_submit(s->upkeep, op, on_locked, u);
}
