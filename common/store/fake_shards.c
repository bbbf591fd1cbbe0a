/*
 * The store in memory: who owns a shard, its journal, and the group commit. The rules are those of the SQL in
 * pg_claim.c and pg_commit.c.
 */
#include <stdlib.h>

#include "common/store/fake_impl.h"

static struct err fenced(const char *text)
{
	struct err e = err_static(ERR_ABORTED, text);
	e.reason = ERR_REASON_FENCED;
	return e;
}

static struct fake_shard *shard_of(struct fake_db *db, uint32_t shard)
{
	return shard < db->cluster.shard_count ? &db->shards[shard] : NULL;
}

static int64_t last_seq(const struct fake_shard *sh)
{
	return sh->journal_len ? sh->journal[sh->journal_len - 1].seq : sh->checkpoint_seq;
}

/* ------------------------------------------------------------------ the list */

struct shards_call {
	struct fake_call call;
	struct store_shard *list;
	store_shards_fn *fn;
	void *ctx;
};

static void run_shards(struct fake_call *c)
{
	struct shards_call *l = container_of(c, struct shards_call, call);
	struct fake_db *db = c->s->db;
	l->list = arena_array(c->arena, struct store_shard, db->cluster.shard_count);
	for (uint32_t i = 0; i < db->cluster.shard_count; i++) {
		const struct fake_shard *sh = &db->shards[i];
		l->list[i] = (struct store_shard){
			.shard = i, .epoch = sh->epoch, .owner_incarnation = sh->owner_incarnation};
		if (sh->owner_node_id)
			l->list[i].owner_node_id = arena_strdup(c->arena, sh->owner_node_id);
	}
}

static void reply_shards(struct fake_call *c)
{
	struct shards_call *l = container_of(c, struct shards_call, call);
	bool ok = !err_is(c->err);
	l->fn(l->ctx, c->err, ok ? l->list : NULL, ok ? c->s->db->cluster.shard_count : 0);
}

void fake_shards(struct store *s, store_shards_fn *fn, void *ctx)
{
	struct shards_call *l =
		fake_call_new(fake_of(s), struct shards_call, FAKE_LANE_CONTROL, run_shards, reply_shards);
	l->fn = fn;
	l->ctx = ctx;
}

/* ------------------------------------------------------------------ claim and release */

struct claim_call {
	struct fake_call call;
	struct store_claim claim;
	struct store_claimed claimed;
	store_claimed_fn *fn;
	void *ctx;
};

/* R8: marks the incarnation dead unless it has renewed; true when it can never renew again. */
static bool expire(struct fake_db *db, const struct store_claim *claim)
{
	struct fake_node *n = fake_node_find(db, claim->expired_node_id);
	if (!n || n->node.incarnation != claim->expired_incarnation || n->node.dead)
		return true;
	if (n->node.renewals != claim->expired_renewals)
		return false;
	n->node.dead = true;
	fake_announce(db, STORE_TOPIC_NODES);
	return true;
}

static bool may_claim(struct fake_db *db, const struct fake_shard *sh, const struct store_claim *claim)
{
	bool expired = claim->expired_node_id && expire(db, claim);
	if (!sh->owner_node_id)
		return true;
	if (str_eq(sh->owner_node_id, claim->node_id) && sh->owner_incarnation == claim->incarnation)
		return true;
	return expired && str_eq(sh->owner_node_id, claim->expired_node_id) &&
	       sh->owner_incarnation == claim->expired_incarnation;
}

static void run_claim(struct fake_call *c)
{
	struct claim_call *l = container_of(c, struct claim_call, call);
	struct fake_db *db = c->s->db;
	struct fake_shard *sh = shard_of(db, l->claim.shard);
	if (!sh) {
		c->err = err_static(ERR_INTERNAL, "no such shard");
		return;
	}
	struct fake_node *self = fake_node_find(db, l->claim.node_id);
	if (self && (self->node.incarnation != l->claim.incarnation || self->node.dead)) {
		c->err = fenced("this incarnation of the node was declared dead");
		return;
	}
	if (!may_claim(db, sh, &l->claim)) {
		c->err = err_static(ERR_ABORTED, "the shard has a live owner");
		return;
	}
	/* R7: the predecessor's backend is terminated; all that its connection had claimed is to be claimed again. */
	if (sh->writer && sh->writer != c->s && l->claim.expired_node_id)
		fake_store_lose_writer(&sh->writer->base);
	sh->writer = c->s;
	free(sh->owner_node_id);
	sh->owner_node_id = mem_strdup(l->claim.node_id);
	sh->owner_incarnation = l->claim.incarnation;
	sh->epoch++;
	l->claimed = (struct store_claimed){
		.epoch = sh->epoch, .last_seq = last_seq(sh), .checkpoint_seq = sh->checkpoint_seq};
}

