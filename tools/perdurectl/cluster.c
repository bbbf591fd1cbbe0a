/*
 * perdurectl cluster: what the cluster is, who is in it, and who owns which shards.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

static const char facts_sql[] =
	"SELECT c.cluster_id, c.shard_count, c.created_ns, current_setting('server_version'), "
	"(SELECT max(version) FROM schema_version), (SELECT count(*) FROM shard WHERE owner_node_id IS NULL), "
	"(SELECT count(*) FROM journal), pg_total_relation_size('journal'), (SELECT count(*) FROM shard_pin), "
	"(SELECT count(*) FROM shard_pin p WHERE NOT EXISTS (SELECT FROM shard s WHERE s.shard_id = p.shard_id AND "
	"s.owner_node_id = p.node_id)) "
	"FROM cluster c";

/* How many nodes are in which state, of which versions: what is wrong is said first. */
static const char *summary(struct ctl *c, const struct ctl_node *nodes, size_t count)
{
	static const char *const states[] = {"live", "draining", "ending", "expired", "dead", "absent"};
	const char *text = NULL, *versions = NULL;
	for (size_t k = 0; k < array_len(states); k++) {
		int n = 0;
		for (size_t i = 0; i < count; i++)
			n += str_eq(nodes[i].state, states[k]);
		if (n)
			text = arena_printf(c->arena, "%s%s%d %s", text ? text : "", text ? ", " : "", n, states[k]);
	}
	for (size_t i = 0; i < count; i++) {
		bool seen = nodes[i].dead;
		for (size_t k = 0; k < i; k++)
			seen = seen || (!nodes[k].dead && str_eq(nodes[k].version, nodes[i].version));
		if (!seen)
			versions = arena_printf(c->arena, "%s%s%s", versions ? versions : "", versions ? ", " : "",
						nodes[i].version);
	}
	return arena_printf(c->arena, "%s%s%s", text ? text : "none", versions ? "; version " : "",
			    versions ? versions : "");
}

static json_t *nodes_json(const struct ctl_node *nodes, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, ctl_node_json(&nodes[i]));
	return list;
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

/* One that doesn't answer is named on stderr, and missing in the list; so with the others. */
static json_t *ask_edges(struct ctl *c, const struct ctl_node *nodes, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		const struct ctl_node *n = &nodes[i];
		struct ctl_edge_load load;
		if (n->dead || (!str_eq(n->role, "frontend") && !str_eq(n->role, "worker_gateway")))
			continue;
		struct err e = ctl_edge_load(c, n, &load);
		if (err_is(e))
			fprintf(stderr, "perdurectl: %s: %s\n", n->node_id, e.message);
		else
			json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "node_id", n->node_id, "role",
							      n->role, "polls", (json_int_t)load.polls, "connections",
							      (json_int_t)load.connections));
	}
	return list;
}

static void print_edges(struct ctl *c, json_t *list)
{
	enum { COLUMNS = 3 };
	static const char *const heading[COLUMNS] = {"EDGE", "POLLS", "CONNECTIONS"};
	size_t count = json_array_size(list), i;
	const char **cells = arena_array(c->arena, const char *, (count + 1) * COLUMNS), **row = cells;
	memcpy(cells, heading, sizeof heading);
	json_t *v;
	json_array_foreach(list, i, v)
	{
		row += COLUMNS;
		row[0] = json_string_value(json_object_get(v, "node_id"));
		row[1] = arena_printf(c->arena, "%lld", number(v, "polls"));
		row[2] = arena_printf(c->arena, "%lld", number(v, "connections"));
	}
	putchar('\n');
	ctl_print_table(cells, count + 1, COLUMNS);
}

struct answers {
	json_t *histories, *matchings, *edges;
};

static struct answers ask(struct ctl *c, const struct ctl_node *nodes, size_t count)
{
	struct answers a = {.matchings = json_array()};
	struct err e;
	size_t i;
	json_t *v;
	a.histories = ctl_ask_nodes(c, "history", "/admin/history/overview", &e);
	json_array_foreach(a.histories, i, v) json_object_del(v, "shards");
	json_t *queues = ctl_ask_nodes(c, "matching", "/admin/matching/queues", &e);
	json_array_foreach(queues, i, v) json_array_append_new(a.matchings, matching_sums(v));
	json_decref(queues);
	a.edges = ask_edges(c, nodes, count);
	return a;
}

