/*
 * perdurectl cluster: what the cluster is, who is in it, and who owns which shards.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

static const char facts_sql[] =
	"SELECT c.cluster_id, c.shard_count, c.created_ns, current_setting('server_version'), "
	"(SELECT max(version) FROM schema_version), (SELECT count(*) FROM shard WHERE owner_node_id IS NULL), "
	"(SELECT count(*) FROM journal), pg_total_relation_size('journal') "
	"FROM cluster c";

static const char nodes_sql[] =
	"SELECT n.node_id, n.role, n.address, n.http_address, n.version, "
	"CASE WHEN n.dead THEN 'dead' WHEN n.draining THEN 'draining' ELSE 'live' END, "
	"round(extract(epoch FROM now() - n.renewed_at)::numeric, 1), "
	"(SELECT count(*) FROM shard s WHERE s.owner_node_id = n.node_id AND s.owner_incarnation = n.incarnation) "
	"FROM node n ORDER BY n.role, n.node_id";

enum { NODE_COLUMNS = 8 };

static json_t *nodes_json(const PGresult *r)
{
	json_t *list = json_array();
	for (int i = 0; i < PQntuples(r); i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:i}", "node_id",
						      PQgetvalue(r, i, 0), "role", PQgetvalue(r, i, 1), "address",
						      PQgetvalue(r, i, 2), "http_address", PQgetvalue(r, i, 3),
						      "version", PQgetvalue(r, i, 4), "state", PQgetvalue(r, i, 5),
						      "renewed_seconds_ago", atof(PQgetvalue(r, i, 6)), "shards",
						      atoi(PQgetvalue(r, i, 7))));
	return list;
}

static void print_nodes(struct ctl *c, const PGresult *r)
{
	static const char *const heading[NODE_COLUMNS] = {"NODE",    "ROLE",  "ADDRESS",   "HTTP",
							  "VERSION", "STATE", "RENEWED S", "SHARDS"};
	size_t count = (size_t)PQntuples(r);
	const char **cells = arena_array(c->arena, const char *, (count + 1) * NODE_COLUMNS);
	memcpy(cells, heading, sizeof heading);
	for (size_t i = 0; i < count; i++)
		for (int k = 0; k < NODE_COLUMNS; k++)
			cells[(i + 1) * NODE_COLUMNS + (size_t)k] = PQgetvalue(r, (int)i, k);
	ctl_print_table(cells, count + 1, NODE_COLUMNS);
}

/* ------------------------------------------------------------------ what the daemons say themselves */

static long long number(const json_t *v, const char *key)
{
	return (long long)json_integer_value(json_object_get(v, key));
}

static const char *percent(struct ctl *c, const json_t *node)
{
	long long max = number(node, "cache_bytes_max");
	return arena_printf(c->arena, "%lld MiB, %lld%%", number(node, "cache_bytes") >> 20,
			    max ? 100 * number(node, "cache_bytes") / max : 0);
}

static void print_histories(struct ctl *c, json_t *list)
{
	enum { COLUMNS = 6 };
	static const char *const heading[COLUMNS] = {"HISTORY", "RUNS IN MEMORY", "CACHE",
						     "LAG MAX", "JOURNAL BYTES",  "BACKLOG"};
	size_t count = json_array_size(list), i;
	const char **cells = arena_array(c->arena, const char *, (count + 1) * COLUMNS), **row = cells;
	memcpy(cells, heading, sizeof heading);
	json_t *v;
	json_array_foreach(list, i, v)
	{
		row += COLUMNS;
		row[0] = json_string_value(json_object_get(v, "node_id"));
		row[1] = arena_printf(c->arena, "%lld", number(v, "runs"));
		row[2] = percent(c, v);
		row[3] = arena_printf(c->arena, "%lld", number(v, "lag_max"));
		row[4] = arena_printf(c->arena, "%lld", number(v, "journal_bytes"));
		row[5] = arena_printf(c->arena, "%lld", number(v, "backlog"));
	}
	putchar('\n');
	ctl_print_table(cells, count + 1, COLUMNS);
}

/* A node's partitions, summed up. */
static json_t *matching_sums(const json_t *node)
{
	long long polls = 0, waiting = 0, handed = 0;
	const json_t *list = json_object_get(node, "partitions"), *p;
	for (size_t i = 0; i < json_array_size(list); i++) {
		p = json_array_get(list, i);
		polls += number(p, "open_polls");
		waiting += number(p, "waiting");
		handed += number(p, "handed");
	}
	return json_pack("{s:O, s:I, s:I, s:I, s:I, s:I}", "node_id", json_object_get(node, "node_id"), "partitions",
			 (json_int_t)json_array_size(list), "open_polls", (json_int_t)polls, "waiting",
			 (json_int_t)waiting, "handed", (json_int_t)handed, "memory_bytes",
			 (json_int_t)number(node, "memory_bytes"));
}