static void reply_claim(struct fake_call *c)
{
	struct claim_call *l = container_of(c, struct claim_call, call);
	if (!err_is(c->err))
		store_claims_set(&c->s->claims, l->claim.shard, l->claimed.epoch);
	l->fn(l->ctx, c->err, err_is(c->err) ? NULL : &l->claimed);
}

void fake_claim(struct store *s, const struct store_claim *claim, store_claimed_fn *fn, void *ctx)
{
	struct claim_call *l = fake_call_new(fake_of(s), struct claim_call, FAKE_LANE_WRITER, run_claim, reply_claim);
	l->claim = *claim;
	l->claim.node_id = arena_strdup(l->call.arena, claim->node_id);
	if (claim->expired_node_id)
		l->claim.expired_node_id = arena_strdup(l->call.arena, claim->expired_node_id);
	l->fn = fn;
	l->ctx = ctx;
}

struct release_call {
	struct fake_call call;
	uint32_t shard;
	int64_t epoch;
	store_done_fn *fn;
	void *ctx;
};

static void run_release(struct fake_call *c)
{
	struct release_call *r = container_of(c, struct release_call, call);
	struct fake_shard *sh = shard_of(c->s->db, r->shard);
	if (!sh || sh->epoch != r->epoch) {
		c->err = fenced("the shard has a newer owner");
		return;
	}
	free(sh->owner_node_id);
	sh->owner_node_id = NULL;
	sh->owner_incarnation = 0;
	sh->writer = NULL;
	sh->epoch++;
}

static void reply_release(struct fake_call *c)
{
	struct release_call *r = container_of(c, struct release_call, call);
	r->fn(r->ctx, c->err);
}

void fake_release(struct store *s, uint32_t shard, int64_t epoch, store_done_fn *fn, void *ctx)
{
	struct release_call *r =
		fake_call_new(fake_of(s), struct release_call, FAKE_LANE_WRITER, run_release, reply_release);
	r->shard = shard;
	r->epoch = epoch;
	r->fn = fn;
	r->ctx = ctx;
}

/* ------------------------------------------------------------------ the journal */

struct journal_call {
	struct fake_call call;
	uint32_t shard;
	int64_t after_seq;
	struct fake_record *rows; /* copies in the arena */
	size_t count;
	store_journal_row_fn *row;
	store_done_fn *done;
	void *ctx;
};

static void run_journal(struct fake_call *c)
{
	struct journal_call *j = container_of(c, struct journal_call, call);
	struct fake_shard *sh = shard_of(c->s->db, j->shard);
	if (!sh)
		return;
	j->rows = arena_array(c->arena, struct fake_record, sh->journal_len);
	for (size_t i = 0; i < sh->journal_len; i++) {
		if (sh->journal[i].seq <= j->after_seq)
			continue;
		struct fake_record *r = &j->rows[j->count++];
		*r = sh->journal[i];
		r->record = arena_copy(c->arena, sh->journal[i].record);
	}
}

static void reply_journal(struct fake_call *c)
{
	struct journal_call *j = container_of(c, struct journal_call, call);
	for (size_t i = 0; !err_is(c->err) && i < j->count; i++)
		j->row(j->ctx, j->rows[i].seq, j->rows[i].epoch, j->rows[i].record);
	j->done(j->ctx, c->err);
}

void fake_read_journal(struct store *s, uint32_t shard, int64_t after_seq, store_journal_row_fn *row,
		       store_done_fn *done, void *ctx)
{
	struct journal_call *j =
		fake_call_new(fake_of(s), struct journal_call, FAKE_LANE_READ, run_journal, reply_journal);
	j->shard = shard;
	j->after_seq = after_seq;
	j->row = row;
	j->done = done;
	j->ctx = ctx;
}

static void journal_put(struct fake_shard *sh, const struct store_append *a)
{
	if (sh->journal_len == sh->journal_cap) {
		sh->journal_cap = sh->journal_cap ? sh->journal_cap * 2 : 16;
		sh->journal = mem_realloc(sh->journal, sh->journal_cap * sizeof *sh->journal);
	}
	sh->journal[sh->journal_len++] =
		(struct fake_record){.seq = a->seq, .epoch = a->epoch, .record = fake_bytes_dup(a->record)};
}

