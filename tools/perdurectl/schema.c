/*
 * perdurectl schema version, schema plan; and what the database has.
 */
#include "tools/perdurectl/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/store/schema.h"
#include "tools/perdurectl/schema_files.h"

static struct err check_row(struct ctl *c, int version, const char *sha256)
{
	if (version < 1 || (size_t)version > schema_file_count)
		return err_ok; /* a newer program's: the caller says so */
	const struct schema_file *f = &schema_files[version - 1];
	if (str_empty(sha256) || strcmp(f->sha256, sha256) == 0)
		return err_ok;
	return err_make(c->arena, ERR_FAILED_PRECONDITION,
			"the database was made with another %04d_%s.sql than this program's: a released file was "
			"changed, or this is another build's development database",
			f->version, f->name);
}

struct err schema_applied(struct ctl *c, int *ret_version)
{
	PGresult *r;
	*ret_version = 0;
	try(db_query(c, "SELECT to_regclass('schema_version')", NULL, 0, &r));
	bool exists = !PQgetisnull(r, 0, 0);
	PQclear(r);
	if (!exists)
		return err_ok;
	try(db_query(c, "SELECT version, sha256 FROM schema_version ORDER BY version", NULL, 0, &r));
	struct err e = err_ok;
	for (int i = 0; i < PQntuples(r) && !err_is(e); i++) {
		*ret_version = atoi(PQgetvalue(r, i, 0));
		e = check_row(c, *ret_version, PQgetvalue(r, i, 1));
	}
	PQclear(r);
	return e;
}

struct err schema_serves_us(struct ctl *c, bool *ret)
{
	PGresult *r;
	try(db_query(c, STORE_SCHEMA_SQL, NULL, 0, &r));
	*ret = store_schema_serves_us(atoi(PQgetvalue(r, 0, 0)), atoi(PQgetvalue(r, 0, 1)));
	PQclear(r);
	return err_ok;
}

bool schema_plan_serves(int version)
{
	for (size_t i = 0; i < schema_file_count; i++)
		if (schema_files[i].version > version && schema_files[i].serves_from > version)
			return false;
	return true;
}

/* ------------------------------------------------------------------ schema version */

static struct err run_version(struct ctl *c, const char *const *values)
{
	(void)values;
	int version;
	bool serves = false;
	try(schema_applied(c, &version));
	int known = (int)schema_file_count;
	if (version > known)
		try(schema_serves_us(c, &serves));
	if (version != known)
		c->exit = CTL_EXIT_DIFFERS;
	if (!c->json)
		printf("database: %d\nprogram:  %d\n%s", version, known,
		       version < known	  ? "run 'perdurectl schema migrate'\n"
		       : version == known ? ""
		       : serves		  ? "the database is newer, and serves this program\n"
					  : "the database is newer than this program can work with\n");
	ctl_print_json(c, json_pack("{s:i, s:i, s:b, s:b}", "database", version, "program", known, "equal",
				    version == known, "usable", version == known || serves));
	return err_ok;
}

const struct ctl_command ctl_schema_version = {
	.path = "schema version",
	.summary = "Which schema the database has, and which one this program needs",
	.details = "Ends with status 3 when they differ.",
	.examples = "perdurectl schema version\nperdurectl --dsn 'host=db dbname=perdure' --json schema version",
	.run = run_version,
};

/* ------------------------------------------------------------------ schema wait */

#define PAUSE_S	   1
#define TELL_EVERY 15 /* looks */

/* Whether this program can work with the database as it is now; an error: not yet, or never (FAILED_PRECONDITION). */
static struct err usable(struct ctl *c)
{
	int version, known = (int)schema_file_count;
	try(ctl_connect(c));
	try(schema_applied(c, &version));
	if (version < known)
		return err_make(c->arena, ERR_UNAVAILABLE, "the database has schema version %d, this program needs %d",
				version, known);
	if (version == known)
		return err_ok;
	bool serves;
	try(schema_serves_us(c, &serves));
	return serves ? err_ok
		      : err_make(c->arena, ERR_FAILED_PRECONDITION,
				 "the database has schema version %d, which does not serve programs as old as this one",
				 version);
}

