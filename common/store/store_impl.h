/*
 * What the implementations of the store share: the table of operations, and which shards are claimed on the writer's
 * present connection. For common/store only.
 */
#ifndef COMMON_STORE_STORE_IMPL_H
#define COMMON_STORE_STORE_IMPL_H

#include "common/store/store.h"

struct store_ops {
	void (*node_renew)(struct store *s, const struct store_node *self, store_nodes_fn *fn, void *ctx);
	void (*node_leave)(struct store *s, const char *node_id, uint64_t incarnation, store_done_fn *fn, void *ctx);
	void (*on_notify)(struct store *s, void (*fn)(void *ctx, const char *topic), void *ctx);
	void (*shards)(struct store *s, store_shards_fn *fn, void *ctx);
	void (*claim)(struct store *s, const struct store_claim *claim, store_claimed_fn *fn, void *ctx);
	void (*release)(struct store *s, uint32_t shard, int64_t epoch, store_done_fn *fn, void *ctx);
	void (*read_journal)(struct store *s, uint32_t shard, int64_t after_seq, store_journal_row_fn *row,
			     store_done_fn *done, void *ctx);
	void (*commit)(struct store *s, struct store_append *appends, size_t count, store_commit_fn *fn, void *ctx);
	void (*on_writer_reset)(struct store *s, void (*fn)(void *ctx), void *ctx);
	void (*load_run)(struct store *s, const struct store_run_id *id, store_run_fn *fn, void *ctx);
	void (*load_history)(struct store *s, const struct store_run_id *run, int64_t first, int64_t last,
			     store_history_fn *fn, void *ctx);
	void (*load_due)(struct store *s, const struct store_due *due, store_due_fn *fn, void *ctx);
	void (*load_tasks)(struct store *s, const struct store_tasks *page, store_tasks_fn *fn, void *ctx);
	void (*sum_tasks)(struct store *s, uint32_t shard, store_task_sums_fn *fn, void *ctx);
	void (*scan)(struct store *s, const struct store_scan *scan, store_scan_fn *fn, void *ctx);
	void (*fold)(struct store *s, const struct store_fold *fold, store_done_fn *fn, void *ctx);
	void (*maintain_partitions)(struct store *s, int64_t until_ns, store_upkept_fn *fn, void *ctx);
	void (*namespaces)(struct store *s, store_namespaces_fn *fn, void *ctx);
	void (*namespace_put)(struct store *s, const struct store_namespace *ns, store_done_fn *fn, void *ctx);
	void (*namespace_delete)(struct store *s, const char *id, int64_t version, store_done_fn *fn, void *ctx);
	void (*list_namespace)(struct store *s, const struct store_listing *l, store_listed_fn *fn, void *ctx);
	void (*purge)(struct store *s, const struct store_purge *p, store_purged_fn *fn, void *ctx);
	void (*purge_progress)(struct store *s, const char *namespace_id, store_purge_progress_fn *fn, void *ctx);
	void (*settings)(struct store *s, store_settings_fn *fn, void *ctx);
	void (*cluster)(struct store *s, store_cluster_fn *fn, void *ctx);
	void (*free)(struct store *s);
};

#define STORE_LISTENERS_MAX 4

/* First member of an implementation's struct. */
struct store {
	const struct store_ops *ops;
	struct env *env;
	/* Who is told of notifications; the implementation tells store.c, which tells all. */
	struct {
		void (*fn)(void *ctx, const char *topic);
		void *ctx;
	} listeners[STORE_LISTENERS_MAX];
	size_t listener_count;
};

/*
 * The epochs of the shards claimed on the writer's present connection (R2): a commit of any other shard must not reach
 * the database, because an older connection may still be committing.
 */
struct store_claims {
	int64_t *epochs; /* by shard; 0: not claimed */
	size_t len;
};

void store_claims_set(struct store_claims *c, uint32_t shard, int64_t epoch);
bool store_claims_hold(const struct store_claims *c, uint32_t shard, int64_t epoch);
void store_claims_clear(struct store_claims *c);
void store_claims_done(struct store_claims *c);

/* Whether a row belongs in the closed runs' partitions (else among the open ones). */
static inline bool store_row_is_closed(const struct store_run_row *row)
{
	return !row->open && !row->outbound;
}

/* A closed row that says not how long it is to be kept: a mistake of the caller, and no row to lose. */
static inline bool store_row_lacks_retention(const struct store_run_row *row)
{
	return store_row_is_closed(row) && !row->deleted && row->retention_end_ns <= 0;
}

#define STORE_TOPIC_NODES      "nodes"
#define STORE_TOPIC_NAMESPACES "namespaces"
#define STORE_TOPIC_SETTINGS   "settings"

#endif