/* Moves the checkpoint up and deletes the journal behind it. */
void fake_checkpoint(struct fake_shard *sh, int64_t seq)
{
	if (seq <= sh->checkpoint_seq || seq > last_seq(sh))
		return;
	size_t gone = 0;
	while (gone < sh->journal_len && sh->journal[gone].seq <= seq)
		fake_bytes_free(&sh->journal[gone++].record);
	sh->journal_len -= gone;
	memmove(sh->journal, sh->journal + gone, sh->journal_len * sizeof *sh->journal);
	sh->checkpoint_seq = seq;
}

/* ------------------------------------------------------------------ the group commit */

struct commit_call {
	struct fake_call call;
	struct store_append *appends;
	bool *claimed; /* one an append: sent under a claim of this connection */
	bool *written; /* … what the database says */
	size_t count;
	store_commit_fn *fn;
	void *ctx;
};

static void run_commit(struct fake_call *c)
{
	struct commit_call *k = container_of(c, struct commit_call, call);
	struct fake_db *db = c->s->db;
	bool any = false;
	for (size_t i = 0; i < k->count; i++) {
		const struct store_append *a = &k->appends[i];
		struct fake_shard *sh = shard_of(db, a->shard);
		k->written[i] = k->claimed[i] && sh && sh->epoch == a->epoch && a->seq == last_seq(sh) + 1;
		if (!k->written[i])
			continue;
		journal_put(sh, a);
		any = true;
	}
	db->commits += any;
}

static void reply_commit(struct fake_call *c)
{
	struct commit_call *k = container_of(c, struct commit_call, call);
	for (size_t i = 0; i < k->count; i++)
		k->appends[i].fenced = !err_is(c->err) && !k->written[i];
	k->fn(k->ctx, c->err, k->appends, k->count);
}

bool fake_call_is_commit(const struct fake_call *c)
{
	return c->run == run_commit;
}

void fake_commit(struct store *s, struct store_append *appends, size_t count, store_commit_fn *fn, void *ctx)
{
	struct commit_call *k =
		fake_call_new(fake_of(s), struct commit_call, FAKE_LANE_WRITER, run_commit, reply_commit);
	k->call.fate = fake_take_fate(fake_of(s), k->call.fate);
	k->appends = appends;
	k->claimed = arena_array(k->call.arena, bool, count);
	k->written = arena_array(k->call.arena, bool, count);
	for (size_t i = 0; i < count; i++)
		k->claimed[i] = store_claims_hold(&fake_of(s)->claims, appends[i].shard, appends[i].epoch);
	k->count = count;
	k->fn = fn;
	k->ctx = ctx;
}

void fake_commit_orphan(struct fake_call *c)
{
	const struct commit_call *from = container_of(c, struct commit_call, call);
	struct commit_call *k = fake_call_new(c->s, struct commit_call, FAKE_LANE_READ, run_commit, NULL);
	k->count = from->count;
	k->claimed = arena_array(k->call.arena, bool, k->count);
	memcpy(k->claimed, from->claimed, k->count * sizeof *k->claimed);
	k->written = arena_array(k->call.arena, bool, k->count);
	k->appends = arena_array(k->call.arena, struct store_append, k->count);
	for (size_t i = 0; i < k->count; i++) {
		k->appends[i] = from->appends[i];
		k->appends[i].record = arena_copy(k->call.arena, from->appends[i].record);
	}
	fake_call_orphan(&k->call, c->s->db->faults.timeout_ns);
}

void fake_shards_forget(struct fake_store *writer)
{
	for (uint32_t i = 0; i < writer->db->cluster.shard_count; i++)
		if (writer->db->shards[i].writer == writer)
			writer->db->shards[i].writer = NULL;
}

/* ------------------------------------------------------------------ looking inside */

int64_t fake_db_checkpoint(const struct fake_db *db, uint32_t shard)
{
	assert(shard < db->cluster.shard_count);
	return db->shards[shard].checkpoint_seq;
}

void fake_db_each_journal(const struct fake_db *db, uint32_t shard, store_journal_row_fn *fn, void *ctx)
{
	assert(shard < db->cluster.shard_count);
	const struct fake_shard *sh = &db->shards[shard];
	for (size_t i = 0; i < sh->journal_len; i++)
		fn(ctx, sh->journal[i].seq, sh->journal[i].epoch, sh->journal[i].record);
}

void fake_shards_free(struct fake_db *db)
{
	for (uint32_t i = 0; i < db->cluster.shard_count; i++) {
		struct fake_shard *sh = &db->shards[i];
		for (size_t k = 0; k < sh->journal_len; k++)
			fake_bytes_free(&sh->journal[k].record);
		free(sh->journal);
		free(sh->owner_node_id);
	}
	free(db->shards);
}
