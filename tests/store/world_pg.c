/*
 * The contract suite's world on a real PostgreSQL: a fresh database a test, the stores behind a proxy.
 */
#include "tests/store/world_pg.h"

#include <dirent.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/loop/loop.h"
#include "common/mem/mem.h"
#include "common/store/schema.h"
#include "tests/store/proxy.h"

#define OPENED_MAX 8
#define READERS	   2
/* Renewals, writer, folder, readers. */
#define CONNECTIONS_A_STORE (3 + READERS)
#define TEMPLATE	    "perdure_template"

struct pg_world {
	struct loop *loop;
	struct proxy *proxy;
	char folder[64]; /* of the proxy's socket */
	char *dsn;	 /* through the proxy */
	PGconn *admin;	 /* in the test's database */
	PGconn *frozen;
	struct store *opened[OPENED_MAX];
	size_t count;
};

static char *base_dsn;
static char *server_socket;

static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

/* ------------------------------------------------------------------ before the tests */

static PGconn *connect_to(const char *database)
{
	struct buf dsn = {0};
	buf_printf(&dsn, "%s dbname=%s", base_dsn, database);
	PGconn *c = PQconnectdb((char *)dsn.data);
	if (PQstatus(c) != CONNECTION_OK)
		die("connect", PQerrorMessage(c));
	buf_done(&dsn);
	return c;
}

static void must_exec(PGconn *c, const char *sql)
{
	PGresult *r = PQexec(c, sql);
	ExecStatusType status = PQresultStatus(r);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		die(sql, PQerrorMessage(c));
	PQclear(r);
}

static char *read_file(const char *folder, const char *name)
{
	struct buf text = {0};
	buf_printf(&text, "%s/%s", folder, name);
	FILE *f = fopen((char *)text.data, "r");
	if (!f)
		die((char *)text.data, "cannot be opened");
	text.len = 0;
	for (;;) {
		uint8_t *to = buf_reserve(&text, 65536);
		size_t n = fread(to, 1, 65536, f);
		text.len += n;
		if (n == 0)
			break;
	}
	fclose(f);
	buf_put(&text, "", 1);
	size_t len;
	return (char *)buf_take(&text, &len);
}

static int is_sql(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');
	return dot && strcmp(dot, ".sql") == 0;
}

void world_pg_prepare(const char *dsn, const char *schema_folder)
{
	base_dsn = mem_strdup(dsn);
	PGconn *c = connect_to("postgres");
	struct buf path = {0};
	buf_printf(&path, "%s/.s.PGSQL.%s", PQhost(c), PQport(c));
	server_socket = mem_strdup((char *)path.data);
	buf_done(&path);
	must_exec(c, "DROP DATABASE IF EXISTS " TEMPLATE);
	must_exec(c, "CREATE DATABASE " TEMPLATE);
	PQfinish(c);
	c = connect_to(TEMPLATE);
	must_exec(c, "CREATE TABLE schema_version (version integer PRIMARY KEY)");
	struct dirent **files;
	int count = scandir(schema_folder, &files, is_sql, alphasort);
	if (count != STORE_SCHEMA_VERSION)
		die(schema_folder, "the number of files isn't STORE_SCHEMA_VERSION");
	for (int i = 0; i < count; i++) {
		char *sql = read_file(schema_folder, files[i]->d_name);
		must_exec(c, sql);
		must_exec(c, "INSERT INTO schema_version SELECT count(*) + 1 FROM schema_version");
		free(sql);
		free(files[i]);
	}
	free(files);
	must_exec(c, "INSERT INTO cluster VALUES (true, '00000000-0000-4000-8000-00000000abcd', 8, 0)");
	must_exec(c, "INSERT INTO shard (shard_id) SELECT generate_series(0, 7)");
	must_exec(c, "INSERT INTO shard_checkpoint (shard_id) SELECT generate_series(0, 7)");
	PQfinish(c);
}

/* ------------------------------------------------------------------ the world */

