/*
 * What an SQLSTATE means to us.
 */
#include "common/pg/pg.h"

struct meaning {
	const char *prefix; /* of the SQLSTATE: a class, or all five characters */
	enum err_code code;
	enum err_reason reason;
};

/* The first match counts: whole states before their class. */
static const struct meaning meanings[] = {
	{"PD001", ERR_ABORTED, ERR_REASON_FENCED},	     /* ours: shard_fence() in the schema */
	{"40", ERR_ABORTED, ERR_REASON_NONE},		     /* serialization failure, deadlock: run it again */
	{"55P03", ERR_ABORTED, ERR_REASON_NONE},	     /* lock_timeout */
	{"55006", ERR_ABORTED, ERR_REASON_NONE},	     /* object in use */
	{"23505", ERR_ALREADY_EXISTS, ERR_REASON_NONE},	     /* unique violation */
	{"57014", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* statement_timeout, or cancelled by an administrator */
	{"57", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* shutdown, crash, starting up */
	{"08", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* connection */
	{"53", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* out of memory, disk or connections */
	{"25006", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* read only: this is a standby now */
	{"28", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* not let in */
	{"3D000", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* no such database */
	{"58", ERR_UNAVAILABLE, ERR_REASON_NONE},	     /* the server's files */
	{"22021", ERR_INVALID_ARGUMENT, ERR_REASON_NONE},    /* not UTF-8, or a NUL in a text */
	{"42P01", ERR_FAILED_PRECONDITION, ERR_REASON_NONE}, /* no such table */
};

struct err pg_err(struct arena *a, const char *sqlstate, const char *message)
{
	struct err e = {.code = ERR_INTERNAL};
	for (size_t i = 0; i < array_len(meanings); i++) {
		const struct meaning *m = &meanings[i];
		if (strncmp(sqlstate, m->prefix, strlen(m->prefix)) == 0) {
			e.code = m->code;
			e.reason = m->reason;
			break;
		}
	}
	e.message = arena_printf(a, "database: %s (%s)", message, sqlstate);
	return e;
}

bool pg_err_is_fatal(const char *sqlstate)
{
	return strcmp(sqlstate, "25006") == 0;
}
