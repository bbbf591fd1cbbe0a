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
	CTL_EXIT_FAILED = 1,  /* the text on stderr says why */
	CTL_EXIT_USAGE = 2,   /* the words of the command line are wrong (INVALID_ARGUMENT too); nothing was done */
	CTL_EXIT_DIFFERS = 3, /* it was asked for a state, and it isn't so (schema version) */
};

struct ctl {
	PGconn *db;
	struct arena *arena; /* for the whole run; errors too */
	const struct settings *settings;
	bool json;
	const char *const *args; /* of the command; those that are not given are NULL */
	enum ctl_exit exit;	 /* a command that succeeds may still set DIFFERS */
};

struct ctl_option {
	const char *name;     /* "shards": given as --shards N or --shards=N */
	const char *argument; /* "N"; NULL: a switch */
	const char *help;
	bool required;
};

#define CTL_OPTIONS_MAX 8
#define CTL_ARGS_MAX	16

struct ctl_command {
	const char *path;      /* "schema migrate" */
	const char *arguments; /* "NAMESPACE WORKFLOW_ID [RUN_ID]"; NULL: none */
	int args_min, args_max;
	bool offline;	     /* needs no database */
	const char *summary; /* one line */
	const char *details; /* paragraphs for --help; may be NULL */
	const char *examples;
	struct ctl_option options[CTL_OPTIONS_MAX]; /* ends with a NULL name */
	/* values: one an option, NULL when not given; a switch that is given has "". */
	struct err (*run)(struct ctl *c, const char *const *values);
};

extern const struct ctl_command *const ctl_commands[];
extern const size_t ctl_command_count;

extern const struct ctl_command ctl_schema_version, ctl_schema_wait, ctl_schema_plan, ctl_schema_migrate,
	ctl_namespace_list, ctl_namespace_show, ctl_cluster, ctl_node_list, ctl_node_show, ctl_node_drain,
	ctl_node_undrain, ctl_shard_list, ctl_shard_show, ctl_shard_move, ctl_shard_unpin, ctl_workflow_show,
	ctl_workflow_why, ctl_workflow_history, ctl_workflow_journal, ctl_queue_list, ctl_queue_show, ctl_config_show,
	ctl_config_set, ctl_config_unset, ctl_config_history, ctl_cert_make, ctl_cert_show, ctl_cert_rotate, ctl_audit,
	ctl_completion;

/* ------------------------------------------------------------------ the database (db.c) */

/* For commands that are offline unless asked otherwise; once is enough. */
must_check struct err ctl_connect(struct ctl *c);
/* text parameters ($1, …; NULL: null) and results; *ret to be PQclear()ed. */
must_check struct err db_query(struct ctl *c, const char *sql, const char *const *params, int param_count,
			       PGresult **ret);
/* Any number of statements. */
must_check struct err db_exec(struct ctl *c, const char *sql);
/* FAILED_PRECONDITION unless the schema is the one this program knows. */
must_check struct err db_require_schema(struct ctl *c);
/* The shard's number as text, for a parameter: INVALID_ARGUMENT, it is no number. (shard.c) */
must_check struct err ctl_shard_number(struct ctl *c, const char *text, const char **ret);
/* Bytes of a bytea column in text format; in the arena. */
struct bytes db_bytea(struct ctl *c, const PGresult *r, int row, int col);
/* The text form of bytes, for a bytea parameter. */
const char *db_bytea_text(struct ctl *c, struct bytes v);

/* The id of a namespace given by its name; NOT_FOUND. (namespace_list.c) */
must_check struct err ctl_namespace_id(struct ctl *c, const char *name, const char **ret_id);

/* ------------------------------------------------------------------ nodes (nodes.c) */

struct ctl_node {
	const char *node_id, *role, *address, *http_address, *version;
	/* "live"; "draining": an operator said so; "ending": it drains by itself, to end; "expired": not renewed for
	 * the lease; "dead": declared so, its shards are claimed; "absent": told to drain, and not there */
	const char *state;
	bool dead;     /* not to be asked anything: expired, dead or absent */
	bool draining; /* whatever for */
	bool told_to_drain;
	const char *told_by;
	int64_t told_ns;
	const char *age; /* seconds since its last renewal */
	int shards, pins;
};

