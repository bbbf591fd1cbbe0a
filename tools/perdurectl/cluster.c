/*
 * perdurectl cluster: what the cluster is, who is in it, and who owns which shards.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

static const char facts_sql[] =
	"SELECT c.cluster_id, c.shard_count, c.created_ns, current_setting('server_version'), "
	"(SELECT max(version) FROM schema_version), (SELECT count(*) FROM shard WHERE owner_node_id IS NULL) "
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

static void print(struct ctl *c, const PGresult *facts, const PGresult *nodes)
{
	const char *created = ctl_time(c, atoll(PQgetvalue(facts, 0, 2)));
	if (!c->json) {
		printf("cluster     %s, made %s\nschema      %s, PostgreSQL %s\nshards      %s, %s without owner\n\n",
		       PQgetvalue(facts, 0, 0), created, PQgetvalue(facts, 0, 4), PQgetvalue(facts, 0, 3),
		       PQgetvalue(facts, 0, 1), PQgetvalue(facts, 0, 5));
		print_nodes(c, nodes);
	}
	ctl_print_json(c,
		       json_pack("{s:s, s:s, s:i, s:s, s:i, s:i, s:o}", "cluster_id", PQgetvalue(facts, 0, 0), "made",
				 created, "schema_version", atoi(PQgetvalue(facts, 0, 4)), "database_version",
				 PQgetvalue(facts, 0, 3), "shards", atoi(PQgetvalue(facts, 0, 1)),
				 "shards_without_owner", atoi(PQgetvalue(facts, 0, 5)), "nodes", nodes_json(nodes)));
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
