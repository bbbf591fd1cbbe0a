/*
 * The journal in PostgreSQL: the group commit and the read of a shard's tail.
 *
 * The fence is one statement (R1): each record's shard row is locked FOR SHARE, which waits for a claimer and then sees
 * its epoch; only the records of shards that are still at our epoch are inserted, and only where the record before is
 * in the journal or is the checkpoint. That the record itself isn't there yet, the primary key says.
 * The statement and the pipeline's sync are the whole transaction.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

#define PAGE_ROWS 128

#define COMMIT_SQL                                                                                                     \
	"INSERT INTO journal (shard_id, seq, epoch, record) "                                                          \
	"SELECT a.shard_id, a.seq, a.epoch, a.record "                                                                 \
	"FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::bytea[]) a (shard_id, seq, epoch, record) "               \
	"CROSS JOIN LATERAL (SELECT s.epoch FROM shard s WHERE s.shard_id = a.shard_id FOR SHARE) fence "              \
	"WHERE fence.epoch = a.epoch AND coalesce("                                                                    \
	" (SELECT true FROM journal j WHERE j.shard_id = a.shard_id AND j.seq = a.seq - 1),"                           \
	" (SELECT true FROM shard_checkpoint c WHERE c.shard_id = a.shard_id AND c.checkpoint_seq = a.seq - 1)) "

static const struct pg_stmt stmt_commit = {"commit", COMMIT_SQL "RETURNING shard_id"};
/* For a batch of which a record is there already: costs more, and leaves that one out. */
static const struct pg_stmt stmt_commit_new = {"commit_new", COMMIT_SQL "ON CONFLICT DO NOTHING RETURNING shard_id"};

struct commit_ctx {
	struct pg_store *s;
	struct store_append *appends;
	size_t count;
	store_commit_fn *fn;
	void *ctx;
};

static void send_commit(const struct pg_stmt *stmt, const struct commit_ctx *from, size_t claimed);
static size_t count_claimed(const struct pg_store *s, const struct store_append *appends, size_t count);

/* The rows come back in the order of the appends, most of the time: each search begins where the last one ended. */
static void mark_written(const struct commit_ctx *c, const PGresult *r)
{
	size_t rows = pg_row_count(r), at = 0;
	for (size_t i = 0; i < rows; i++) {
		uint32_t shard = (uint32_t)pg_int4(r, i, 0);
		for (size_t k = 0; k < c->count && c->appends[at].shard != shard; k++)
			at = (at + 1) % c->count;
		c->appends[at].fenced = false;
	}
}

static void on_committed(void *ctx, const struct pg_done *d)
{
	struct commit_ctx *c = ctx;
	if (strcmp(d->sqlstate, "23505") == 0) {
		send_commit(&stmt_commit_new, c, count_claimed(c->s, c->appends, c->count));
		return;
	}
	if (!err_is(d->e)) {
		for (size_t i = 0; i < c->count; i++)
			c->appends[i].fenced = true;
		mark_written(c, d->rows[0]);
	}
	c->fn(c->ctx, pg_store_err(d->e), c->appends, c->count);
}

static void send_commit(const struct pg_stmt *stmt, const struct commit_ctx *from, size_t claimed)
{
	struct pg_store *s = from->s;
	struct pg_op *op = pg_op_new();
	struct commit_ctx *c = arena_new0(pg_op_arena(op), struct commit_ctx);
	*c = *from;
	pg_op_writes(op);
	pg_op_now(op);
	pg_op_add(op, stmt);
	struct pg_array *shards = pg_op_array(op, PG_INT4, claimed);
	struct pg_array *seqs = pg_op_array(op, PG_INT8, claimed);
	struct pg_array *epochs = pg_op_array(op, PG_INT8, claimed);
	struct pg_array *records = pg_op_array(op, PG_BYTES, claimed);
	for (size_t i = 0; i < c->count; i++) {
		const struct store_append *a = &c->appends[i];
		if (!store_claims_hold(&s->claims, a->shard, a->epoch))
			continue;
		pg_array_int4(shards, (int32_t)a->shard);
		pg_array_int8(seqs, a->seq);
		pg_array_int8(epochs, a->epoch);
		pg_array_bytes(records, a->record);
	}
	pg_link_submit(s->writer, op, on_committed, c);
}

static size_t count_claimed(const struct pg_store *s, const struct store_append *appends, size_t count)
{
	size_t n = 0;
	for (size_t i = 0; i < count; i++)
		n += store_claims_hold(&s->claims, appends[i].shard, appends[i].epoch);
	return n;
}

static void on_unclaimed(struct env_task *t)
{
	struct pg_store *s = container_of(t, struct pg_store, unclaimed);
	for (size_t i = 0; i < s->unclaimed_count; i++)
		s->unclaimed_appends[i].fenced = true;
	s->unclaimed_fn(s->unclaimed_ctx, err_ok, s->unclaimed_appends, s->unclaimed_count);
}

void pg_commit_init(struct pg_store *s)
{
	s->unclaimed.fn = on_unclaimed;
}

void pg_commit(struct store *base, struct store_append *appends, size_t count, store_commit_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	assert(s->writer);
	size_t claimed = count_claimed(s, appends, count);
	if (claimed > 0) {
		const struct commit_ctx c = {.s = s, .appends = appends, .count = count, .fn = fn, .ctx = ctx};
		send_commit(&stmt_commit, &c, claimed);
		return;
	}
	assert(!s->unclaimed.queued); /* one commit at a time */
	s->unclaimed_appends = appends;
	s->unclaimed_count = count;
	s->unclaimed_fn = fn;
	s->unclaimed_ctx = ctx;
	env_defer(base->env, &s->unclaimed);
}

/* ------------------------------------------------------------------ reading it */

static const struct pg_stmt stmt_page = {"journal_page", "SELECT seq, epoch, record FROM journal "
							 "WHERE shard_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"};

struct page_ctx {
	struct pg_store *s;
	uint32_t shard;
	store_journal_row_fn *row;
	store_done_fn *done;
	void *ctx;
};

static void read_page(const struct page_ctx *from, int64_t after_seq);

static void on_page(void *ctx, const struct pg_done *d)
{
	struct page_ctx *c = ctx;
	size_t count = err_is(d->e) ? 0 : pg_row_count(d->rows[0]);
	int64_t last = 0;
	for (size_t i = 0; i < count; i++) {
		last = pg_int8(d->rows[0], i, 0);
		c->row(c->ctx, last, pg_int8(d->rows[0], i, 1), pg_bytes(d->rows[0], i, 2));
	}
	pg_store_read_done(c->s);
	if (count == PAGE_ROWS)
		read_page(c, last);
	else
		c->done(c->ctx, pg_store_err(d->e));
}

static void read_page(const struct page_ctx *from, int64_t after_seq)
{
	struct pg_op *op = pg_op_new();
	struct page_ctx *c = arena_new0(pg_op_arena(op), struct page_ctx);
	*c = *from;
	pg_op_add(op, &stmt_page);
	pg_op_int4(op, (int32_t)c->shard);
	pg_op_int8(op, after_seq);
	pg_op_int8(op, PAGE_ROWS);
	pg_store_read(c->s, op, on_page, c);
}

void pg_read_journal(struct store *base, uint32_t shard, int64_t after_seq, store_journal_row_fn *row,
		     store_done_fn *done, void *ctx)
{
	const struct page_ctx c = {.s = pg_of(base), .shard = shard, .row = row, .done = done, .ctx = ctx};
	read_page(&c, after_seq);
}