/* role NULL: all, those included that are told to drain and absent. */
must_check struct err ctl_nodes(struct ctl *c, const char *role, struct ctl_node **ret, size_t *ret_count);
must_check struct err ctl_node(struct ctl *c, const char *node_id, struct ctl_node *ret);
json_t *ctl_node_json(const struct ctl_node *n);
void ctl_print_nodes(struct ctl *c, const struct ctl_node *nodes, size_t count);

struct ctl_edge_load {
	int64_t polls, connections;
	bool listening; /* still takes clients */
};
/* Of a frontend or worker-gateway. */
must_check struct err ctl_edge_load(struct ctl *c, const struct ctl_node *n, struct ctl_edge_load *ret);

/* ------------------------------------------------------------------ the daemons (http.c) */

/* GET; the body is in the arena. */
must_check struct err ctl_http(struct ctl *c, const char *address, const char *path, long *ret_status,
			       struct bytes *ret);
/* *ret to be json_decref()ed. NOT_FOUND; UNAVAILABLE, with ERR_REASON_NOT_OWNER when it doesn't serve the shard. */
must_check struct err ctl_http_json(struct ctl *c, const char *address, const char *path, json_t **ret);
/* The answers of all live nodes of a role, as a list; those that don't answer are named on stderr. */
json_t *ctl_ask_nodes(struct ctl *c, const char *role, const char *path, struct err *ret_err);
/* Partitions of queues, of all matching nodes; query "" or "?name=…". (queue.c) */
json_t *ctl_queues(struct ctl *c, const char *query, struct err *ret_err);
/* For a URL's query. */
const char *ctl_escape(struct ctl *c, const char *text);

/* ------------------------------------------------------------------ asking (confirm.c) */

/* The switch that commands which ask have among their options. */
#define CTL_OPTION_YES                                                                                                 \
	{                                                                                                              \
		"yes", NULL, "don't ask"                                                                               \
	}
/*
 * Before anything destructive: asks "WHAT. Go on? [y/N]" on a terminal; elsewhere --yes must have been given. `yes` is
 * that option's value; what: a sentence without its full stop that says what would happen. An error: don't.
 */
must_check struct err ctl_confirm(struct ctl *c, const char *yes, const char *what);

/* Who does it, for what is recorded: user@host. (confirm.c) */
const char *ctl_operator(struct ctl *c);

/* ------------------------------------------------------------------ waiting (wait.c) */

/* Options of commands that wait. */
#define CTL_OPTION_NO_WAIT                                                                                             \
	{                                                                                                              \
		"no-wait", NULL, "don't wait until it has happened"                                                    \
	}
#define CTL_OPTION_TIMEOUT                                                                                             \
	{                                                                                                              \
		"timeout", "SECONDS", "how long to wait (default 120)"                                                 \
	}

/* INVALID_ARGUMENT: no number of seconds. To be asked before anything is done. */
must_check struct err ctl_check_timeout(struct ctl *c, const char *timeout);
/*
 * Looks again and again until *ret_done, for that many seconds (text; NULL: the default), and shows on stderr how far
 * it is: *ret_how, in the arena of that look. Answers how long it took. DEADLINE_EXCEEDED says how far it got.
 */
typedef struct err ctl_look_fn(struct ctl *c, void *ctx, bool *ret_done, const char **ret_how);
must_check struct err ctl_wait(struct ctl *c, const char *timeout, ctl_look_fn *look, void *ctx, double *ret_seconds);

/* ------------------------------------------------------------------ output (print.c, pb_json.c) */

json_t *ctl_pb_json(struct ctl *c, const ProtobufCMessage *m);

/* Prints and frees it, when ctl->json; else only frees. */
void ctl_print_json(struct ctl *c, json_t *value);
/* Rows of columns, aligned; the first row is the heading. cells: rows × columns. */
void ctl_print_table(const char *const *cells, size_t rows, size_t columns);
/* "3 days", "1h30m" */
const char *ctl_duration(struct ctl *c, int64_t ns);
/* RFC 3339, UTC */
const char *ctl_time(struct ctl *c, int64_t ns);

#endif
