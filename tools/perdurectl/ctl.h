/*
 * perdurectl from the inside: the subcommands and what they share.
 *
 * A subcommand is one file with a `struct ctl_command` that the table in commands.c names. It is called with a
 * connection, prints its result to stdout, as text or (ctl->json) as one JSON value, and returns an error or err_ok.
 */
#ifndef TOOLS_PERDURECTL_CTL_H
#define TOOLS_PERDURECTL_CTL_H

#include <jansson.h>
#include <libpq-fe.h>

#include "common/config/settings.h"
#include "common/err/err.h"

/* How the program ends. */
enum ctl_exit {
	CTL_EXIT_OK = 0,
	CTL_EXIT_FAILED = 1, /* the text on stderr says why */
	CTL_EXIT_USAGE = 2,
	CTL_EXIT_DIFFERS = 3, /* it was asked for a state, and it isn't so (schema version) */
};

struct ctl {
	PGconn *db;
	struct arena *arena; /* for the whole run; errors too */
	const struct settings *settings;
	bool json;
	enum ctl_exit exit; /* a command that succeeds may still set DIFFERS */
};

struct ctl_option {
	const char *name;     /* "shards": given as --shards N or --shards=N */
	const char *argument; /* "N"; NULL: a switch */
	const char *help;
};

#define CTL_OPTIONS_MAX 8

struct ctl_command {
	const char *path;    /* "schema migrate" */
	const char *summary; /* one line */
	const char *details; /* paragraphs for --help; may be NULL */
	const char *examples;
	struct ctl_option options[CTL_OPTIONS_MAX]; /* ends with a NULL name */
	/* values: one an option, NULL when not given; a switch that is given has "". */
	struct err (*run)(struct ctl *c, const char *const *values);
};

extern const struct ctl_command *const ctl_commands[];
extern const size_t ctl_command_count;

extern const struct ctl_command ctl_schema_version, ctl_schema_plan, ctl_schema_migrate, ctl_namespace_list,
	ctl_cluster;

/* ------------------------------------------------------------------ the database (db.c) */

/* text parameters ($1, …; NULL: null) and results; *ret to be PQclear()ed. */
must_check struct err db_query(struct ctl *c, const char *sql, const char *const *params, int param_count,
			       PGresult **ret);
/* Any number of statements. */
must_check struct err db_exec(struct ctl *c, const char *sql);
/* FAILED_PRECONDITION unless the schema is the one this program knows. */
must_check struct err db_require_schema(struct ctl *c);
/* Bytes of a bytea column in text format; in the arena. */
struct bytes db_bytea(struct ctl *c, const PGresult *r, int row, int col);
/* The text form of bytes, for a bytea parameter. */
const char *db_bytea_text(struct ctl *c, struct bytes v);

/* ------------------------------------------------------------------ output (print.c) */

/* Prints and frees it, when ctl->json; else only frees. */
void ctl_print_json(struct ctl *c, json_t *value);
/* Rows of columns, aligned; the first row is the heading. cells: rows × columns. */
void ctl_print_table(const char *const *cells, size_t rows, size_t columns);
/* "3 days", "1h30m" */
const char *ctl_duration(struct ctl *c, int64_t ns);
/* RFC 3339, UTC */
const char *ctl_time(struct ctl *c, int64_t ns);

#endif
