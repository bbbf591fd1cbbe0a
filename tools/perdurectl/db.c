/*
 * PostgreSQL for a command-line program: one connection, calls that wait.
 */
#include <stdlib.h>

#include "common/pg/pg.h"
#include "common/store/schema.h"
#include "tools/perdurectl/ctl.h"

static struct err failed(struct ctl *c, const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE),
		   *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	if (!state)
		return err_make(c->arena, ERR_UNAVAILABLE, "database: %s", PQerrorMessage(c->db));
	return pg_err(c->arena, state, text ? text : "no message");
}

static bool good(const PGresult *r)
{
	ExecStatusType s = PQresultStatus(r);
	return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK;
}

struct err ctl_connect(struct ctl *c)
{
	const char *keys[] = {"application_name", "connect_timeout", "dbname", "client_encoding", NULL};
	const char *values[] = {"perdurectl", "10", c->settings->database_dsn, "UTF8", NULL};
	if (c->db)
		return err_ok;
	c->db = PQconnectdbParams(keys, values, 1);
	if (PQstatus(c->db) == CONNECTION_OK)
		return err_ok;
	return err_make(c->arena, ERR_UNAVAILABLE, "database: %s", PQerrorMessage(c->db));
}

struct err db_query(struct ctl *c, const char *sql, const char *const *params, int param_count, PGresult **ret)
{
	PGresult *r = PQexecParams(c->db, sql, param_count, NULL, params, NULL, NULL, 0);
	if (good(r)) {
		*ret = r;
		return err_ok;
	}
	struct err e = failed(c, r);
	PQclear(r);
	return e;
}

struct err db_exec(struct ctl *c, const char *sql)
{
	PGresult *r = PQexec(c->db, sql);
	struct err e = good(r) ? err_ok : failed(c, r);
	PQclear(r);
	return e;
}

struct err db_require_schema(struct ctl *c)
{
	PGresult *r;
	try(db_query(c, "SELECT to_regclass('schema_version')", NULL, 0, &r));
	bool exists = !PQgetisnull(r, 0, 0);
	PQclear(r);
	int version = 0, serves_from = 0;
	if (exists) {
		try(db_query(c, STORE_SCHEMA_SQL, NULL, 0, &r));
		version = atoi(PQgetvalue(r, 0, 0));
		serves_from = atoi(PQgetvalue(r, 0, 1));
		PQclear(r);
	}
	if (store_schema_serves_us(version, serves_from))
		return err_ok;
	return err_make(c->arena, ERR_FAILED_PRECONDITION,
			"the database schema is version %d, this program needs %d: run 'perdurectl schema migrate'",
			version, STORE_SCHEMA_VERSION);
}

struct bytes db_bytea(struct ctl *c, const PGresult *r, int row, int col)
{
	size_t len = 0;
	unsigned char *raw = PQunescapeBytea((const unsigned char *)PQgetvalue(r, row, col), &len);
	struct bytes copy = arena_copy(c->arena, bytes_of(raw, raw ? len : 0));
	PQfreemem(raw);
	return copy;
}

const char *db_bytea_text(struct ctl *c, struct bytes v)
{
	char *text = arena_alloc(c->arena, 2 * v.len + 3), *at = text;
	*at++ = '\\';
	*at++ = 'x';
	for (size_t i = 0; i < v.len; i++) {
		*at++ = "0123456789abcdef"[v.data[i] >> 4];
		*at++ = "0123456789abcdef"[v.data[i] & 15];
	}
	return text;
}
