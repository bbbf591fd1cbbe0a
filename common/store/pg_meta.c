/*
 * Namespaces and cluster facts in PostgreSQL.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"
#include "common/store/schema.h"

#define MIGRATE_HINT "run 'perdurectl schema migrate'"

/* ------------------------------------------------------------------ namespaces */

static const struct pg_stmt stmt_list = {"namespace_list",
					 "SELECT id, name, version, info FROM namespace ORDER BY name"};

static const struct pg_stmt stmt_create = {
	"namespace_create",
	"WITH put AS (INSERT INTO namespace (id, name, version, info) VALUES ($1, $2, 1, $3) RETURNING 1) "
	"SELECT pg_notify('" PG_CHANNEL "', '" STORE_TOPIC_NAMESPACES "') FROM put"};

static const struct pg_stmt stmt_replace = {
	"namespace_replace", "WITH put AS (UPDATE namespace SET name = $2, info = $3, version = version + 1 "
			     "WHERE id = $1 AND version = $4 RETURNING 1) "
			     "SELECT pg_notify('" PG_CHANNEL "', '" STORE_TOPIC_NAMESPACES "') FROM put"};

static const struct pg_stmt stmt_delete = {
	"namespace_delete", "WITH gone AS (DELETE FROM namespace WHERE id = $1 AND version = $2 RETURNING id), "
			    "progress AS (DELETE FROM namespace_purge WHERE namespace_id IN (SELECT id FROM gone)) "
			    "SELECT pg_notify('" PG_CHANNEL "', '" STORE_TOPIC_NAMESPACES "') FROM gone"};

#define CHANGED_TEXT "the namespace was changed by somebody else"

struct list_ctx {
	store_namespaces_fn *fn;
	void *ctx;
};

static void on_listed(void *ctx, const struct pg_done *d)
{
	struct list_ctx *c = ctx;
	if (err_is(d->e)) {
		c->fn(c->ctx, d->e, NULL, 0);
		return;
	}
	const PGresult *r = d->rows[0];
	size_t count = pg_row_count(r);
	struct store_namespace *list = mem_zalloc(count * sizeof *list);
	for (size_t i = 0; i < count; i++)
		list[i] = (struct store_namespace){.id = pg_text(r, i, 0),
						   .name = pg_text(r, i, 1),
						   .version = pg_int8(r, i, 2),
						   .info = pg_bytes(r, i, 3)};
	c->fn(c->ctx, err_ok, list, count);
	free(list);
}

void pg_namespaces(struct store *base, store_namespaces_fn *fn, void *ctx)
{
	struct pg_op *op = pg_op_new();
	struct list_ctx *c = arena_new0(pg_op_arena(op), struct list_ctx);
	*c = (struct list_ctx){fn, ctx};
	pg_op_add(op, &stmt_list);
	pg_link_submit(pg_of(base)->control, op, on_listed, c);
}

void pg_namespace_put(struct store *base, const struct store_namespace *ns, store_done_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	pg_op_writes(op);
	pg_op_add(op, ns->version == 0 ? &stmt_create : &stmt_replace);
	pg_op_text(op, ns->id);
	pg_op_text(op, ns->name);
	pg_op_bytes(op, ns->info);
	if (ns->version != 0)
		pg_op_int8(op, ns->version);
	struct pg_done_ctx *c = pg_done_ctx_new(s, op, fn, ctx);
	c->none_text = CHANGED_TEXT;
	pg_link_submit(s->control, op, pg_store_on_done, c);
}

void pg_namespace_delete(struct store *base, const char *id, int64_t version, store_done_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	pg_op_writes(op);
	pg_op_add(op, &stmt_delete);
	pg_op_text(op, id);
	pg_op_int8(op, version);
	struct pg_done_ctx *c = pg_done_ctx_new(s, op, fn, ctx);
	c->none_text = CHANGED_TEXT;
	pg_link_submit(s->control, op, pg_store_on_done, c);
}

/* ------------------------------------------------------------------ cluster facts */

/* The version comes first and alone: of another version's tables nothing is known. */
static const char version_sql[] = STORE_SCHEMA_SQL;
static const char cluster_sql[] = "SELECT cluster_id, shard_count, current_setting('server_version') FROM cluster";

struct cluster_ctx {
	struct pg_store *s;
	int version;
	store_cluster_fn *fn;
	void *ctx;
};

static struct cluster_ctx *cluster_ctx(struct pg_op *op, struct pg_store *s, int version, store_cluster_fn *fn,
				       void *ctx)
{
	struct cluster_ctx *c = arena_new0(pg_op_arena(op), struct cluster_ctx);
	*c = (struct cluster_ctx){s, version, fn, ctx};
	return c;
}

static void on_cluster(void *ctx, const struct pg_done *d)
{
	struct cluster_ctx *c = ctx;
	struct err e = d->e;
	if (!err_is(e) && pg_row_count(d->rows[0]) != 1)
		e = err_static(ERR_FAILED_PRECONDITION, "the database holds no cluster: " MIGRATE_HINT);
	if (err_is(e)) {
		c->fn(c->ctx, e, NULL);
		return;
	}
	const struct store_cluster cluster = {.cluster_id = pg_text(d->rows[0], 0, 0),
					      .shard_count = (uint32_t)pg_int4(d->rows[0], 0, 1),
					      .schema_version = c->version,
					      .database_version = pg_text(d->rows[0], 0, 2)};
	c->fn(c->ctx, err_ok, &cluster);
}

static void on_version(void *ctx, const struct pg_done *d)
{
	struct cluster_ctx *c = ctx;
	struct err e = d->e;
	if (strcmp(d->sqlstate, "42P01") == 0)
		e = err_static(ERR_FAILED_PRECONDITION, "the database is empty: " MIGRATE_HINT);
	struct pg_op *op = pg_op_new();
	int version = err_is(e) ? 0 : pg_int4(d->rows[0], 0, 0);
	if (!err_is(e) && !store_schema_serves_us(version, pg_int4(d->rows[0], 0, 1)))
		e = err_make(pg_op_arena(op), ERR_FAILED_PRECONDITION,
			     "the database schema is version %d, this program needs %d: %s", version,
			     STORE_SCHEMA_VERSION,
			     version < STORE_SCHEMA_VERSION ? MIGRATE_HINT
							    : "install the newer program, or " MIGRATE_HINT " of that");
	if (err_is(e)) {
		c->fn(c->ctx, e, NULL);
		pg_op_free(op);
		return;
	}
	pg_op_add_text(op, cluster_sql);
	pg_link_submit(c->s->control, op, on_cluster, cluster_ctx(op, c->s, version, c->fn, c->ctx));
}

void pg_cluster(struct store *base, store_cluster_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, version_sql);
	pg_link_submit(s->control, op, on_version, cluster_ctx(op, s, 0, fn, ctx));
}
