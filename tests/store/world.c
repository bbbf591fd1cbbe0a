/*
 * The store's calls as functions that wait, on whichever world the program runs on.
 */
#include "tests/store/world.h"

#include <time.h>

#include "common/mem/mem.h"

#define WAIT_S	   20
#define ARENA_SIZE ((size_t)1 << 30)

struct world *world_start(void)
{
	struct world *w = new0(struct world);
	w->ops = world_ops_chosen;
	w->arena = arena_new(ARENA_SIZE);
	w->ops->start(w);
	return w;
}

void world_stop(struct world *w)
{
	w->ops->stop(w);
	arena_free(w->arena);
	free(w);
}

void world_wait(struct world *w, const bool *flag)
{
	time_t until = time(NULL) + WAIT_S;
	while (!*flag) {
		ck_assert_msg(time(NULL) < until, "no answer within %d s", WAIT_S);
		w->ops->turn(w);
	}
}

struct settle {
	struct env_timer timer;
	bool done;
};

static void on_settled(struct env_timer *t)
{
	container_of(t, struct settle, timer)->done = true;
}

void world_settle(struct world *w)
{
	struct settle s = {.timer = {.fn = on_settled}};
	env_timer_start(w->env, &s.timer, 100 * NS_PER_MS);
	world_wait(w, &s.done);
}

/* Where callbacks leave their result. */
struct answer {
	struct world *w;
	bool done;
	struct err e;
	void *list;
	size_t count;
	struct store_pin *pins;
	size_t pin_count;
	const struct store_run_row *row;
	struct store_claimed claimed;
	struct store_cluster cluster;
};

static void answer_err(struct answer *a, struct err e)
{
	ck_assert_msg(!a->done, "answered twice");
	a->done = true;
	a->e = err_copy(a->w->arena, e);
}

static void on_done(void *ctx, struct err e)
{
	answer_err(ctx, e);
}

static const char *copy_str(struct answer *a, const char *s)
{
	return s ? arena_strdup(a->w->arena, s) : NULL;
}

/* ------------------------------------------------------------------ nodes and shards */

static void on_nodes(void *ctx, struct err e, const struct store_nodes *nodes)
{
	struct answer *a = ctx;
	answer_err(a, e);
	if (!nodes)
		return;
	struct store_node *list = arena_array(a->w->arena, struct store_node, nodes->count);
	for (size_t i = 0; i < nodes->count; i++) {
		const struct store_node *n = &nodes->list[i];
		list[i] = *n;
		list[i].node_id = copy_str(a, n->node_id);
		list[i].role = copy_str(a, n->role);
		list[i].address = copy_str(a, n->address);
		list[i].http_address = copy_str(a, n->http_address);
		list[i].version = copy_str(a, n->version);
	}
	struct store_pin *pins = arena_array(a->w->arena, struct store_pin, nodes->pin_count);
	for (size_t i = 0; i < nodes->pin_count; i++)
		pins[i] = (struct store_pin){nodes->pins[i].shard, copy_str(a, nodes->pins[i].node_id)};
	a->list = list;
	a->count = nodes->count;
	a->pins = pins;
	a->pin_count = nodes->pin_count;
}

struct world_nodes w_renew(struct world *w, struct store *s, const struct store_node *self)
{
	struct answer a = {.w = w};
	store_node_renew(s, self, on_nodes, &a);
	world_wait(w, &a.done);
	return (struct world_nodes){a.e, a.list, a.count, a.pins, a.pin_count};
}

struct err w_leave(struct world *w, struct store *s, const char *node_id, uint64_t incarnation)
{
	struct answer a = {.w = w};
	store_node_leave(s, node_id, incarnation, on_done, &a);
	world_wait(w, &a.done);
	return a.e;
}

static void on_claimed(void *ctx, struct err e, const struct store_claimed *claimed)
{
	struct answer *a = ctx;
	answer_err(a, e);
	if (claimed)
		a->claimed = *claimed;
}

struct err w_claim(struct world *w, struct store *s, const struct store_claim *claim, struct store_claimed *ret)
{
	struct answer a = {.w = w};
	store_claim(s, claim, on_claimed, &a);
	world_wait(w, &a.done);
	*ret = a.claimed;
	return a.e;
}

struct err w_release(struct world *w, struct store *s, uint32_t shard, int64_t epoch)
{
	struct answer a = {.w = w};
	store_release(s, shard, epoch, on_done, &a);
	world_wait(w, &a.done);
	return a.e;
}

static void on_committed(void *ctx, struct err e, struct store_append *appends, size_t count)
{
	struct answer *a = ctx;
	answer_err(a, e);
	a->list = appends;
	a->count = count;
}

struct err w_commit(struct world *w, struct store *s, struct store_append *appends, size_t count)
{
	struct answer a = {.w = w};
	store_commit(s, appends, count, on_committed, &a);
	ck_assert_msg(!a.done, "answered inline");
	world_wait(w, &a.done);
	ck_assert_ptr_eq(a.list, appends);
	ck_assert_uint_eq(a.count, count);
	return a.e;
}