static const char *pins(struct ctl *c, const PGresult *facts)
{
	int pinned = atoi(PQgetvalue(facts, 0, 8)), elsewhere = atoi(PQgetvalue(facts, 0, 9));
	if (!pinned)
		return "";
	return arena_printf(c->arena, elsewhere ? ", %d pinned, %d of them not where they are pinned" : ", %d pinned",
			    pinned, elsewhere);
}

static void print(struct ctl *c, const PGresult *facts, const struct ctl_node *nodes, size_t count)
{
	const char *created = ctl_time(c, atoll(PQgetvalue(facts, 0, 2)));
	struct answers a = ask(c, nodes, count);
	if (!c->json) {
		printf("cluster     %s, made %s\nschema      %s, PostgreSQL %s\nnodes       %s\n"
		       "shards      %s, %s without owner%s\njournal     %s records, a table of %s bytes\n\n",
		       PQgetvalue(facts, 0, 0), created, PQgetvalue(facts, 0, 4), PQgetvalue(facts, 0, 3),
		       summary(c, nodes, count), PQgetvalue(facts, 0, 1), PQgetvalue(facts, 0, 5), pins(c, facts),
		       PQgetvalue(facts, 0, 6), PQgetvalue(facts, 0, 7));
		ctl_print_nodes(c, nodes, count);
		print_histories(c, a.histories);
		print_matchings(c, a.matchings);
		print_edges(c, a.edges);
	}
	json_t *v = json_pack("{s:s, s:s, s:i, s:s, s:i, s:i, s:i, s:i, s:I, s:I}", "cluster_id",
			      PQgetvalue(facts, 0, 0), "made", created, "schema_version", atoi(PQgetvalue(facts, 0, 4)),
			      "database_version", PQgetvalue(facts, 0, 3), "shards", atoi(PQgetvalue(facts, 0, 1)),
			      "shards_without_owner", atoi(PQgetvalue(facts, 0, 5)), "shards_pinned",
			      atoi(PQgetvalue(facts, 0, 8)), "shards_pinned_elsewhere", atoi(PQgetvalue(facts, 0, 9)),
			      "journal_rows", (json_int_t)atoll(PQgetvalue(facts, 0, 6)), "journal_bytes",
			      (json_int_t)atoll(PQgetvalue(facts, 0, 7)));
	json_object_set_new(v, "nodes", nodes_json(nodes, count));
	json_object_set_new(v, "histories", a.histories);
	json_object_set_new(v, "matchings", a.matchings);
	json_object_set_new(v, "edges", a.edges);
	ctl_print_json(c, v);
}

static struct err run(struct ctl *c, const char *const *values)
{
	(void)values;
	PGresult *facts;
	struct ctl_node *nodes;
	size_t count;
	try(db_require_schema(c));
	try(db_query(c, facts_sql, NULL, 0, &facts));
	struct err e = err_ok;
	if (PQntuples(facts) != 1)
		e = err_static(ERR_FAILED_PRECONDITION,
			       "the database holds no cluster: run 'perdurectl schema migrate'");
	if (!err_is(e))
		e = ctl_nodes(c, NULL, &nodes, &count);
	if (!err_is(e))
		print(c, facts, nodes, count);
	PQclear(facts);
	return e;
}

const struct ctl_command ctl_cluster = {
	.path = "cluster",
	.summary = "The cluster at a glance: nodes, shards, lag, journal, caches, polls, backlog",
	.details =
		"LAG MAX: how many of the journal's numbers the shard that is furthest behind has not folded into rows "
		"yet.\nJOURNAL BYTES: what is not folded, all shards of the node. BACKLOG: tasks that wait for a "
		"worker, "
		"kept in\nhistory; WAITING: in matching; HANDED: with a gateway, and not started yet.",
	.examples = "perdurectl cluster\nperdurectl --json cluster | jq '.nodes[] | select(.state != \"live\")'",
	.run = run,
};
