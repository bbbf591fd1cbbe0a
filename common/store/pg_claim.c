/*
 * Shards and their owners in PostgreSQL: the list, claims (R6 to R8) and releases.
 *
 * A claim is, in order: the backend of the writer that held the shard is terminated (on a reader's connection, because
 * that writer may hold the row's lock for ever); on the writer's connection, in one transaction, the predecessor is
 * marked dead unless it has renewed, and the shard's epoch is raised if its owner is nobody, us or dead; after that has
 * committed, in a new statement, the journal's end is read.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

/* ------------------------------------------------------------------ the list */

static const struct pg_stmt stmt_shards = {
	"shard_list",
	"SELECT shard_id, epoch, owner_node_id, coalesce(owner_incarnation, 0) FROM shard ORDER BY shard_id"};

struct shards_ctx {
	store_shards_fn *fn;
	void *ctx;
};

static void on_shards(void *ctx, const struct pg_done *d)
{
	struct shards_ctx *c = ctx;
	if (err_is(d->e)) {
		c->fn(c->ctx, d->e, NULL, 0);
		return;
	}
	const PGresult *r = d->rows[0];
	size_t count = pg_row_count(r);
	struct store_shard *list = mem_zalloc(count * sizeof *list);
	for (size_t i = 0; i < count; i++)
		list[i] = (struct store_shard){.shard = (uint32_t)pg_int4(r, i, 0),
					       .epoch = pg_int8(r, i, 1),
					       .owner_node_id = pg_text(r, i, 2),
					       .owner_incarnation = (uint64_t)pg_int8(r, i, 3)};
	c->fn(c->ctx, err_ok, list, count);
	free(list);
}

void pg_shards(struct store *base, store_shards_fn *fn, void *ctx)
{
	struct pg_op *op = pg_op_new();
	struct shards_ctx *c = arena_new0(pg_op_arena(op), struct shards_ctx);
	*c = (struct shards_ctx){fn, ctx};
	pg_op_add(op, &stmt_shards);
	pg_link_submit(pg_of(base)->control, op, on_shards, c);
}

/* ------------------------------------------------------------------ claim */

/* $1 shard, $2 $3 us, $4 our writer's pid, $5 $6 the expired owner, $7 its renewals as we saw them */
static const struct pg_stmt stmt_terminate = {
	"claim_terminate", "SELECT pg_terminate_backend(s.writer_pid, 1000) "
			   "FROM shard s, LATERAL pg_stat_get_activity(s.writer_pid) a "
			   "WHERE s.shard_id = $1 AND s.writer_pid IS NOT NULL AND s.writer_pid <> $4"
			   " AND a.pid = s.writer_pid AND a.backend_start = s.writer_backend_start"
			   " AND ((s.owner_node_id = $2 AND s.owner_incarnation = $3)"
			   "  OR (s.owner_node_id = $5 AND s.owner_incarnation = $6 AND NOT EXISTS (SELECT FROM node n"
			   "   WHERE n.node_id = $5 AND n.incarnation = $6 AND NOT n.dead AND n.renewals <> $7)))"};

static const struct pg_stmt stmt_expire = {"claim_expire", "WITH dead AS (UPDATE node SET dead = true WHERE node_id = "
							   "$1 AND incarnation = $2 AND renewals = $3 AND NOT dead"
							   " RETURNING 1) SELECT pg_notify('" PG_CHANNEL
							   "', '" STORE_TOPIC_NODES "') FROM dead"};

/* $1 shard, $2 $3 us, $4 $5 the expired owner. What never registered has no row, and can't be alive. */
static const struct pg_stmt stmt_claim = {
	"claim", "UPDATE shard s SET epoch = s.epoch + 1, owner_node_id = $2, owner_incarnation = $3,"
		 " writer_pid = pg_backend_pid(),"
		 " writer_backend_start = (SELECT a.backend_start FROM pg_stat_get_activity(pg_backend_pid()) a) "
		 "WHERE s.shard_id = $1"
		 " AND (s.owner_node_id IS NULL OR (s.owner_node_id = $2 AND s.owner_incarnation = $3)"
		 "  OR (s.owner_node_id = $4 AND s.owner_incarnation = $5 AND NOT EXISTS (SELECT FROM node n"
		 "   WHERE n.node_id = $4 AND n.incarnation = $5 AND NOT n.dead)))"
		 " AND NOT EXISTS (SELECT FROM node n WHERE n.node_id = $2 AND (n.incarnation <> $3 OR n.dead)) "
		 "RETURNING s.epoch"};

static const struct pg_stmt stmt_alive = {
	"claim_alive",
	"SELECT NOT EXISTS (SELECT FROM node n WHERE n.node_id = $1 AND (n.incarnation <> $2 OR n.dead))"};

static const struct pg_stmt stmt_tail = {
	"claim_tail", "SELECT c.checkpoint_seq, coalesce((SELECT max(j.seq) FROM journal j WHERE j.shard_id = $1), "
		      "c.checkpoint_seq) FROM shard_checkpoint c WHERE c.shard_id = $1"};

struct claim_ctx {
	struct pg_store *s;
	struct store_claim claim; /* strings in the arena of the op that holds this */
	struct err e;		  /* of the claim itself */
	char text[256];
	struct store_claimed claimed;
	store_claimed_fn *fn;
	void *ctx;
};

