/*
 * What Perdure keeps in its database, as operations rather than SQL. Two implementations, one contract suite:
 * PostgreSQL (store_pg.c …) and memory (fake, for the simulation).
 *
 * Every call is asynchronous and made on the store's loop; its callback runs on that loop, once, never inline. What a
 * request points to must live until its callback unless said otherwise; results live during the callback only.
 * Errors: UNAVAILABLE (database out of reach; nothing happened), UNAVAILABLE with ERR_REASON_OUTCOME_UNKNOWN (the
 * connection died in COMMIT), ABORTED with ERR_REASON_FENCED (the shard has a newer owner), INTERNAL (a bug or a bad
 * row; the text names it).
 *
 * Wall-clock times are ns since the epoch. Rules numbered (R1…) are those of the protocol, in README.md.
 */
#ifndef COMMON_STORE_STORE_H
#define COMMON_STORE_STORE_H

#include "common/env/env.h"
#include "common/err/err.h"

struct store;

/* ------------------------------------------------------------------ nodes (membership) */

struct store_node {
	const char *node_id;
	const char *role;    /* "frontend", "history", "matching", "worker_gateway" */
	const char *address; /* rpc inbox URL, as peers dial it */
	const char *http_address;
	const char *version;
	uint64_t incarnation; /* of this start of the process */
	int64_t renewals;     /* grows by one with each renewal */
	bool draining;
	bool dead;	    /* this incarnation was declared dead by a claimer; it can never renew */
	bool told_to_drain; /* an operator wants it without work; read, never written by a renewal */
};

/* A shard that an operator gave to a node. */
struct store_pin {
	uint32_t shard;
	const char *node_id; /* that may not live */
};

/* What a renewal reads. */
struct store_nodes {
	const struct store_node *list;
	size_t count;
	const struct store_pin *pins; /* in no particular order; at most one a shard */
	size_t pin_count;
};

/* nodes is NULL with an error. */
typedef void store_nodes_fn(void *ctx, struct err e, const struct store_nodes *nodes);
typedef void store_done_fn(void *ctx, struct err e);

/*
 * Registers or renews our row and reads all rows, and the pins, in one round trip. ABORTED/FENCED: this incarnation was
 * declared dead. The first call of an incarnation registers it (replacing the row of an earlier incarnation of the same
 * node_id). Announces with NOTIFY when something other than the counter changed.
 */
void store_node_renew(struct store *s, const struct store_node *self, store_nodes_fn *fn, void *ctx);
/* A clean goodbye: removes the row. */
void store_node_leave(struct store *s, const char *node_id, uint64_t incarnation, store_done_fn *fn, void *ctx);

/* What others announced (NOTIFY): "nodes", "namespaces", … Called on the loop; also after a reconnect (all topics). A
 * few listeners, never taken back: what they point to outlives the store, or goes in the same turn. */
void store_on_notify(struct store *s, void (*fn)(void *ctx, const char *topic), void *ctx);

/* ------------------------------------------------------------------ shards */

struct store_claim {
	uint32_t shard;
	const char *node_id;
	uint64_t incarnation;
	/* The owner that the claimer believes expired, so that its incarnation is marked dead and its writer's backend
	 * terminated (R7, R8); NULL when the shard is free, ours, or was released. */
	const char *expired_node_id;
	uint64_t expired_incarnation;
	int64_t expired_renewals; /* claim fails (ABORTED) when the row has been renewed since */
};

struct store_claimed {
	int64_t epoch;
	int64_t last_seq;
	int64_t checkpoint_seq;
};

typedef void store_claimed_fn(void *ctx, struct err e, const struct store_claimed *claimed);

struct store_shard {
	uint32_t shard;
	int64_t epoch;
	const char *owner_node_id; /* NULL: released or never owned */
	uint64_t owner_incarnation;
};
typedef void store_shards_fn(void *ctx, struct err e, const struct store_shard *shards, size_t count);
/* All shards; their number is what the cluster was created with. */
void store_shards(struct store *s, store_shards_fn *fn, void *ctx);

/*
 * Makes us the owner: epoch + 1, in a transaction of its own on the WRITER's connection (so it waits for, or fences,
 * an older writer). Fails with ABORTED when somebody else owns it and is not expired.
 */
void store_claim(struct store *s, const struct store_claim *claim, store_claimed_fn *fn, void *ctx);
/* Gives the shard back (planned hand-over), fenced by epoch. */
void store_release(struct store *s, uint32_t shard, int64_t epoch, store_done_fn *fn, void *ctx);

