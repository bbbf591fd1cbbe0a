/*
 * perdurectl schema migrate: applies the files that the database lacks, and makes the cluster in an empty one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include <perdure/namespace.pb-c.h>

#include "tools/perdurectl/schema.h"
#include "tools/perdurectl/schema_files.h"

#define SERVER_VERSION_MIN    140000 /* pg_terminate_backend with a timeout, DETACH … CONCURRENTLY */
#define NAMESPACE_REGISTERED  1	     /* temporal.api.enums.v1.NamespaceState */
#define DEFAULT_RETENTION_NS  (24 * 3600 * NS_PER_S)
#define SYSTEM_RETENTION_NS   (7 * 24 * 3600 * NS_PER_S)
#define SYSTEM_NAMESPACE_ID   "32049b68-7872-4094-8e63-d0dd59896a83"
#define SYSTEM_NAMESPACE_NAME "temporal-system"
#define SHARDS_MAX	      16384
#define LOCK_TRIES	      120
#define LOCK_PAUSE_S	      2

enum { OPT_SHARDS, OPT_NO_DEFAULT_NAMESPACE };

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static const char *new_uuid(struct ctl *c)
{
	uint8_t b[16];
	if (getrandom(b, sizeof b, 0) != sizeof b)
		abort();
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	return arena_printf(c->arena, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
			    b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
			    b[15]);
}

/* Of a statement whose rows don't matter. */
static struct err run_params(struct ctl *c, const char *sql, const char *const *params, int count)
{
	PGresult *r;
	try(db_query(c, sql, params, count, &r));
	PQclear(r);
	return err_ok;
}

/* ------------------------------------------------------------------ before */

static struct err check_server(struct ctl *c)
{
	if (PQserverVersion(c->db) < SERVER_VERSION_MIN)
		return err_make(c->arena, ERR_FAILED_PRECONDITION, "PostgreSQL %d is too old: 14 or newer is needed",
				PQserverVersion(c->db) / 10000);
	const char *encoding = PQparameterStatus(c->db, "server_encoding");
	if (!encoding || strcmp(encoding, "UTF8") != 0)
		return err_make(c->arena, ERR_FAILED_PRECONDITION, "the database's encoding is %s: UTF8 is needed",
				encoding ? encoding : "unknown");
	return err_ok;
}

static struct err parse_shards(struct ctl *c, const char *text, int64_t *ret)
{
	*ret = c->settings->cluster_shards;
	if (!text)
		return err_ok;
	char *end;
	long n = strtol(text, &end, 10);
	if (*end || n < 1 || n > SHARDS_MAX)
		return err_make(c->arena, ERR_INVALID_ARGUMENT, "--shards %s: expected a number from 1 to %d", text,
				SHARDS_MAX);
	*ret = n;
	return err_ok;
}

/* ------------------------------------------------------------------ the files */

/* While it waits for a table's lock, everybody else who wants that table waits behind it: so it never waits long. */
static struct err try_file(struct ctl *c, const struct schema_file *f)
{
	char version[16], serves_from[16];
	snprintf(version, sizeof version, "%d", f->version);
	snprintf(serves_from, sizeof serves_from, "%d", f->serves_from);
	const char *params[] = {version, f->name, f->sha256, serves_from};
	try(db_exec(c, "BEGIN; SET LOCAL lock_timeout = '200ms'"));
	struct err e = db_exec(c, f->sql);
	if (!err_is(e))
		e = run_params(
			c, "INSERT INTO schema_version (version, name, sha256, serves_from) VALUES ($1, $2, $3, $4)",
			params, 4);
	if (!err_is(e))
		e = db_exec(c, "COMMIT");
	if (!err_is(e))
		return err_ok;
	struct err undone = db_exec(c, "ROLLBACK");
	(void)undone; /* the first error is the one to tell */
	return err_make(c->arena, e.code, "%04d_%s: %s", f->version, f->name, e.message);
}

static struct err apply_file(struct ctl *c, const struct schema_file *f)
{
	struct err e = try_file(c, f);
	for (int i = 1; e.code == ERR_ABORTED && i < LOCK_TRIES; i++) {
		if (i == 1)
			fprintf(stderr,
				"perdurectl: %04d_%s waits for a transaction that uses the tables (a backup?)\n",
				f->version, f->name);
		struct timespec pause = {.tv_sec = LOCK_PAUSE_S};
		nanosleep(&pause, NULL);
		e = try_file(c, f);
	}
	return e;
}

static struct err apply_files(struct ctl *c, int from, json_t *applied)
{
	for (size_t i = (size_t)from; i < schema_file_count; i++) {
		try(apply_file(c, &schema_files[i]));
		json_array_append_new(applied, json_integer(schema_files[i].version));
		if (!c->json)
			printf("applied %04d_%s\n", schema_files[i].version, schema_files[i].name);
	}
	return err_ok;
}

/* ------------------------------------------------------------------ the cluster */

/* Nothing when there is one of this name. */
static struct err make_namespace(struct ctl *c, Perdure__NamespaceRecord *n)
{
	n->state = NAMESPACE_REGISTERED;
	n->created_time_ns = now_ns();
	size_t len = perdure__namespace_record__get_packed_size(n);
	uint8_t *packed = arena_alloc(c->arena, len);
	perdure__namespace_record__pack(n, packed);
	const char *params[] = {n->id, n->name, db_bytea_text(c, bytes_of(packed, len))};
	return run_params(c,
			  "INSERT INTO namespace (id, name, version, info) VALUES ($1, $2, 1, $3::bytea) "
			  "ON CONFLICT DO NOTHING",
			  params, 3);
}

