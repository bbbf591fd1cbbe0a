/*
 * Inside the store on PostgreSQL: its connections and what its files share. For pg_*.c only.
 */
#ifndef COMMON_STORE_PG_STORE_H
#define COMMON_STORE_PG_STORE_H

#include <uthash.h>
#include <utlist.h>
#include <zstd.h>

#include "common/loop/loop.h"
#include "common/mem/arena.h"
#include "common/mem/mem.h"
#include "common/pg/pg.h"
#include "common/store/store_impl.h"

#define PG_CHANNEL "perdure" /* of NOTIFY; the payload is the topic */

/* Reads of one kind that wait to travel together; see pg_load.c. */
struct pg_batch {
	void *items;
	size_t count, cap;
};

struct pg_store {
	struct store base;
	struct loop *loop;

	struct pg_link *control; /* renewals, notifications, namespaces */
	struct pg_link *writer;	 /* claims and commits; NULL when config.writer is false, so is folder */
	struct pg_link *folder;
	struct pg_pool *readers; /* NULL: control serves the reads */

	void (*notify)(void *ctx, const char *topic);
	void *notify_ctx;
	bool control_was_up;
	void (*reset)(void *ctx);
	void *reset_ctx;
	uint64_t writer_resets;

	struct store_claims claims;
	char *registered_node_id; /* whose incarnation this store has registered */
	uint64_t registered_incarnation;
	char *announced; /* what others know of us, as one string */

	/* The commit that never reached the database because none of its shards is claimed. */
	struct env_task unclaimed;
	struct store_append *unclaimed_appends;
	size_t unclaimed_count;
	store_commit_fn *unclaimed_fn;
	void *unclaimed_ctx;

	struct pg_batch loads, histories, dues, outbounds;
	struct env_task flush_loads;

	struct pg_fold *folds;			      /* under way */
	int64_t partitions_from_ns, partitions_to_ns; /* as last seen; to 0: not seen */
	struct pg_link *upkeep;			      /* while partitions are dropped */
	struct arena *upkeep_arena;
	int64_t partition_width_ns;
	struct pg_link_config link_config; /* for such extra links; strings owned */
	struct pg_meter *meter;		   /* NULL: nobody counts */
	ZSTD_CCtx *zip;
	ZSTD_DCtx *unzip;
};

static inline struct pg_store *pg_of(struct store *s)
{
	return container_of(s, struct pg_store, base);
}

/* To a reader. */
void pg_store_read(struct pg_store *s, struct pg_op *op, pg_done_fn *fn, void *ctx);
bool pg_store_reader_free(const struct pg_store *s);
/* A reader may have become free: batches that wait may go. */
void pg_store_read_done(struct pg_store *s);

struct err pg_store_fenced(const char *text);
/* The database's error as the store's: a lock timeout or a deadlock is 'nothing happened', ABORTED means fenced. */
struct err pg_store_err(struct err e);

/* The ctx of a call whose answer is only an error; pg_store_on_done() answers it. Lives in the op's arena. */
struct pg_done_ctx {
	struct pg_store *s;
	store_done_fn *fn;
	void *ctx;
	const char *none_text; /* set: no row in the last result means ABORTED, with this text */
	enum err_reason none_reason;
};
struct pg_done_ctx *pg_done_ctx_new(struct pg_store *s, struct pg_op *op, store_done_fn *fn, void *ctx);
void pg_store_on_done(void *ctx, const struct pg_done *d);

/* pg_nodes.c */
void pg_node_renew(struct store *s, const struct store_node *self, store_nodes_fn *fn, void *ctx);
void pg_node_leave(struct store *s, const char *node_id, uint64_t incarnation, store_done_fn *fn, void *ctx);

/* pg_settings.c: settings for the whole cluster */
void pg_settings(struct store *s, store_settings_fn *fn, void *ctx);

/* pg_meta.c: namespaces and cluster facts */
void pg_namespaces(struct store *s, store_namespaces_fn *fn, void *ctx);
void pg_namespace_put(struct store *s, const struct store_namespace *ns, store_done_fn *fn, void *ctx);
void pg_namespace_delete(struct store *s, const char *id, int64_t version, store_done_fn *fn, void *ctx);
void pg_cluster(struct store *s, store_cluster_fn *fn, void *ctx);

/* pg_purge.c */
void pg_list_namespace(struct store *s, const struct store_listing *l, store_listed_fn *fn, void *ctx);
void pg_purge(struct store *s, const struct store_purge *p, store_purged_fn *fn, void *ctx);
void pg_purge_progress(struct store *s, const char *namespace_id, store_purge_progress_fn *fn, void *ctx);