static struct claim_ctx *claim_ctx(struct pg_op *op, const struct claim_ctx *from)
{
	struct arena *a = pg_op_arena(op);
	struct claim_ctx *c = arena_new0(a, struct claim_ctx);
	*c = *from;
	c->claim.node_id = arena_strdup(a, from->claim.node_id);
	if (from->claim.expired_node_id)
		c->claim.expired_node_id = arena_strdup(a, from->claim.expired_node_id);
	return c;
}

static void on_tail(void *ctx, const struct pg_done *d)
{
	struct claim_ctx *c = ctx;
	struct err e = err_is(c->e) ? c->e : pg_store_err(d->e);
	if (!err_is(e) && pg_row_count(d->rows[0]) != 1)
		e = err_static(ERR_INTERNAL, "no such shard");
	if (err_is(e)) {
		c->fn(c->ctx, e, NULL);
		return;
	}
	c->claimed.checkpoint_seq = pg_int8(d->rows[0], 0, 0);
	c->claimed.last_seq = pg_int8(d->rows[0], 0, 1);
	store_claims_set(&c->s->claims, c->claim.shard, c->claimed.epoch);
	c->fn(c->ctx, err_ok, &c->claimed);
}

/* The tail's op is behind this one on the same connection: its callback gives the answer. */
static void on_claimed(void *ctx, const struct pg_done *d)
{
	struct claim_ctx *c = ctx;
	if (err_is(d->e)) {
		c->e = pg_store_err(d->e);
		snprintf(c->text, sizeof c->text, "%s", d->e.message);
		c->e.message = c->text;
		return;
	}
	const PGresult *claimed = d->rows[d->count - 2], *alive = d->rows[d->count - 1];
	if (pg_row_count(claimed) == 1)
		c->claimed.epoch = pg_int8(claimed, 0, 0);
	else if (!pg_bool(alive, 0, 0))
		c->e = pg_store_fenced("this incarnation of the node was declared dead");
	else
		c->e = err_static(ERR_ABORTED, "the shard has a live owner");
}

static void raise_epoch(const struct claim_ctx *from)
{
	struct pg_op *op = pg_op_new(), *tail = pg_op_new();
	struct claim_ctx *c = claim_ctx(tail, from);
	const struct store_claim *k = &c->claim;
	pg_op_writes(op);
	if (k->expired_node_id) {
		pg_op_add(op, &stmt_expire);
		pg_op_text(op, k->expired_node_id);
		pg_op_int8(op, (int64_t)k->expired_incarnation);
		pg_op_int8(op, k->expired_renewals);
	}
	pg_op_add(op, &stmt_claim);
	pg_op_int4(op, (int32_t)k->shard);
	pg_op_text(op, k->node_id);
	pg_op_int8(op, (int64_t)k->incarnation);
	pg_op_text(op, k->expired_node_id);
	pg_op_int8(op, (int64_t)k->expired_incarnation);
	pg_op_add(op, &stmt_alive);
	pg_op_text(op, k->node_id);
	pg_op_int8(op, (int64_t)k->incarnation);
	pg_op_add(tail, &stmt_tail);
	pg_op_int4(tail, (int32_t)k->shard);
	pg_link_submit(c->s->writer, op, on_claimed, c);
	pg_link_submit(c->s->writer, tail, on_tail, c);
}

/* Whether it worked shows when the claim gets its lock. */
static void on_terminated(void *ctx, const struct pg_done *d)
{
	struct claim_ctx *c = ctx;
	(void)d;
	raise_epoch(c);
	pg_store_read_done(c->s);
}

void pg_claim(struct store *base, const struct store_claim *claim, store_claimed_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	assert(s->writer);
	const struct claim_ctx from = {.s = s, .claim = *claim, .fn = fn, .ctx = ctx};
	/* Of a shard that was never ours nor another's, no backend can hold the lock. */
	if (!claim->expired_node_id && s->writer_resets == 0) {
		raise_epoch(&from);
		return;
	}
	struct pg_op *op = pg_op_new();
	pg_op_add(op, &stmt_terminate);
	pg_op_int4(op, (int32_t)claim->shard);
	pg_op_text(op, claim->node_id);
	pg_op_int8(op, (int64_t)claim->incarnation);
	pg_op_int4(op, pg_link_ready(s->writer) ? pg_link_backend_pid(s->writer) : 0);
	pg_op_text(op, claim->expired_node_id);
	pg_op_int8(op, (int64_t)claim->expired_incarnation);
	pg_op_int8(op, claim->expired_renewals);
	pg_store_read(s, op, on_terminated, claim_ctx(op, &from));
}

/* ------------------------------------------------------------------ release */

static const struct pg_stmt stmt_release = {
	"release", "UPDATE shard SET epoch = epoch + 1, owner_node_id = NULL, owner_incarnation = NULL, "
		   "writer_pid = NULL, writer_backend_start = NULL WHERE shard_id = $1 AND epoch = $2 RETURNING 1"};

void pg_release(struct store *base, uint32_t shard, int64_t epoch, store_done_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	assert(s->writer);
	struct pg_op *op = pg_op_new();
	pg_op_writes(op);
	pg_op_add(op, &stmt_release);
	pg_op_int4(op, (int32_t)shard);
	pg_op_int8(op, epoch);
	struct pg_done_ctx *c = pg_done_ctx_new(s, op, fn, ctx);
	c->none_text = "the shard has a newer owner";
	c->none_reason = ERR_REASON_FENCED;
	pg_link_submit(s->writer, op, pg_store_on_done, c);
}
