/*
 * The store in memory: for the simulation and for unit tests. Same rules as the SQL (fence, claims, folds), plus faults
 * on demand or by a seed.
 *
 * A fake_db is the database; each node has a store of its own on it. Everything runs on one thread; the stores' envs
 * may differ (one a simulated node) but share their clock. Nothing here is random but through the db's seed.
 */
#ifndef COMMON_STORE_FAKE_H
#define COMMON_STORE_FAKE_H

#include "common/store/store.h"

struct fake_db;

/* A cluster of that many shards (> 0), no namespaces. The same seed gives the same faults. */
struct fake_db *fake_db_new(uint32_t shard_count, uint64_t seed);
/* All its stores are freed. */
void fake_db_free(struct fake_db *db);

/* A node's connections to it. Freeing it is what kill -9 does: what was under way may or may not have happened. */
struct store *fake_store_new(struct env *env, struct fake_db *db);

/* ------------------------------------------------------------------ faults */

/* Probabilities are a call's, 0 to 1. Default: no faults, a latency of 100 µs each way. */
struct fake_faults {
	int64_t latency_min_ns, latency_max_ns; /* one way */
	int64_t timeout_ns;			/* after which a call that got no answer ends (default 1 s) */
	double fail;				/* any call: rolled back, UNAVAILABLE */
	double lose_writer;			/* a commit: the connection dies with it under way, outcome unknown */
	double stall;				/* any call: takes stall_ns longer to arrive */
	int64_t stall_ns;
};
void fake_db_set_faults(struct fake_db *db, const struct fake_faults *f);

/* What becomes of this store's next commit. The unknown ones lose the writer's connection. */
enum fake_fate {
	FAKE_FATE_OK,
	FAKE_FATE_FAIL,		   /* rolled back for certain */
	FAKE_FATE_UNKNOWN_APPLIED, /* outcome unknown to us; it happened */
	FAKE_FATE_UNKNOWN_LOST,	   /* … it never happened */
	FAKE_FATE_UNKNOWN_LATE,	   /* … the old backend does it after timeout_ns, if no claim has fenced it by then */
};
void fake_store_next_commit(struct store *s, enum fake_fate fate);
/* The writer's connection dies now; what it had under way is of unknown outcome. */
void fake_store_lose_writer(struct store *s);
/* No message passes between this node and the database: calls end after timeout_ns, notifications are lost. */
void fake_store_cut(struct store *s, bool cut);
/* The database restarts: connections die, calls are refused until it is up again. Commits are durable. */
void fake_db_set_down(struct fake_db *db, bool down);
/* Folds that hold a run of this workflow id fail, as on a value that its column cannot hold; NULL: none does. */
void fake_db_refuse(struct fake_db *db, const char *workflow_id);
/* What store_cluster() answers, for the tests of a refused schema. */
void fake_db_set_schema_version(struct fake_db *db, int version);
/* A newer one, which serves programs from that version on. */
void fake_db_set_newer_schema(struct fake_db *db, int version, int serves_from);

/* ------------------------------------------------------------------ what operators decide */

/* The shard goes to that node while it lives and doesn't drain; NULL: to whom hashing gives it. */
void fake_db_pin(struct fake_db *db, uint32_t shard, const char *node_id);
void fake_db_tell_to_drain(struct fake_db *db, const char *node_id, bool drain);
bool fake_db_told_to_drain(const struct fake_db *db, const char *node_id);

/* A setting for the whole cluster; value NULL: not set any more. */
void fake_db_set_setting(struct fake_db *db, const char *name, const char *value, const char *by, int64_t now_ns);

/* ------------------------------------------------------------------ looking inside (invariants) */

int64_t fake_db_checkpoint(const struct fake_db *db, uint32_t shard);
/* Number of commits that wrote something, and of transactions of any kind: for cost assertions. */
uint64_t fake_db_commits(const struct fake_db *db);
uint64_t fake_db_calls(const struct fake_db *db);
/* In order of seq; the record is valid until the db changes. */
void fake_db_each_journal(const struct fake_db *db, uint32_t shard, store_journal_row_fn *fn, void *ctx);
/* Every run, open and closed, in no particular order. */
void fake_db_each_run(const struct fake_db *db, void (*fn)(void *ctx, const struct store_run_row *row), void *ctx);
/* The chunks of a run in order. */
void fake_db_each_chunk(const struct fake_db *db, const struct store_run_row *run,
			void (*fn)(void *ctx, const struct store_history_chunk *chunk), void *ctx);
/* The backlog, in the order of its key. */
void fake_db_each_task(const struct fake_db *db, void (*fn)(void *ctx, const struct store_task *task), void *ctx);
/* Puts a namespace in without a store: for setting tests up. */
void fake_db_put_namespace(struct fake_db *db, const char *id, const char *name, struct bytes info);
bool fake_db_has_namespace(const struct fake_db *db, const char *id);

#endif