static void on_shards(void *ctx, struct err e, const struct store_shard *shards, size_t count)
{
	struct answer *a = ctx;
	answer_err(a, e);
	struct store_shard *list = arena_array(a->w->arena, struct store_shard, count);
	for (size_t i = 0; i < count; i++) {
		list[i] = shards[i];
		list[i].owner_node_id = copy_str(a, shards[i].owner_node_id);
	}
	a->list = list;
	a->count = count;
}

struct world_shards w_shards(struct world *w, struct store *s)
{
	struct answer a = {.w = w};
	store_shards(s, on_shards, &a);
	world_wait(w, &a.done);
	return (struct world_shards){a.e, a.list, a.count};
}

static void on_journal_row(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct answer *a = ctx;
	struct world_journal *j = a->list;
	ck_assert(!a->done && j->count < array_len(j->rows));
	j->rows[j->count++] =
		(struct world_record){.seq = seq, .epoch = epoch, .record = arena_copy(a->w->arena, record)};
}

struct world_journal *w_journal(struct world *w, struct store *s, uint32_t shard, int64_t after_seq)
{
	struct world_journal *j = arena_new0(w->arena, struct world_journal);
	struct answer a = {.w = w, .list = j};
	store_read_journal(s, shard, after_seq, on_journal_row, on_done, &a);
	world_wait(w, &a.done);
	j->e = a.e;
	return j;
}

/* ------------------------------------------------------------------ runs */

struct err w_fold(struct world *w, struct store *s, const struct store_fold *fold)
{
	struct answer a = {.w = w};
	store_fold(s, fold, on_done, &a);
	world_wait(w, &a.done);
	return a.e;
}

static struct store_run_row copy_row(struct answer *a, const struct store_run_row *from)
{
	struct store_run_row row = *from;
	row.namespace_id = copy_str(a, from->namespace_id);
	row.workflow_id = copy_str(a, from->workflow_id);
	row.run_id = copy_str(a, from->run_id);
	row.snapshot = arena_copy(a->w->arena, from->snapshot);
	return row;
}

static void on_run(void *ctx, struct err e, const struct store_run_row *row)
{
	struct answer *a = ctx;
	answer_err(a, e);
	if (!row)
		return;
	struct store_run_row *copy = arena_new0(a->w->arena, struct store_run_row);
	*copy = copy_row(a, row);
	a->row = copy;
}

const struct store_run_row *w_load(struct world *w, struct store *s, const struct store_run_id *id)
{
	struct answer a = {.w = w};
	store_load_run(s, id, on_run, &a);
	world_wait(w, &a.done);
	assert_ok(a.e);
	return a.row;
}

static void on_history(void *ctx, struct err e, const struct store_history_chunk *chunks, size_t count)
{
	struct answer *a = ctx;
	answer_err(a, e);
	struct store_history_chunk *list = arena_array(a->w->arena, struct store_history_chunk, count);
	for (size_t i = 0; i < count; i++) {
		list[i] = chunks[i];
		list[i].events = arena_copy(a->w->arena, chunks[i].events);
	}
	a->list = list;
	a->count = count;
}

struct world_history w_history(struct world *w, struct store *s, const struct store_run_id *run, int64_t first,
			       int64_t last)
{
	struct answer a = {.w = w};
	store_load_history(s, run, first, last, on_history, &a);
	world_wait(w, &a.done);
	assert_ok(a.e);
	return (struct world_history){a.list, a.count};
}

static void on_due(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct answer *a = ctx;
	answer_err(a, e);
	struct store_run_row *list = arena_array(a->w->arena, struct store_run_row, count);
	for (size_t i = 0; i < count; i++)
		list[i] = copy_row(a, &rows[i]);
	a->list = list;
	a->count = count;
}

struct world_rows w_due(struct world *w, struct store *s, const struct store_due *due)
{
	struct answer a = {.w = w};
	store_load_due(s, due, on_due, &a);
	world_wait(w, &a.done);
	assert_ok(a.e);
	return (struct world_rows){a.list, a.count};
}

struct upkeep_answer {
	struct answer a;
	struct store_upkept done;
};

static void on_upkept(void *ctx, struct err e, const struct store_upkept *done)
{
	struct upkeep_answer *u = ctx;
	if (done)
		u->done = *done;
	answer_err(&u->a, e);
}

struct store_upkept w_maintain(struct world *w, struct store *s, int64_t until_ns)
{
	struct upkeep_answer u = {.a.w = w};
	store_maintain_partitions(s, until_ns, on_upkept, &u);
	world_wait(w, &u.a.done);
	assert_ok(u.a.e);
	return u.done;
}

static void on_listed(void *ctx, struct err e, const struct store_run_id *ids, size_t count)
{
	struct answer *a = ctx;
	answer_err(a, e);
	struct store_run_id *list = arena_array(a->w->arena, struct store_run_id, count);
	for (size_t i = 0; i < count; i++) {
		list[i] = ids[i];
		list[i].workflow_id = arena_strdup(a->w->arena, ids[i].workflow_id);
		list[i].run_id = arena_strdup(a->w->arena, ids[i].run_id);
	}
	a->list = list;
	a->count = count;
}

