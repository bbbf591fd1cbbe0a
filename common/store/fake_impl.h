/*
 * Inside the store in memory: the database's tables, a node's store, and a call on its way. For fake*.c only.
 */
#ifndef COMMON_STORE_FAKE_IMPL_H
#define COMMON_STORE_FAKE_IMPL_H

#include <uthash.h>
#include <utlist.h>

#include "common/mem/arena.h"
#include "common/mem/mem.h"
#include "common/store/fake.h"
#include "common/store/store_impl.h"

/* ------------------------------------------------------------------ tables */

struct fake_node {
	struct store_node node; /* strings owned */
	struct fake_node *prev, *next;
};

struct fake_record {
	int64_t seq, epoch;
	struct bytes record; /* owned */
};

struct fake_shard {
	int64_t epoch;
	char *owner_node_id; /* NULL: nobody */
	uint64_t owner_incarnation;
	struct fake_store *writer; /* whose connection claimed it; NULL: released, or its process is gone */
	int64_t checkpoint_seq;
	struct fake_record *journal; /* after the checkpoint, ascending */
	size_t journal_len, journal_cap;
};

struct fake_chunk {
	int64_t first, last;
	struct bytes events; /* owned */
};

struct fake_run {
	struct store_run_row row;  /* strings and snapshot owned */
	bool closed;		   /* in the partitioned table */
	struct fake_chunk *chunks; /* ascending */
	size_t chunk_count;
	struct fake_run *prev, *next;
};

/* The runs of a workflow id. */
struct fake_workflow {
	char *key; /* owned; see fake_workflow_key() */
	struct fake_run *runs;
	UT_hash_handle hh;
};

struct fake_namespace {
	char *id, *name;
	int64_t version;
	struct bytes info; /* owned */
	struct fake_namespace *prev, *next;
};

/* How far the purge of a namespace is in a shard. */
struct fake_purge {
	char *namespace_id;
	uint32_t shard;
	int64_t removed, updated_ns;
	bool done;
	struct fake_purge *prev, *next;
};

/* A node that is told to drain. */
struct fake_drain {
	char *node_id;
	struct fake_drain *next;
};

struct fake_store;

struct fake_db {
	struct store_cluster cluster;
	int schema_serves_from;
	struct fake_node *nodes;
	char **pins; /* by shard; NULL: none */
	struct fake_drain *drains;
	struct fake_shard *shards;
	struct fake_workflow *workflows;
	struct fake_namespace *namespaces; /* by name */
	struct fake_setting *settings;	   /* by name */
	struct fake_purge *purges;
	struct store_task *tasks; /* in the order of their keys; strings owned */
	size_t task_count, task_cap;
	char *refused;		  /* workflow id; NULL: none */
	int64_t dropped_until_ns; /* partitions of retention ends up to here are gone */
	struct fake_faults faults;
	bool down;
	uint64_t rng;
	uint64_t commits, calls;
	struct fake_store *stores;
};

/* ------------------------------------------------------------------ a node's store */

/* A connection: what is sent on one arrives, and is answered, in order. */
enum fake_lane { FAKE_LANE_CONTROL, FAKE_LANE_READ, FAKE_LANE_WRITER, FAKE_LANE_FOLD, FAKE_LANES };

struct fake_store {
	struct store base;
	struct fake_db *db;
	struct fake_call *calls;
	int64_t lane_due_ns[FAKE_LANES];
	struct store_claims claims;
	enum fake_fate next_commit;
	bool cut;
	char *registered_node_id; /* whose incarnation this store has registered */
	uint64_t registered_incarnation;
	void (*notify)(void *ctx, const char *topic);
	void *notify_ctx;
	void (*reset)(void *ctx);
	void *reset_ctx;
	struct fake_store *prev, *next;
};

/*
 * A call on its way: after a latency it arrives and `run` does its work on the tables, leaving err and results in the
 * call (copies, in its arena); after another, `reply` calls back. Each kind of call embeds this as its first member.
 */
struct fake_call {
	struct fake_store *s;
	struct env_timer timer;
	enum fake_lane lane;
	enum fake_fate fate;
	bool arrived;
	bool executed;
	bool timed_out;
	bool local;  /* news of our own side of the connection: no cut keeps it */
	bool orphan; /* the old backend's work on a call that was answered 'outcome unknown' */
	struct err err;
	struct arena *arena;
	void (*run)(struct fake_call *c);
	void (*reply)(struct fake_call *c);
	struct fake_call *prev, *next;
};

/* Allocates a call of `size` bytes (from its own arena) and sends it; fill in the rest before the loop goes on. */
#define fake_call_new(s, type, lane, run, reply) ((type *)fake_call_start((s), sizeof(type), (lane), (run), (reply)))
void *fake_call_start(struct fake_store *s, size_t size, enum fake_lane lane, void (*run)(struct fake_call *),
		      void (*reply)(struct fake_call *));

