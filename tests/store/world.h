/*
 * What the contract suite runs in: a database (in memory, or a real PostgreSQL), a loop, and the stores of some nodes
 * on it. The calls of the store as functions that wait for their callback; results are copied to the world's arena.
 */
#ifndef TESTS_STORE_WORLD_H
#define TESTS_STORE_WORLD_H

#include <check.h>

#include "common/mem/arena.h"
#include <stdlib.h>

#include "common/store/store.h"

struct world;

struct world_ops {
	const char *name;
	/* A fresh database of 8 shards without namespaces. */
	void (*start)(struct world *w);
	void (*stop)(struct world *w);
	/* Runs the loop until something happened. */
	void (*turn)(struct world *w);
	struct store *(*open)(struct world *w);
	/* The connection of the store's writer dies. */
	void (*lose_writer)(struct world *w, struct store *s);
	/* The next commit's connection dies after the database did it, or before. */
	void (*next_commit_unknown)(struct world *w, struct store *s, bool applied);
	/* An old backend of this store's (frozen) holds the shard's row as a half-sent commit does. No-op in memory. */
	void (*freeze_writer)(struct world *w, struct store *s, uint32_t shard);
	/* Sets the version that the database says it has. */
	void (*set_schema_version)(struct world *w, int version);
	/* One newer migration than all there are; serves_from 0: it says nothing. */
	void (*add_schema)(struct world *w, int version, int serves_from);
	/* What an operator does: node_id NULL unpins. */
	void (*pin)(struct world *w, uint32_t shard, const char *node_id);
	void (*tell_to_drain)(struct world *w, const char *node_id, bool drain);
	/* A setting for the whole cluster, by "test" at 5; NULL: not set any more. */
	void (*set_setting)(struct world *w, const char *name, const char *value);
	/* Number of the journal's rows. */
	size_t (*journal_rows)(struct world *w, uint32_t shard);
};

struct world {
	const struct world_ops *ops;
	struct env *env;
	struct arena *arena;
	void *impl;
};

extern const struct world_ops world_fake, world_pg;
/* Which one this program runs on. */
extern const struct world_ops *world_ops_chosen;

#define WORLD_SHARDS 8

struct world *world_start(void);
void world_stop(struct world *w);
/* Turns the loop until *flag; fails the test after 20 s of the machine's time. */
void world_wait(struct world *w, const bool *flag);
/* As long as nothing else happens for a while: lets stray callbacks arrive. */
void world_settle(struct world *w);

/* ------------------------------------------------------------------ calls that wait */

struct world_nodes {
	struct err e;
	struct store_node *list;
	size_t count;
	struct store_pin *pins;
	size_t pin_count;
};
struct world_nodes w_renew(struct world *w, struct store *s, const struct store_node *self);
struct err w_leave(struct world *w, struct store *s, const char *node_id, uint64_t incarnation);
struct err w_claim(struct world *w, struct store *s, const struct store_claim *claim, struct store_claimed *ret);
struct err w_release(struct world *w, struct store *s, uint32_t shard, int64_t epoch);
struct err w_commit(struct world *w, struct store *s, struct store_append *appends, size_t count);

struct world_shards {
	struct err e;
	struct store_shard *list;
	size_t count;
};
struct world_shards w_shards(struct world *w, struct store *s);

struct world_record {
	int64_t seq, epoch;
	struct bytes record;
};
struct world_journal {
	struct err e;
	struct world_record rows[1100];
	size_t count;
};
struct world_journal *w_journal(struct world *w, struct store *s, uint32_t shard, int64_t after_seq);

struct err w_fold(struct world *w, struct store *s, const struct store_fold *fold);
/* NULL: no such run. Fails the test on an error. */
const struct store_run_row *w_load(struct world *w, struct store *s, const struct store_run_id *id);

struct world_history {
	struct store_history_chunk *chunks;
	size_t count;
};
/* Fails the test on an error. */
struct world_history w_history(struct world *w, struct store *s, const struct store_run_id *run, int64_t first,
			       int64_t last);

struct world_rows {
	struct store_run_row *rows;
	size_t count;
};
struct world_rows w_due(struct world *w, struct store *s, const struct store_due *due);
/* Fails the test on an error. */
struct store_upkept w_maintain(struct world *w, struct store *s, int64_t until_ns);

struct world_listed {
	struct store_run_id *ids;
	size_t count;
};
/* These fail the test on an error. */
struct world_listed w_list(struct world *w, struct store *s, const struct store_listing *l);
/* Its rows: "workflow/run@start_seq" of each, after a blank. */
const char *w_scan(struct world *w, struct store *s, const struct store_scan *scan);
struct store_purge_progress w_progress(struct world *w, struct store *s, const char *namespace_id);
struct err w_purge(struct world *w, struct store *s, const struct store_purge *p, size_t *ret_removed);

struct world_namespaces {
	struct err e;
	struct store_namespace *list;
	size_t count;
};
struct world_namespaces w_namespaces(struct world *w, struct store *s);
struct err w_namespace_put(struct world *w, struct store *s, const struct store_namespace *ns);
struct err w_namespace_delete(struct world *w, struct store *s, const char *id, int64_t version);
struct err w_cluster(struct world *w, struct store *s, struct store_cluster *ret);

/* ------------------------------------------------------------------ shorthands */

/* A claim by an unregistered node "a", incarnation 1, of a free shard; returns the epoch. */
int64_t w_own(struct world *w, struct store *s, uint32_t shard);
/* Appends one record; fails the test unless it is written. */
void w_append(struct world *w, struct store *s, uint32_t shard, int64_t epoch, int64_t seq, const char *record);

#define assert_ok(e_)                                                                                                  \
	do {                                                                                                           \
		struct err assert_e_ = (e_);                                                                           \
		ck_assert_msg(!err_is(assert_e_), "%s: %s", err_code_name(assert_e_.code), assert_e_.message);         \
	} while (0)
#define assert_code(e_, code_)                                                                                         \
	do {                                                                                                           \
		struct err assert_e_ = (e_);                                                                           \
		ck_assert_msg(assert_e_.code == (code_), "%s, not %s: %s", err_code_name(assert_e_.code),              \
			      err_code_name(code_), assert_e_.message ? assert_e_.message : "");                       \
	} while (0)
#define assert_bytes(b_, text_) ck_assert(bytes_eq((b_), bytes_str(text_)))

/* The suite, a case a subject. */
TCase *contract_nodes(void);
TCase *contract_shards(void);
TCase *contract_runs(void);
TCase *contract_closed(void);
TCase *contract_namespaces(void);
TCase *contract_purge(void);
TCase *contract_settings(void);
TCase *contract_tasks(void);

#endif