static void print_matchings(struct ctl *c, json_t *list)
{
	enum { COLUMNS = 6 };
	static const char *const heading[COLUMNS] = {"MATCHING", "PARTITIONS", "OPEN POLLS",
						     "WAITING",	 "HANDED",     "BYTES"};
	static const char *const key[COLUMNS] = {"", "partitions", "open_polls", "waiting", "handed", "memory_bytes"};
	size_t count = json_array_size(list), i;
	const char **cells = arena_array(c->arena, const char *, (count + 1) * COLUMNS), **row = cells;
	memcpy(cells, heading, sizeof heading);
	json_t *v;
	json_array_foreach(list, i, v)
	{
		row += COLUMNS;
		row[0] = json_string_value(json_object_get(v, "node_id"));
		for (int k = 1; k < COLUMNS; k++)
			row[k] = arena_printf(c->arena, "%lld", number(v, key[k]));
	}
	putchar('\n');
	ctl_print_table(cells, count + 1, COLUMNS);
}

/* A daemon that doesn't answer is named on stderr, and missing in the lists. */
static void ask(struct ctl *c, json_t **ret_histories, json_t **ret_matchings)
{
	struct err e;
	size_t i;
	json_t *v;
	*ret_histories = ctl_ask_nodes(c, "history", "/admin/history/overview", &e);
	json_array_foreach(*ret_histories, i, v) json_object_del(v, "shards");
	json_t *nodes = ctl_ask_nodes(c, "matching", "/admin/matching/queues", &e);
	*ret_matchings = json_array();
	json_array_foreach(nodes, i, v) json_array_append_new(*ret_matchings, matching_sums(v));
	json_decref(nodes);
}

static void print(struct ctl *c, const PGresult *facts, const PGresult *nodes)
{
	const char *created = ctl_time(c, atoll(PQgetvalue(facts, 0, 2)));
	json_t *histories, *matchings;
	ask(c, &histories, &matchings);
	if (!c->json) {
		printf("cluster     %s, made %s\nschema      %s, PostgreSQL %s\nshards      %s, %s without owner\n"
		       "journal     %s records, %s bytes\n\n",
		       PQgetvalue(facts, 0, 0), created, PQgetvalue(facts, 0, 4), PQgetvalue(facts, 0, 3),
		       PQgetvalue(facts, 0, 1), PQgetvalue(facts, 0, 5), PQgetvalue(facts, 0, 6),
		       PQgetvalue(facts, 0, 7));
		print_nodes(c, nodes);
		print_histories(c, histories);
		print_matchings(c, matchings);
	}
	ctl_print_json(c,
		       json_pack("{s:s, s:s, s:i, s:s, s:i, s:i, s:I, s:I, s:o, s:o, s:o}", "cluster_id",
				 PQgetvalue(facts, 0, 0), "made", created, "schema_version",
				 atoi(PQgetvalue(facts, 0, 4)), "database_version", PQgetvalue(facts, 0, 3), "shards",
				 atoi(PQgetvalue(facts, 0, 1)), "shards_without_owner", atoi(PQgetvalue(facts, 0, 5)),
				 "journal_rows", (json_int_t)atoll(PQgetvalue(facts, 0, 6)), "journal_bytes",
				 (json_int_t)atoll(PQgetvalue(facts, 0, 7)), "nodes", nodes_json(nodes), "histories",
				 histories, "matchings", matchings));
}

static struct err run(struct ctl *c, const char *const *values)
{
	(void)values;
	PGresult *facts, *nodes;
	try(db_require_schema(c));
	try(db_query(c, facts_sql, NULL, 0, &facts));
	struct err e = err_ok;
	if (PQntuples(facts) != 1)
		e = err_static(ERR_FAILED_PRECONDITION,
			       "the database holds no cluster: run 'perdurectl schema migrate'");
	if (!err_is(e))
		e = db_query(c, nodes_sql, NULL, 0, &nodes);
	if (!err_is(e)) {
		print(c, facts, nodes);
		PQclear(nodes);
	}
	PQclear(facts);
	return e;
}

const struct ctl_command ctl_cluster = {
	.path = "cluster",
	.summary = "The cluster, its nodes, and the shards that each owns",
	.examples = "perdurectl cluster\nperdurectl --json cluster | jq '.nodes[] | select(.state != \"live\")'",
	.run = run,
};