static struct err make_default_namespace(struct ctl *c)
{
	Perdure__NamespaceRecord n = PERDURE__NAMESPACE_RECORD__INIT;
	n.id = (char *)new_uuid(c);
	n.name = "default";
	n.description = "Made with the cluster.";
	n.retention_ns = DEFAULT_RETENTION_NS;
	return make_namespace(c, &n);
}

/* Clients of this API expect it to be there, under this id, and leave its name alone. */
static struct err make_system_namespace(struct ctl *c)
{
	Perdure__NamespaceRecord n = PERDURE__NAMESPACE_RECORD__INIT;
	n.id = SYSTEM_NAMESPACE_ID;
	n.name = SYSTEM_NAMESPACE_NAME;
	n.description = "For the server itself.";
	n.retention_ns = SYSTEM_RETENTION_NS;
	return make_namespace(c, &n);
}

static struct err make_cluster(struct ctl *c, int64_t shards, bool with_namespace)
{
	const char *count = arena_printf(c->arena, "%lld", (long long)shards);
	const char *now = arena_printf(c->arena, "%lld", (long long)now_ns());
	const char *params[] = {new_uuid(c), count, now};
	try(run_params(c, "INSERT INTO cluster (cluster_id, shard_count, created_ns) VALUES ($1, $2, $3)", params, 3));
	try(run_params(c, "INSERT INTO shard (shard_id) SELECT generate_series(0, $1::integer - 1)", &count, 1));
	try(run_params(c, "INSERT INTO shard_checkpoint (shard_id) SELECT generate_series(0, $1::integer - 1)", &count,
		       1));
	return with_namespace ? make_default_namespace(c) : err_ok;
}

/* The number of shards of the cluster that is there; 0: none. */
static struct err cluster_shards(struct ctl *c, int64_t *ret)
{
	PGresult *r;
	try(db_query(c, "SELECT shard_count FROM cluster", NULL, 0, &r));
	*ret = PQntuples(r) ? atoll(PQgetvalue(r, 0, 0)) : 0;
	PQclear(r);
	return err_ok;
}

static struct err ensure_cluster(struct ctl *c, const char *const *values, int64_t *ret_shards)
{
	int64_t wanted;
	try(parse_shards(c, values[OPT_SHARDS], &wanted));
	try(cluster_shards(c, ret_shards));
	if (*ret_shards) {
		if (values[OPT_SHARDS] && *ret_shards != wanted)
			fprintf(stderr, "perdurectl: the cluster keeps the %lld shards that it was made with\n",
				(long long)*ret_shards);
		return make_system_namespace(c);
	}
	try(db_exec(c, "BEGIN"));
	try(make_system_namespace(c));
	try(make_cluster(c, wanted, !values[OPT_NO_DEFAULT_NAMESPACE]));
	try(db_exec(c, "COMMIT"));
	*ret_shards = wanted;
	if (!c->json)
		printf("made a cluster of %lld shards\n", (long long)wanted);
	return err_ok;
}

/* ------------------------------------------------------------------ the command */

/* *ret_version: what the database has now, which may be newer than what this program knows. */
static struct err migrate(struct ctl *c, const char *const *values, json_t *applied, int64_t *ret_shards,
			  int *ret_version)
{
	int version;
	try(db_exec(c, "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, name text NOT NULL, "
		       "sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()); "
		       "ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS serves_from integer"));
	try(schema_applied(c, &version));
	bool serves = true;
	if (version > (int)schema_file_count)
		try(schema_serves_us(c, &serves));
	if (!serves)
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"the database schema is version %d, newer than this program's %d", version,
				(int)schema_file_count);
	try(apply_files(c, version, applied));
	*ret_version = version > (int)schema_file_count ? version : (int)schema_file_count;
	return ensure_cluster(c, values, ret_shards);
}

static struct err run_migrate(struct ctl *c, const char *const *values)
{
	int64_t shards = 0;
	try(parse_shards(c, values[OPT_SHARDS], &shards));
	try(check_server(c));
	/* Held by the session: it goes with the connection. */
	try(db_exec(c, "SET client_min_messages = warning; SELECT pg_advisory_lock(7237, 1)"));
	json_t *applied = json_array();
	int version = 0;
	struct err e = migrate(c, values, applied, &shards, &version);
	if (err_is(e)) {
		json_decref(applied);
		return e;
	}
	if (!c->json)
		printf("schema version %d\n", version);
	ctl_print_json(
		c, json_pack("{s:i, s:o, s:I}", "version", version, "applied", applied, "shards", (json_int_t)shards));
	return err_ok;
}

const struct ctl_command ctl_schema_migrate = {
	.path = "schema migrate",
	.summary = "Brings the database to this program's schema; makes the cluster in an empty one",
	.details =
		"Each file runs in a transaction of its own, all under an advisory lock, so that any number of these\n"
		"may be started at once. Run again, it does nothing. Every cluster has the namespace "
		"'temporal-system'.",
	.examples = "perdurectl --dsn 'host=db dbname=perdure' schema migrate --shards 512",
	.options =
		{[OPT_SHARDS] = {"shards", "N", "history shards of a new cluster (default: cluster.shards)"},
		 [OPT_NO_DEFAULT_NAMESPACE] = {"no-default-namespace", NULL,
					       "don't make the namespace 'default' (retention 24h) in a new cluster"}},
	.run = run_migrate,
};