static struct err say_usable(struct ctl *c)
{
	int version;
	try(schema_applied(c, &version));
	if (!c->json)
		printf("the database has schema version %d, which this program can work with\n", version);
	ctl_print_json(c, json_pack("{s:i, s:i, s:b}", "database", version, "program", (int)schema_file_count, "usable",
				    true));
	return err_ok;
}

/* A database that is out of reach is waited for as well: the pods of a cluster start in any order. */
static struct err run_wait(struct ctl *c, const char *const *values)
{
	struct err e;
	struct timespec now;
	try(ctl_check_timeout(c, values[0]));
	clock_gettime(CLOCK_BOOTTIME, &now);
	const double until = values[0] ? (double)now.tv_sec + strtod(values[0], NULL) : INFINITY;
	for (unsigned looks = 0;; looks++) {
		e = usable(c);
		if (!err_is(e))
			return say_usable(c);
		clock_gettime(CLOCK_BOOTTIME, &now);
		if (e.code == ERR_FAILED_PRECONDITION || (double)now.tv_sec >= until)
			return e;
		if (looks % TELL_EVERY == 0)
			fprintf(stderr, "waiting: %s\n", e.message);
		if (c->db && PQstatus(c->db) != CONNECTION_OK) {
			PQfinish(c->db);
			c->db = NULL;
		}
		arena_reset(c->arena);
		sleep(PAUSE_S);
	}
}

const struct ctl_command ctl_schema_wait = {
	.path = "schema wait",
	.offline = true,
	.summary = "Wait until the database has a schema that this program can work with",
	.details = "For what must start after 'schema migrate', such as an init container. Ends with status 0 then, "
		   "and with "
		   "status 1 where it never will\n(the database's schema is too new for this program) or it hasn't "
		   "come by --timeout.",
	.examples = "perdurectl schema wait && perdure-history --config perdure.yaml\n"
		    "perdurectl schema wait --timeout 60",
	.options = {{"timeout", "SECONDS", "how long to wait (default: for ever)"}},
	.run = run_wait,
};

/* ------------------------------------------------------------------ schema plan */

static struct err run_plan(struct ctl *c, const char *const *values)
{
	int version;
	try(schema_applied(c, &version));
	json_t *list = json_array();
	for (size_t i = 0; i < schema_file_count; i++) {
		const struct schema_file *f = &schema_files[i];
		if (f->version <= version)
			continue;
		json_array_append_new(list, json_pack("{s:i, s:s, s:i, s:s}", "version", f->version, "name", f->name,
						      "serves_from", f->serves_from, "sql", f->sql));
		if (c->json)
			continue;
		printf("%s%04d_%s\n", values[0] ? "-- " : "", f->version, f->name);
		if (values[0])
			printf("\n%s\n", f->sql);
	}
	if (!c->json && version >= (int)schema_file_count)
		puts("nothing to do");
	else if (!c->json && version > 0)
		printf("%s%s\n", values[0] ? "-- " : "",
		       schema_plan_serves(version) ? "nodes that run on the present schema may go on, and restart: "
						     "upgrade them one by one after"
						   : "nodes that run on the present schema must be stopped first");
	ctl_print_json(c, list);
	return err_ok;
}

const struct ctl_command ctl_schema_plan = {
	.path = "schema plan",
	.summary = "What 'schema migrate' would do",
	.details = "Says as well whether the nodes that run now may go on, so that they can be upgraded one by one.",
	.examples = "perdurectl schema plan\nperdurectl schema plan --sql | less",
	.options = {{"sql", NULL, "print the statements"}},
	.run = run_plan,
};