static void pg_start(struct world *w)
{
	struct pg_world *p = new0(struct pg_world);
	w->impl = p;
	char database[64], sql[256];
	snprintf(database, sizeof database, "test_%d", (int)getpid());
	PGconn *c = connect_to("postgres");
	snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE " TEMPLATE, database);
	must_exec(c, sql);
	PQfinish(c);
	p->admin = connect_to(database);
	p->loop = loop_new();
	w->env = loop_env(p->loop);
	snprintf(p->folder, sizeof p->folder, "/tmp/perdure-proxy-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(p->folder));
	p->proxy = proxy_new(p->loop, p->folder, 5432, server_socket);
	struct buf dsn = {0};
	buf_printf(&dsn, "%s host=%s port=5432 dbname=%s", base_dsn, p->folder, database);
	p->dsn = mem_strdup((char *)dsn.data);
	buf_done(&dsn);
}

static void pg_stop(struct world *w)
{
	struct pg_world *p = w->impl;
	for (size_t i = 0; i < p->count; i++)
		store_free(p->opened[i]);
	proxy_free(p->proxy);
	loop_stop(p->loop);
	loop_run(p->loop);
	loop_free(p->loop);
	rmdir(p->folder);
	char sql[128];
	snprintf(sql, sizeof sql, "DROP DATABASE %s WITH (FORCE)", PQdb(p->admin));
	PQfinish(p->admin);
	PQfinish(p->frozen);
	PGconn *c = connect_to("postgres");
	must_exec(c, sql);
	PQfinish(c);
	free(p->dsn);
	free(p);
}

static void pg_turn(struct world *w)
{
	struct pg_world *p = w->impl;
	uv_run(loop_uv(p->loop), UV_RUN_ONCE);
}

static struct store *pg_open(struct world *w)
{
	struct pg_world *p = w->impl;
	ck_assert(p->count < OPENED_MAX);
	const struct store_pg_config config = {.dsn = p->dsn,
					       .readers = READERS,
					       .statement_timeout_ns = 10 * NS_PER_S,
					       .lease_ns = 3 * NS_PER_S,
					       .writer = true};
	assert_ok(store_pg_new(p->loop, &config, w->arena, &p->opened[p->count]));
	return p->opened[p->count++];
}

static void pg_lose_writer(struct world *w, struct store *s)
{
	(void)s;
	const char *gone = world_pg_value(w, "SELECT pg_terminate_backend(writer_pid, 5000) FROM shard "
					     "WHERE owner_node_id = 'a' AND writer_pid IS NOT NULL LIMIT 1");
	ck_assert_str_eq(gone, "t");
}

static void pg_next_commit_unknown(struct world *w, struct store *s, bool applied)
{
	struct pg_world *p = w->impl;
	(void)s;
	/* What is sent next is to be the commit, not some connection's set-up. */
	world_pg_until(w,
		       "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
		       "AND application_name = 'perdure' AND state = 'idle' AND query <> ''",
		       arena_printf(w->arena, "%zu", p->count * CONNECTIONS_A_STORE));
	proxy_set_cut(p->proxy, applied ? PROXY_CUT_ANSWER : PROXY_CUT_REQUEST);
}

/* A session that the row names as the owner's writer, with the lock that a commit has. */
static void pg_freeze_writer(struct world *w, struct store *s, uint32_t shard)
{
	struct pg_world *p = w->impl;
	(void)s;
	char sql[512];
	p->frozen = connect_to(PQdb(p->admin));
	snprintf(sql, sizeof sql,
		 "UPDATE shard SET writer_pid = pg_backend_pid(), writer_backend_start = a.backend_start "
		 "FROM pg_stat_get_activity(pg_backend_pid()) a WHERE shard_id = %u",
		 shard);
	must_exec(p->frozen, sql);
	must_exec(p->frozen, "BEGIN");
	snprintf(sql, sizeof sql, "SELECT FROM shard WHERE shard_id = %u FOR SHARE", shard);
	must_exec(p->frozen, sql);
}

static void pg_set_setting(struct world *w, const char *name, const char *value)
{
	world_pg_sql(w, arena_printf(w->arena, "DELETE FROM cluster_setting WHERE name = '%s'", name));
	if (value)
		world_pg_sql(w, arena_printf(w->arena,
					     "INSERT INTO cluster_setting (name, value, changed_ns, changed_by) "
					     "VALUES ('%s', '%s', 5, 'test')",
					     name, value));
	world_pg_sql(w, "NOTIFY perdure, 'settings'");
}

static void pg_set_schema_version(struct world *w, int version)
{
	world_pg_sql(w, arena_printf(w->arena,
				     "UPDATE schema_version SET version = %d WHERE version = "
				     "(SELECT max(version) FROM schema_version)",
				     version));
}

/* The column comes with the first program that knows it (perdurectl schema migrate). */
static void pg_add_schema(struct world *w, int version, int serves_from)
{
	world_pg_sql(w, "ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS serves_from integer");
	world_pg_sql(w, arena_printf(w->arena, "INSERT INTO schema_version VALUES (%d, nullif(%d, 0))", version,
				     serves_from));
}

static void pg_pin(struct world *w, uint32_t shard, const char *node_id)
{
	if (node_id)
		world_pg_sql(w, arena_printf(w->arena,
					     "INSERT INTO shard_pin (shard_id, node_id) VALUES (%u, '%s') "
					     "ON CONFLICT (shard_id) DO UPDATE SET node_id = excluded.node_id",
					     shard, node_id));
	else
		world_pg_sql(w, arena_printf(w->arena, "DELETE FROM shard_pin WHERE shard_id = %u", shard));
}

static void pg_tell_to_drain(struct world *w, const char *node_id, bool drain)
{
	world_pg_sql(w, arena_printf(w->arena,
				     drain ? "INSERT INTO node_drain (node_id) VALUES ('%s')"
					   : "DELETE FROM node_drain WHERE node_id = '%s'",
				     node_id));
}

static size_t pg_journal_rows(struct world *w, uint32_t shard)
{
	return (size_t)atoi(
		world_pg_value(w, arena_printf(w->arena, "SELECT count(*) FROM journal WHERE shard_id = %u", shard)));
}

const struct world_ops world_pg = {
	.name = "postgres",
	.start = pg_start,
	.stop = pg_stop,
	.turn = pg_turn,
	.open = pg_open,
	.lose_writer = pg_lose_writer,
	.next_commit_unknown = pg_next_commit_unknown,
	.freeze_writer = pg_freeze_writer,
	.set_schema_version = pg_set_schema_version,
	.add_schema = pg_add_schema,
	.set_setting = pg_set_setting,
	.pin = pg_pin,
	.tell_to_drain = pg_tell_to_drain,
	.journal_rows = pg_journal_rows,
};

/* ------------------------------------------------------------------ the second session */

void world_pg_sql(struct world *w, const char *sql)
{
	struct pg_world *p = w->impl;
	PGresult *r = PQexec(p->admin, sql);
	ExecStatusType status = PQresultStatus(r);
	ck_assert_msg(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(p->admin));
	PQclear(r);
}

const char *world_pg_value(struct world *w, const char *sql)
{
	struct pg_world *p = w->impl;
	PGresult *r = PQexec(p->admin, sql);
	ck_assert_msg(PQresultStatus(r) == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(p->admin));
	const char *v = arena_strdup(w->arena, PQntuples(r) ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	return v;
}

struct nudge {
	struct env_timer timer;
	bool fired;
};

static void on_nudge(struct env_timer *t)
{
	container_of(t, struct nudge, timer)->fired = true;
}

void world_pg_until(struct world *w, const char *sql, const char *want)
{
	time_t until = time(NULL) + 20;
	while (strcmp(world_pg_value(w, sql), want) != 0) {
		ck_assert_msg(time(NULL) < until, "%s never became %s", sql, want);
		struct nudge n = {.timer = {.fn = on_nudge}};
		env_timer_start(w->env, &n.timer, 2 * NS_PER_MS);
		world_wait(w, &n.fired);
	}
}

void world_pg_hold(struct world *w, bool hold)
{
	proxy_hold(((struct pg_world *)w->impl)->proxy, hold);
}