/* pg_claim.c */
void pg_shards(struct store *s, store_shards_fn *fn, void *ctx);
void pg_claim(struct store *s, const struct store_claim *claim, store_claimed_fn *fn, void *ctx);
void pg_release(struct store *s, uint32_t shard, int64_t epoch, store_done_fn *fn, void *ctx);

/* pg_journal.c */
void pg_read_journal(struct store *s, uint32_t shard, int64_t after_seq, store_journal_row_fn *row, store_done_fn *done,
		     void *ctx);
void pg_commit(struct store *s, struct store_append *appends, size_t count, store_commit_fn *fn, void *ctx);
void pg_commit_init(struct pg_store *s);

/* pg_load.c */
void pg_load_run(struct store *s, const struct store_run_id *id, store_run_fn *fn, void *ctx);
void pg_load_history(struct store *s, const struct store_run_id *run, int64_t first, int64_t last, store_history_fn *fn,
		     void *ctx);
void pg_load_due(struct store *s, const struct store_due *due, store_due_fn *fn, void *ctx);
void pg_load_init(struct pg_store *s);
void pg_load_done(struct pg_store *s);

/* pg_tasks.c: the backlog */
void pg_load_tasks(struct store *s, const struct store_tasks *page, store_tasks_fn *fn, void *ctx);
void pg_sum_tasks(struct store *s, uint32_t shard, store_task_sums_fn *fn, void *ctx);
/* Adds the statements of a fold. */
void pg_op_fold_tasks(struct pg_op *op, const struct store_fold *fold);

/* pg_scan.c */
void pg_scan(struct store *s, const struct store_scan *scan, store_scan_fn *fn, void *ctx);

/* pg_fold.c */
void pg_folds_free(struct pg_store *s);
void pg_fold_start(struct store *s, const struct store_fold *fold, store_done_fn *fn, void *ctx);

/* pg_fold_plan.c: what becomes of each row of a fold */

enum pg_fate {
	PG_FATE_OPEN,	/* stays in, or comes into, the open table */
	PG_FATE_CLOSED, /* moves to its partition */
	PG_FATE_GONE,	/* deleted, or its retention is over */
};

struct pg_chunk {
	int64_t first, last;
	struct bytes events;
	bool zipped;
};

struct pg_fold_row {
	const struct store_run_row *row;
	enum pg_fate fate;
	/* Closed ones: */
	bool whole; /* the fold's own chunks follow each other from event 1 on: nothing is to be read */
	struct pg_chunk *chunks;
	size_t chunk_count, chunk_cap;
	struct bytes snapshot, history; /* as stored */
	int64_t history_last;		/* 0: the chunks are stored beside it */
	int32_t codec;
	UT_hash_handle hh; /* by namespace, workflow and run id */
};

struct pg_fold {
	struct pg_store *s;
	struct store_fold fold;
	struct arena *arena;
	struct pg_fold_row **rows; /* one a row of the fold */
	struct pg_fold_row *by_key;
	bool *chunk_is_open; /* one a chunk of the fold: it goes to the open runs' history */
	size_t counts[3];    /* by fate */
	size_t open_chunks, beside_chunks;
	bool retried;
	store_done_fn *fn;
	void *ctx;
	struct pg_fold *prev, *next;
};

/* Sorts the rows and chunks by their fate. INTERNAL: a closed row without a retention end. */
must_check struct err pg_fold_plan(struct pg_fold *f);
/* A chunk that the database has of a closing run. */
void pg_fold_add_chunk(struct pg_fold *f, struct pg_fold_row *r, int64_t first, int64_t last, struct bytes events);
/* Puts closed runs' histories together and compresses. */
void pg_fold_pack(struct pg_fold *f);
/* pg_fold_sql.c: the whole transaction. */
struct pg_op *pg_fold_op(const struct pg_fold *f);
/* The statement that reads what the database has of the closing runs that need it; ret[i]: the row of ordinal i + 1. */
struct pg_op *pg_fold_read_op(const struct pg_fold *f, struct pg_fold_row **ret);

/* pg_partitions.c */
void pg_maintain_partitions(struct store *s, int64_t until_ns, store_upkept_fn *fn, void *ctx);
/* Adds the statement that makes partitions up to until_ns and answers (from, to). */
void pg_op_ensure_partitions(const struct pg_store *s, struct pg_op *op, int64_t until_ns, int64_t now_ns);
void pg_partitions_seen(struct pg_store *s, const PGresult *r);

/* pg_zip.c: what is stored compressed */
enum { PG_CODEC_SNAPSHOT = 1, PG_CODEC_HISTORY = 2 };
/* The compressed bytes in the arena, *ret_zipped true; or v itself when that is not smaller. */
struct bytes pg_zip(struct pg_store *s, struct arena *a, struct bytes v, bool *ret_zipped);
/* False: bad bytes. */
bool pg_unzip(struct pg_store *s, struct arena *a, struct bytes v, struct bytes *ret);

#endif
