/*
 * Ops and links from the inside. For common/pg only.
 */
#ifndef COMMON_PG_PG_IMPL_H
#define COMMON_PG_PG_IMPL_H

#include <uthash.h>
#include <utlist.h>

#include "common/loop/loop.h"
#include "common/mem/arena.h"
#include "common/pg/pg.h"
#include "common/pg/pg_hosts.h"
#include "common/pg/pg_meter.h"

#define PG_PARAMS_MAX 20

struct pg_query {
	const struct pg_stmt *stmt; /* NULL: text */
	const char *sql;
	int param_count;
	const char *values[PG_PARAMS_MAX];
	int lengths[PG_PARAMS_MAX];
	int formats[PG_PARAMS_MAX];
	Oid types[PG_PARAMS_MAX];
	struct pg_query *next;
};

/* Grows in its buffer until it is filled; the query's value points there when it is sent. */
struct pg_array {
	struct buf data;
	struct pg_query *query;
	int param;
	size_t left;
	struct pg_array *next;
};

struct pg_op {
	struct arena *arena;
	struct pg_query *queries, *last;
	size_t query_count;
	struct pg_array *arrays;
	bool writes;
	bool now;

	/* The link's: */
	pg_done_fn *fn;
	void *ctx;
	bool prepares; /* internal: the first query is to be prepared */
	int64_t submitted_ns;
	int64_t since_ns;	  /* submitted, or become the first of those under way */
	const PGresult **results; /* of the statements answered so far */
	size_t answered;
	bool in_result; /* the statement has answered, its end hasn't come */
	struct err e;
	char sqlstate[6];
	struct pg_op *prev, *next;
};

/* Points each array parameter at its buffer; every array must be full. */
void pg_op_seal(struct pg_op *op);

/* ------------------------------------------------------------------ links */

/*
 * CONNECTING → SETUP → READY; from each, when the connection is lost or can't be made, WAITING, and after a pause
 * CONNECTING again.
 */
enum link_state { LINK_WAITING, LINK_CONNECTING, LINK_SETUP, LINK_READY };

struct pg_prepared {
	const struct pg_stmt *stmt;
	UT_hash_handle hh;
};

struct pg_link {
	struct loop *loop;
	struct env *env;
	struct pg_link_config config; /* strings owned */
	struct pg_hosts hosts;
	struct pg_link_events events;
	void *ctx;

	enum link_state state;
	PGconn *conn; /* NULL while waiting */
	struct loop_poll *poll;
	bool writing; /* libpq has more to write than the socket took */
	int32_t backend_pid;
	struct pg_prepared *prepared;
	char *prepare_error; /* why the last statement that couldn't be prepared could not; NULL: none yet */
	char *lost_why;	     /* set: the connection is of no use any more, `lost` is on its way */
	int attempts;	     /* since it last was up */

	struct pg_op *queued;  /* for a connection to come */
	struct pg_op *sent;    /* under way, in order */
	struct pg_op *failing; /* to be told that the connection was lost */
	size_t load;

	struct env_timer timer; /* the attempt's timeout, or the pause before the next */
	struct env_timer watch; /* due when the oldest op may be late */
	struct env_task flush;
	struct env_task lost;
	int calling; /* callbacks on the stack: the memory stays until they return */
	bool dead;
};

/* pg_pipe.c: an op's way through the connection */

/* Hands the op to libpq and puts it among those under way. */
void pg_pipe_send(struct pg_link *l, struct pg_op *op);
/* Reads what has arrived and answers what is complete. */
void pg_pipe_read(struct pg_link *l);
/* Writes what libpq has gathered. */
void pg_pipe_flush(struct pg_link *l);
/* Calls the op's callback with what it has, and frees it. It is in no list any more. */
void pg_pipe_answer(struct pg_link *l, struct pg_op *op);
void pg_pipe_forget_prepared(struct pg_link *l);

/* pg_link.c */

/* The connection is of no use any more; what follows from it comes on the next turn. */
void pg_link_broken(struct pg_link *l, const char *why);

#endif
