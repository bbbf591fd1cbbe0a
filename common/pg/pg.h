/*
 * PostgreSQL on a loop: libpq in pipeline mode, binary parameters and results, statements prepared on first use.
 *
 * A link is one connection that comes back when it is lost. What is submitted to it is an op: one or more statements
 * that succeed or fail together (the implicit transaction of a pipeline up to its sync), answered by one callback. Ops
 * are sent at once, one behind the other, and answered in order. All calls are made on the loop; callbacks come from
 * the loop, never inline.
 */
#ifndef COMMON_PG_PG_H
#define COMMON_PG_PG_H

#include <libpq-fe.h>

#include "common/env/env.h"
#include "common/err/err.h"

struct loop;
struct pg_link;
struct pg_meter;
struct pg_op;
struct pg_pool;

/* ------------------------------------------------------------------ ops */

/* A statement that each link prepares when it first meets it. Static: known by its address. */
struct pg_stmt {
	const char *name;
	const char *sql;
};

/* The types of array parameters, by OID. */
enum pg_type {
	PG_BOOL = 16,
	PG_BYTES = 17,
	PG_INT8 = 20,
	PG_INT4 = 23,
	PG_TEXT = 25,
};

struct pg_done {
	struct err e;		     /* its text lives during the callback */
	char sqlstate[6];	     /* "" when the server reported no error */
	const PGresult *const *rows; /* a result a statement; NULL on error */
	size_t count;
};
typedef void pg_done_fn(void *ctx, const struct pg_done *d);

struct pg_op *pg_op_new(void);
/* Only for an op that was never submitted. Accepts NULL. */
void pg_op_free(struct pg_op *op);
/* Memory that goes with the op: for what its callback needs (an op may be dropped without one). */
struct arena *pg_op_arena(struct pg_op *op);
/* Begins a statement; the parameters that follow are its $1, $2, … Prepared, or (text; static) parsed each time. */
void pg_op_add(struct pg_op *op, const struct pg_stmt *stmt);
void pg_op_add_text(struct pg_op *op, const char *sql);
/* The op changes the database: losing the connection with it under way is OUTCOME_UNKNOWN instead of UNAVAILABLE. */
void pg_op_writes(struct pg_op *op);
/* The op is only good for the connection that stands now: it fails (UNAVAILABLE) rather than wait for a new one. */
void pg_op_now(struct pg_op *op);

/* Parameters are copied, except bytes, which must live until the callback. */
void pg_op_int4(struct pg_op *op, int32_t v);
void pg_op_int8(struct pg_op *op, int64_t v);
void pg_op_bool(struct pg_op *op, bool v);
void pg_op_text(struct pg_op *op, const char *v); /* NULL: SQL null */
void pg_op_bytes(struct pg_op *op, struct bytes v);
/* An array of `count` elements, to be filled with exactly as many pg_array_…() calls; they copy. */
struct pg_array;
struct pg_array *pg_op_array(struct pg_op *op, enum pg_type type, size_t count);
void pg_array_int4(struct pg_array *a, int32_t v);
void pg_array_int8(struct pg_array *a, int64_t v);
void pg_array_bool(struct pg_array *a, bool v);
void pg_array_text(struct pg_array *a, const char *v);
void pg_array_bytes(struct pg_array *a, struct bytes v);

/* ------------------------------------------------------------------ results (binary) */

size_t pg_row_count(const PGresult *r);
bool pg_null(const PGresult *r, size_t row, int col);
/* Of the column's own type. What isn't as long as the type says yields 0: the schema check comes first. */
int32_t pg_int4(const PGresult *r, size_t row, int col);
int64_t pg_int8(const PGresult *r, size_t row, int col);
bool pg_bool(const PGresult *r, size_t row, int col);
/* NUL-terminated; NULL for SQL null. Valid during the callback. */
const char *pg_text(const PGresult *r, size_t row, int col);
struct bytes pg_bytes(const PGresult *r, size_t row, int col);

/* ------------------------------------------------------------------ links */

struct pg_link_config {
	const char *dsn;    /* string or URI; copied */
	const char *name;   /* application_name; copied */
	const char *listen; /* channel, a plain identifier; NULL: none; copied */
	int64_t connect_timeout_ns;
	int64_t backoff_max_ns;	      /* between attempts; begins at a few ms, doubles, with jitter */
	int64_t statement_timeout_ns; /* the server's; 0: none. No answer for that and 2 s more: the link is lost */
	int64_t lock_timeout_ns;      /* the server's; 0: none */
	int64_t tcp_timeout_ns;	      /* tcp_user_timeout and keepalives: a dead network is noticed within it; 0: off */
	struct pg_meter *meter;	      /* counts; outlives the link; may be NULL */
};

struct pg_link_events {
	/* Connected and set up; again after each reconnect. */
	void (*on_up)(void *ctx);
	/* Lost (was_up), or an attempt failed. Called before the ops under way are answered. */
	void (*on_down)(void *ctx, struct err why, bool was_up);
	void (*on_notify)(void *ctx, const char *channel, const char *payload);
};

/* Begins to connect. INVALID_ARGUMENT: the DSN can't be parsed. Any event may be NULL. */
must_check struct err pg_link_new(struct loop *loop, const struct pg_link_config *config,
				  const struct pg_link_events *events, void *ctx, struct arena *errors,
				  struct pg_link **ret);
/* Ops not answered yet are dropped without callback. May be called from a callback. Accepts NULL. */
void pg_link_free(struct pg_link *l);
/*
 * Takes the op. Not connected, it waits for the connection as long as connect_timeout (unless pg_op_now()). Errors:
 * those of pg_err(), UNAVAILABLE when there is no connection, OUTCOME_UNKNOWN as said at pg_op_writes().
 */
void pg_link_submit(struct pg_link *l, struct pg_op *op, pg_done_fn *fn, void *ctx);
bool pg_link_ready(const struct pg_link *l);
/* Ops not answered yet. */
size_t pg_link_load(const struct pg_link *l);
/* How long the oldest op under way has waited for its answer, since all before it were answered; 0: none is. */
int64_t pg_link_waiting_ns(const struct pg_link *l);
/* Its connection is thought dead: ops under way end as when it is lost, and it is made anew. Does nothing when down. */
void pg_link_give_up(struct pg_link *l, const char *why);
/* The server process behind the present connection. */
int32_t pg_link_backend_pid(const struct pg_link *l);

/* ------------------------------------------------------------------ a pool of links, for reads */

must_check struct err pg_pool_new(struct loop *loop, const struct pg_link_config *config, size_t size,
				  struct arena *errors, struct pg_pool **ret);
void pg_pool_free(struct pg_pool *p);
/* To the link with the least to do. */
void pg_pool_submit(struct pg_pool *p, struct pg_op *op, pg_done_fn *fn, void *ctx);
/* Whether some link has fewer than `load` ops to answer. */
bool pg_pool_has_room(const struct pg_pool *p, size_t load);

/* ------------------------------------------------------------------ errors */

/* The one place that knows what an SQLSTATE means to us. Text: static or in the arena. */
must_check struct err pg_err(struct arena *a, const char *sqlstate, const char *message);
/* The connection that has this error is of no use any more (it may have become a standby's). */
bool pg_err_is_fatal(const char *sqlstate);

#endif