struct world_listed w_list(struct world *w, struct store *s, const struct store_listing *l)
{
	struct answer a = {.w = w};
	store_list_namespace(s, l, on_listed, &a);
	world_wait(w, &a.done);
	assert_ok(a.e);
	return (struct world_listed){a.list, a.count};
}

struct scan_answer {
	struct answer a;
	struct buf keys;
};

static void on_scanned(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct scan_answer *s = ctx;
	for (size_t i = 0; i < count; i++)
		buf_printf(&s->keys, " %s/%s@%d", rows[i].workflow_id, rows[i].run_id, (int)rows[i].start_seq);
	answer_err(&s->a, e);
}

const char *w_scan(struct world *w, struct store *s, const struct store_scan *scan)
{
	struct scan_answer a = {.a.w = w};
	store_scan(s, scan, on_scanned, &a);
	world_wait(w, &a.a.done);
	assert_ok(a.a.e);
	const char *keys = arena_printf(w->arena, "%.*s", (int)a.keys.len, (const char *)a.keys.data);
	buf_done(&a.keys);
	return keys;
}

static void on_purged(void *ctx, struct err e, size_t removed)
{
	struct answer *a = ctx;
	a->count = removed;
	answer_err(a, e);
}

struct err w_purge(struct world *w, struct store *s, const struct store_purge *p, size_t *ret_removed)
{
	struct answer a = {.w = w};
	store_purge(s, p, on_purged, &a);
	world_wait(w, &a.done);
	*ret_removed = a.count;
	return a.e;
}

struct progress_answer {
	struct answer a;
	struct store_purge_progress progress;
};

static void on_progress(void *ctx, struct err e, const struct store_purge_progress *p)
{
	struct progress_answer *g = ctx;
	if (p)
		g->progress = *p;
	answer_err(&g->a, e);
}

struct store_purge_progress w_progress(struct world *w, struct store *s, const char *namespace_id)
{
	struct progress_answer g = {.a.w = w};
	store_purge_progress(s, namespace_id, on_progress, &g);
	world_wait(w, &g.a.done);
	assert_ok(g.a.e);
	return g.progress;
}

/* ------------------------------------------------------------------ namespaces, cluster */

static void on_namespaces(void *ctx, struct err e, const struct store_namespace *from, size_t count)
{
	struct answer *a = ctx;
	answer_err(a, e);
	struct store_namespace *list = arena_array(a->w->arena, struct store_namespace, count);
	for (size_t i = 0; i < count; i++) {
		list[i] = from[i];
		list[i].id = copy_str(a, from[i].id);
		list[i].name = copy_str(a, from[i].name);
		list[i].info = arena_copy(a->w->arena, from[i].info);
	}
	a->list = list;
	a->count = count;
}

struct world_namespaces w_namespaces(struct world *w, struct store *s)
{
	struct answer a = {.w = w};
	store_namespaces(s, on_namespaces, &a);
	world_wait(w, &a.done);
	return (struct world_namespaces){a.e, a.list, a.count};
}

struct err w_namespace_put(struct world *w, struct store *s, const struct store_namespace *ns)
{
	struct answer a = {.w = w};
	store_namespace_put(s, ns, on_done, &a);
	world_wait(w, &a.done);
	return a.e;
}

struct err w_namespace_delete(struct world *w, struct store *s, const char *id, int64_t version)
{
	struct answer a = {.w = w};
	store_namespace_delete(s, id, version, on_done, &a);
	world_wait(w, &a.done);
	return a.e;
}

static void on_cluster(void *ctx, struct err e, const struct store_cluster *c)
{
	struct answer *a = ctx;
	answer_err(a, e);
	if (!c)
		return;
	a->cluster = *c;
	a->cluster.cluster_id = copy_str(a, c->cluster_id);
	a->cluster.database_version = copy_str(a, c->database_version);
}

struct err w_cluster(struct world *w, struct store *s, struct store_cluster *ret)
{
	struct answer a = {.w = w};
	store_cluster(s, on_cluster, &a);
	world_wait(w, &a.done);
	*ret = a.cluster;
	return a.e;
}

/* ------------------------------------------------------------------ shorthands */

int64_t w_own(struct world *w, struct store *s, uint32_t shard)
{
	const struct store_claim claim = {.shard = shard, .node_id = "a", .incarnation = 1};
	struct store_claimed claimed;
	assert_ok(w_claim(w, s, &claim, &claimed));
	return claimed.epoch;
}

void w_append(struct world *w, struct store *s, uint32_t shard, int64_t epoch, int64_t seq, const char *record)
{
	struct store_append a = {.shard = shard, .epoch = epoch, .seq = seq, .record = bytes_str(record)};
	assert_ok(w_commit(w, s, &a, 1));
	ck_assert(!a.fenced);
}