/* Journal rows after `after_seq`, in order; `row` once each, then `done`. */
typedef void store_journal_row_fn(void *ctx, int64_t seq, int64_t epoch, struct bytes record);
void store_read_journal(struct store *s, uint32_t shard, int64_t after_seq, store_journal_row_fn *row,
			store_done_fn *done, void *ctx);

/* ------------------------------------------------------------------ the group commit */

struct store_append {
	uint32_t shard;
	int64_t epoch;
	int64_t seq; /* last committed seq + 1 */
	struct bytes record;
	bool fenced; /* out: the shard is lost; others in the batch committed */
};

/*
 * One transaction for all shards of a loop: at most one append per shard, at most one commit under way per store.
 * fn: OK (look at each append's `fenced`); UNAVAILABLE (rolled back for certain: send the same again);
 * OUTCOME_UNKNOWN: the writer connection is new now; every shard must be claimed again and its journal's tail read
 * before anybody is answered (R2).
 */
typedef void store_commit_fn(void *ctx, struct err e, struct store_append *appends, size_t count);
void store_commit(struct store *s, struct store_append *appends, size_t count, store_commit_fn *fn, void *ctx);
/*
 * Told when the writer's connection was lost: all shards need to be claimed again (claims wait for the new connection).
 * Called before the callbacks of what was under way. A claim dies with its connection: until a shard is claimed again,
 * its appends come back `fenced` without reaching the database.
 */
void store_on_writer_reset(struct store *s, void (*fn)(void *ctx), void *ctx);

/* ------------------------------------------------------------------ runs */

struct store_run_row {
	uint32_t shard;
	const char *namespace_id, *workflow_id, *run_id;
	int64_t start_seq;   /* orders the runs of a workflow id */
	int64_t applied_seq; /* journal seq the snapshot includes; a fold never lowers it */
	bool open;
	int64_t wake_at_ns; /* earliest deadline; INT64_MAX: none */
	bool outbound;	    /* has a message to send, or a task nobody took */
	bool listed; /* fold only: … and those tasks are in the backlog, with this fold or since an earlier one */
	int32_t status;
	int64_t start_time_ns, close_time_ns;
	int64_t retention_end_ns; /* closed runs only: chooses the partition */
	struct bytes snapshot;	  /* perdure.RunSnapshot */
	bool deleted; /* fold only: remove the row and its history (retention_end_ns as it was stored; 0: unknown) */
};

/* Events first..last of a run, spliced encoding (temporal.api.history.v1.History). */
struct store_history_chunk {
	const char *namespace_id, *workflow_id, *run_id;
	int64_t first_event_id, last_event_id;
	struct bytes events;
};

struct store_run_id {
	uint32_t shard;
	const char *namespace_id, *workflow_id;
	const char *run_id; /* NULL or "": the open run, or the latest one when none is open */
	/* Without a run id: the latest of those that began before, open or not; 0: as said above. */
	int64_t before_start_seq;
};

/* row NULL: no such run, or a closed one whose retention is over (whether or not its partition is still there). Several
 * loads made in one turn travel as one query. The result for a closed run is the same kind of row with open = false. */
typedef void store_run_fn(void *ctx, struct err e, const struct store_run_row *row);
void store_load_run(struct store *s, const struct store_run_id *id, store_run_fn *fn, void *ctx);

/* Chunks that contain events of [first, last], ascending; whole chunks, so the ends may reach further. */
typedef void store_history_fn(void *ctx, struct err e, const struct store_history_chunk *chunks, size_t count);
void store_load_history(struct store *s, const struct store_run_id *run, int64_t first, int64_t last,
			store_history_fn *fn, void *ctx);

/* Open runs of a shard with wake_at ≤ until_ns, or outbound and not listed as of their applied_seq, that is: all that
 * must be in memory soon (R12). Ascending by wake_at, at most `limit`, continuing after (after_wake_ns, after_run_id)
 * when given. */
struct store_due {
	uint32_t shard;
	int64_t until_ns;
	bool outbound; /* ask for the outbound ones instead */
	int64_t after_wake_ns;
	const char *after_run_id; /* NULL: from the start */
	size_t limit;
};
typedef void store_due_fn(void *ctx, struct err e, const struct store_run_row *rows, size_t count);
void store_load_due(struct store *s, const struct store_due *due, store_due_fn *fn, void *ctx);

