/*
 * An op's way through a connection: prepared where needed, sent up to its sync, its results gathered, answered.
 *
 * Each op is an implicit transaction: PostgreSQL commits at the sync, so nothing counts as done before the sync's own
 * answer has come. An error answer to one of the statements means that all was rolled back, for certain; a connection
 * that ends without either leaves the outcome unknown.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/pg/pg_impl.h"

/* ------------------------------------------------------------------ sending */

static bool is_prepared(const struct pg_link *l, const struct pg_stmt *stmt)
{
	struct pg_prepared *p;
	HASH_FIND_PTR(l->prepared, &stmt, p);
	return p;
}

static void set_prepared(struct pg_link *l, const struct pg_stmt *stmt, bool yes)
{
	struct pg_prepared *p;
	HASH_FIND_PTR(l->prepared, &stmt, p);
	if (yes && !p) {
		p = new0(struct pg_prepared);
		p->stmt = stmt;
		HASH_ADD_PTR(l->prepared, stmt, p);
	} else if (!yes && p) {
		HASH_DEL(l->prepared, p);
		free(p);
	}
}

void pg_pipe_forget_prepared(struct pg_link *l)
{
	struct pg_prepared *p, *tmp;
	HASH_ITER (hh, l->prepared, p, tmp) {
		HASH_DEL(l->prepared, p);
		free(p);
	}
}

static void under_way(struct pg_link *l, struct pg_op *op)
{
	if (!l->sent)
		op->since_ns = env_mono_ns(l->env);
	op->results = arena_array(op->arena, const PGresult *, op->query_count);
	DL_APPEND(l->sent, op);
}

/* With a sync of its own, so that it holds whatever becomes of the ops behind it. */
static bool send_prepare(struct pg_link *l, const struct pg_query *q)
{
	struct pg_op *op = pg_op_new();
	pg_op_add(op, q->stmt);
	op->prepares = true;
	under_way(l, op);
	l->load++;
	set_prepared(l, q->stmt, true);
	return PQsendPrepare(l->conn, q->stmt->name, q->stmt->sql, q->param_count, q->types) && PQpipelineSync(l->conn);
}

static bool send_query(struct pg_link *l, const struct pg_query *q)
{
	if (q->stmt)
		return PQsendQueryPrepared(l->conn, q->stmt->name, q->param_count, q->values, q->lengths, q->formats,
					   1);
	return PQsendQueryParams(l->conn, q->sql, q->param_count, q->types, q->values, q->lengths, q->formats, 1);
}

void pg_pipe_send(struct pg_link *l, struct pg_op *op)
{
	pg_op_seal(op);
	bool ok = true;
	for (const struct pg_query *q = op->queries; q && ok; q = q->next)
		if (q->stmt && !is_prepared(l, q->stmt))
			ok = send_prepare(l, q);
	under_way(l, op);
	for (const struct pg_query *q = op->queries; q && ok; q = q->next)
		ok = send_query(l, q);
	if (ok)
		ok = PQpipelineSync(l->conn);
	if (!ok)
		pg_link_broken(l, PQerrorMessage(l->conn));
	env_defer(l->env, &l->flush);
}

void pg_pipe_flush(struct pg_link *l)
{
	int left = PQflush(l->conn);
	if (left < 0)
		pg_link_broken(l, PQerrorMessage(l->conn));
	bool writing = left > 0;
	if (writing != l->writing && l->poll)
		loop_poll_set(l->poll, true, writing);
	l->writing = writing;
}

/* ------------------------------------------------------------------ answering */

void pg_pipe_answer(struct pg_link *l, struct pg_op *op)
{
	l->load--;
	if (op->prepares) {
		if (err_is(op->e)) {
			set_prepared(l, op->queries->stmt, false);
			free(l->prepare_error);
			l->prepare_error = mem_strdup(op->e.message);
		}
	} else {
		struct pg_done d = {.e = op->e};
		memcpy(d.sqlstate, op->sqlstate, sizeof d.sqlstate);
		if (!err_is(op->e)) {
			d.rows = op->results;
			d.count = op->answered;
		}
		pg_meter_ended(l->config.meter, op->queries->stmt, env_mono_ns(l->env) - op->submitted_ns, op->e.code);
		l->calling++;
		op->fn(op->ctx, &d);
		l->calling--;
	}
	pg_op_free(op);
}

/* The sync's answer: the op is complete. */
static void complete(struct pg_link *l, struct pg_op *op)
{
	if (!err_is(op->e) && op->answered < op->query_count) {
		pg_link_broken(l, "results are missing");
		return;
	}
	DL_DELETE(l->sent, op);
	if (l->sent)
		l->sent->since_ns = env_mono_ns(l->env);
	if (pg_err_is_fatal(op->sqlstate))
		pg_link_broken(l, "the server is read only");
	pg_pipe_answer(l, op);
}

static void take_error(struct pg_link *l, struct pg_op *op, const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	if (!state || (op->answered == op->query_count && !op->in_result)) {
		/* libpq's own: the connection is gone. Or an error where the sync's answer was due. */
		pg_link_broken(l, PQresultErrorMessage(r));
		return;
	}
	op->in_result = true;
	if (err_is(op->e))
		return;
	const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	snprintf(op->sqlstate, sizeof op->sqlstate, "%s", state);
	/* "prepared statement does not exist" says little: the one before says why. */
	if (strcmp(state, "26000") == 0 && l->prepare_error)
		op->e = err_make(op->arena, ERR_INTERNAL, "%s", l->prepare_error);
	else
		op->e = pg_err(op->arena, op->sqlstate, text ? text : "no message");
}

/* One result of the first op under way; NULL ends a statement. */
static void take(struct pg_link *l, PGresult *r)
{
	struct pg_op *op = l->sent;
	if (!r) {
		if (!op->in_result)
			pg_link_broken(l, "a statement ended without a result");
		op->in_result = false;
		return;
	}
	ExecStatusType status = PQresultStatus(r);
	if (status == PGRES_PIPELINE_SYNC) {
		PQclear(r);
		complete(l, op);
	} else if ((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) && op->answered < op->query_count) {
		op->results[op->answered++] = r;
		op->in_result = true;
	} else if (status == PGRES_PIPELINE_ABORTED) {
		op->in_result = true;
		PQclear(r);
	} else {
		take_error(l, op, r);
		PQclear(r);
	}
}

static void read_notifications(struct pg_link *l)
{
	PGnotify *n;
	while (!l->dead && l->conn && (n = PQnotifies(l->conn))) {
		l->calling++;
		if (l->events.on_notify)
			l->events.on_notify(l->ctx, n->relname, n->extra);
		l->calling--;
		PQfreemem(n);
	}
}

void pg_pipe_read(struct pg_link *l)
{
	/* What arrived before the end still counts, so its end is looked at last. */
	bool alive = PQconsumeInput(l->conn);
	while (!l->dead && !l->lost_why && l->sent && !PQisBusy(l->conn))
		take(l, PQgetResult(l->conn));
	if (!l->dead && !l->lost_why)
		read_notifications(l);
	if (!l->dead && !l->lost_why && !alive)
		pg_link_broken(l, PQerrorMessage(l->conn));
}