static inline struct fake_store *fake_of(struct store *s)
{
	return container_of(s, struct fake_store, base);
}

/* Every connected store hears of it, after its latency. */
void fake_announce(struct fake_db *db, const char *topic);

/*
 * What a request points to must live until its callback: it is read where it is, when the call arrives and once more
 * when it is answered, so that a sanitizer sees who freed it before.
 */
void fake_still_there(const char *text);

struct bytes fake_bytes_dup(struct bytes b);
void fake_bytes_free(struct bytes *b);

/* fake_nodes.c: nodes, namespaces, cluster facts */
void fake_node_renew(struct store *s, const struct store_node *self, store_nodes_fn *fn, void *ctx);
void fake_node_leave(struct store *s, const char *node_id, uint64_t incarnation, store_done_fn *fn, void *ctx);
void fake_namespaces(struct store *s, store_namespaces_fn *fn, void *ctx);
void fake_namespace_put(struct store *s, const struct store_namespace *ns, store_done_fn *fn, void *ctx);
void fake_namespace_delete(struct store *s, const char *id, int64_t version, store_done_fn *fn, void *ctx);
void fake_cluster(struct store *s, store_cluster_fn *fn, void *ctx);
struct fake_node *fake_node_find(struct fake_db *db, const char *node_id);
void fake_nodes_free(struct fake_db *db);

/* fake_settings.c: settings for the whole cluster */
struct fake_setting {
	struct store_setting row;
	struct fake_setting *prev, *next;
};
void fake_settings(struct store *s, store_settings_fn *fn, void *ctx);
void fake_settings_free(struct fake_db *db);

/* fake_shards.c: claims, the journal, the group commit */
void fake_shards(struct store *s, store_shards_fn *fn, void *ctx);
void fake_claim(struct store *s, const struct store_claim *claim, store_claimed_fn *fn, void *ctx);
void fake_release(struct store *s, uint32_t shard, int64_t epoch, store_done_fn *fn, void *ctx);
void fake_read_journal(struct store *s, uint32_t shard, int64_t after_seq, store_journal_row_fn *row,
		       store_done_fn *done, void *ctx);
void fake_commit(struct store *s, struct store_append *appends, size_t count, store_commit_fn *fn, void *ctx);
/* The commit's caller is being answered, its work comes later: a call of its own with copies of the records. */
void fake_commit_orphan(struct fake_call *c);
/* Arms an orphan outside every lane. */
void fake_call_orphan(struct fake_call *c, int64_t delay_ns);
/* What a commit of this store meets: what a test asked for, or the dice. */
enum fake_fate fake_take_fate(struct fake_store *s, enum fake_fate drawn);
bool fake_call_is_commit(const struct fake_call *c);
void fake_checkpoint(struct fake_shard *shard, int64_t seq);
void fake_shards_forget(struct fake_store *writer);
void fake_shards_free(struct fake_db *db);

/* fake_runs.c: runs and their history */
void fake_load_run(struct store *s, const struct store_run_id *id, store_run_fn *fn, void *ctx);
void fake_load_history(struct store *s, const struct store_run_id *run, int64_t first, int64_t last,
		       store_history_fn *fn, void *ctx);
void fake_load_due(struct store *s, const struct store_due *due, store_due_fn *fn, void *ctx);
void fake_fold(struct store *s, const struct store_fold *fold, store_done_fn *fn, void *ctx);
void fake_maintain_partitions(struct store *s, int64_t until_ns, store_upkept_fn *fn, void *ctx);
void fake_run_free(struct fake_workflow *w, struct fake_run *r);
void fake_runs_free(struct fake_db *db);

/* fake_scan.c */
void fake_scan(struct store *s, const struct store_scan *scan, store_scan_fn *fn, void *ctx);

/* fake_tasks.c: the backlog */
void fake_load_tasks(struct store *s, const struct store_tasks *page, store_tasks_fn *fn, void *ctx);
void fake_sum_tasks(struct store *s, uint32_t shard, store_task_sums_fn *fn, void *ctx);
void fake_fold_tasks(struct fake_db *db, const struct store_fold *fold);
void fake_tasks_free(struct fake_db *db);

/* fake_purge.c: what a deleted namespace has left */
void fake_list_namespace(struct store *s, const struct store_listing *l, store_listed_fn *fn, void *ctx);
void fake_purge(struct store *s, const struct store_purge *p, store_purged_fn *fn, void *ctx);
void fake_purge_progress(struct store *s, const char *namespace_id, store_purge_progress_fn *fn, void *ctx);
/* NULL: of all namespaces. */
void fake_purges_forget(struct fake_db *db, const char *namespace_id);

#endif