/* A shard's rows as they are stored, in the order of their keys (workflow id by workflow id), at most `limit`,
 * continuing after the key given. For the auditor: a snapshot that cannot be decompressed is answered as it is. */
struct store_scan {
	uint32_t shard;
	bool closed; /* the closed runs' partitions, whose key has start_seq before the run id; else the open table */
	const char *after_namespace_id, *after_workflow_id, *after_run_id; /* NULL: from the start */
	int64_t after_start_seq;
	size_t limit;
	bool ids_only; /* the key's columns alone matter: nothing else need be read */
};
typedef void store_scan_fn(void *ctx, struct err e, const struct store_run_row *rows, size_t count);
void store_scan(struct store *s, const struct store_scan *scan, store_scan_fn *fn, void *ctx);

/* ------------------------------------------------------------------ tasks that nobody has taken (R17) */

/* One that is written down because its run is folded. The fields up to stamp are its key, in the order of the table. */
struct store_task {
	uint32_t shard;
	const char *namespace_id, *queue;
	int32_t kind; /* perdure.TaskKind */
	int32_t priority;
	int64_t scheduled_ns;
	const char *run_id;
	int64_t event_id, stamp;
	const char *workflow_id; /* from here on not needed to remove it */
	int32_t attempt;
	int64_t expires_ns; /* 0: never */
	const char *fairness_key;
	int32_t fairness_weight; /* thousandths */
};

/* Of one queue in one shard, in order, from the key in `from` on (itself included; its run_id NULL: from the first). */
struct store_tasks {
	struct store_task from;
	size_t limit;
};
typedef void store_tasks_fn(void *ctx, struct err e, const struct store_task *tasks, size_t count);
void store_load_tasks(struct store *s, const struct store_tasks *page, store_tasks_fn *fn, void *ctx);

/* How many a shard has, by queue and priority. */
struct store_task_sum {
	const char *namespace_id, *queue;
	int32_t kind, priority;
	int64_t count, oldest_ns;
};
typedef void store_task_sums_fn(void *ctx, struct err e, const struct store_task_sum *sums, size_t count);
void store_sum_tasks(struct store *s, uint32_t shard, store_task_sums_fn *fn, void *ctx);

/* ------------------------------------------------------------------ folds */

/*
 * Writes snapshots and history of runs, moves the checkpoint, and deletes the journal behind it, fenced by (shard,
 * epoch), in one transaction, on a connection of its own. An open row that closes moves to the closed table's partition
 * for retention_end_ns; while it still has something to send (outbound) it stays among the open ones. Rows whose
 * applied_seq is behind what is stored are skipped. checkpoint_seq 0: leave it; one behind the stored one, or that the
 * journal doesn't hold, changes nothing.
 */
struct store_fold {
	uint32_t shard;
	int64_t epoch;
	/* Of the backlog: removed first, then written. What isn't there, or is already, is no error. */
	const struct store_task *tasks_gone, *tasks;
	size_t task_gone_count, task_count;
	const struct store_run_row *rows;
	size_t row_count;
	const struct store_history_chunk *chunks;
	size_t chunk_count;
	int64_t checkpoint_seq;
};
void store_fold(struct store *s, const struct store_fold *fold, store_done_fn *fn, void *ctx);

/*
 * Upkeep of the closed runs' partitions: makes those for retention ends up to `until_ns`, and drops those whose last
 * retention end has passed. By any node: they exclude each other. A fold makes what it misses, and runs whose retention
 * is over aren't found in any case; so this is about space. One call at a time a store.
 */
struct store_upkept {
	bool busy;		/* another node is at it: nothing was done */
	size_t dropped;		/* partitions (in memory: runs) */
	int64_t from_ns, to_ns; /* what the partitions cover now */
};
typedef void store_upkept_fn(void *ctx, struct err e, const struct store_upkept *done);
void store_maintain_partitions(struct store *s, int64_t until_ns, store_upkept_fn *fn, void *ctx);

/* ------------------------------------------------------------------ namespaces */

struct store_namespace {
	const char *id, *name;
	int64_t version;   /* grows with every change: compare-and-set */
	struct bytes info; /* perdure.NamespaceRecord */
};
typedef void store_namespaces_fn(void *ctx, struct err e, const struct store_namespace *list, size_t count);
/* All namespaces (they are few, and cached); ordered by name. */
void store_namespaces(struct store *s, store_namespaces_fn *fn, void *ctx);
/* version 0 creates (ALREADY_EXISTS when the name is taken), else replaces that version (ABORTED when it changed).
 * Announces "namespaces". */
void store_namespace_put(struct store *s, const struct store_namespace *ns, store_done_fn *fn, void *ctx);
void store_namespace_delete(struct store *s, const char *id, int64_t version, store_done_fn *fn, void *ctx);

/* ------------------------------------------------------------------ what a deleted namespace has left */

/* Its runs in a shard that are open (or closed, with something to send), by workflow and run id, at most `limit`,
 * continuing after the ids given. */
struct store_listing {
	uint32_t shard;
	const char *namespace_id;
	const char *after_workflow_id, *after_run_id; /* NULL: from the start */
	size_t limit;
};
typedef void store_listed_fn(void *ctx, struct err e, const struct store_run_id *ids, size_t count);
void store_list_namespace(struct store *s, const struct store_listing *l, store_listed_fn *fn, void *ctx);

/*
 * Deletes about `limit` of its closed runs in a shard, fenced by epoch, and notes how far it is. Without journal: what
 * is in a deleted namespace isn't asked for, and a run that comes back from the journal is deleted again.
 */
struct store_purge {
	uint32_t shard;
	int64_t epoch;
	const char *namespace_id;
	size_t limit;
	size_t removed; /* that the caller has removed otherwise, since it said so last */
	bool done;	/* there is nothing left in this shard */
};
typedef void store_purged_fn(void *ctx, struct err e, size_t removed);
void store_purge(struct store *s, const struct store_purge *p, store_purged_fn *fn, void *ctx);

/* Over all shards. Forgotten with the namespace. */
struct store_purge_progress {
	uint32_t shards_done;
	int64_t removed;
	int64_t updated_ns; /* wall clock; 0: nothing was noted yet */
};
typedef void store_purge_progress_fn(void *ctx, struct err e, const struct store_purge_progress *p);
void store_purge_progress(struct store *s, const char *namespace_id, store_purge_progress_fn *fn, void *ctx);

/* ------------------------------------------------------------------ settings for the whole cluster */

/* A value as it would stand in a file; who reads it decides what it is worth. */
struct store_setting {
	const char *name, *value;
	const char *changed_by;
	int64_t changed_ns;
};
typedef void store_settings_fn(void *ctx, struct err e, const struct store_setting *list, size_t count);
/* All of them, ordered by name; changes are announced as "settings". Written by perdurectl alone. */
void store_settings(struct store *s, store_settings_fn *fn, void *ctx);

/* ------------------------------------------------------------------ cluster facts */

struct store_cluster {
	const char *cluster_id; /* UUID, made at creation */
	uint32_t shard_count;
	int schema_version;
	const char *database_version;
};
typedef void store_cluster_fn(void *ctx, struct err e, const struct store_cluster *c);
/* FAILED_PRECONDITION with the command to run when the schema is not one this binary knows. */
void store_cluster(struct store *s, store_cluster_fn *fn, void *ctx);

/* ------------------------------------------------------------------ making one */

struct store_ops; /* store_impl.h: for the implementations */
/* Callbacks of calls still under way are not called. Not from within one of its callbacks. Accepts NULL. */
void store_free(struct store *s);

struct loop;
struct store_pg_config {
	const char *dsn;
	int readers;		      /* size of the read pool */
	int64_t statement_timeout_ns; /* 0: the default; negative: none */
	int64_t lease_ns;	      /* TCP keepalives and tcp_user_timeout stay below it (R7) */
	bool writer;		      /* history nodes only: keep a writer and a folder connection */
	int64_t connect_timeout_ns;   /* 0: the default */
	int64_t backoff_max_ns;	      /* 0: the default */
	int64_t partition_width_ns;   /* closed runs' partitions are so wide, if there are not too many; 0: a day */
	const char *name;	      /* application_name, as pg_stat_activity shows it; NULL: "perdure" */
	struct metrics *metrics;      /* counts of operations and connections; outlives the store; NULL: none */
	const char *service;	      /* labels them */
};
/* Returns at once and connects in the background; calls wait for the connection as long as connect_timeout_ns. Without
 * readers (0), reads share the connection of the renewals: for daemons that read little. */
must_check struct err store_pg_new(struct loop *loop, const struct store_pg_config *config, struct arena *errors,
				   struct store **ret);

#endif
