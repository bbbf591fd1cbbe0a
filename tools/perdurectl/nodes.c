/*
 * The cluster's nodes, as their rows and what operators told them say.
 *
 * Ages are the database's: it wrote the time of the renewal and says what time it is, so no two clocks are compared.
 */
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

/* $1 role, $2 node id (null: all), $3 the lease in seconds. A node that is told to drain but doesn't run has no row. */
static const char sql[] =
	"SELECT node_id, n.role, n.address, n.http_address, n.version, coalesce(n.dead, false), "
	"coalesce(n.draining, false), d.node_id IS NOT NULL, coalesce(d.set_by, ''), "
	"coalesce(extract(epoch FROM d.set_at), 0), "
	"greatest(coalesce(extract(epoch FROM clock_timestamp() - n.renewed_at), 0), 0)::numeric(12, 1), "
	"(SELECT count(*) FROM shard s WHERE s.owner_node_id = n.node_id AND s.owner_incarnation = n.incarnation), "
	"(SELECT count(*) FROM shard_pin p WHERE p.node_id = coalesce(n.node_id, d.node_id)), "
	"n.node_id IS NULL, clock_timestamp() - n.renewed_at > $3::float8 * interval '1 s' "
	"FROM node n FULL JOIN node_drain d USING (node_id) "
	"WHERE ($1::text IS NULL OR n.role = $1) AND ($2::text IS NULL OR node_id = $2) ORDER BY n.role, node_id";

static const char *state_of(const PGresult *r, int i, bool told)
{
	if (*PQgetvalue(r, i, 13) == 't')
		return "absent";
	if (*PQgetvalue(r, i, 5) == 't')
		return "dead";
	if (*PQgetvalue(r, i, 14) == 't')
		return "expired";
	return *PQgetvalue(r, i, 6) == 't' ? "ending" : told ? "draining" : "live";
}

static struct ctl_node node_of(struct ctl *c, const PGresult *r, int i)
{
	bool told = *PQgetvalue(r, i, 7) == 't';
	const char *state = state_of(r, i, told);
	return (struct ctl_node){
		.node_id = arena_strdup(c->arena, PQgetvalue(r, i, 0)),
		.role = arena_strdup(c->arena, PQgetvalue(r, i, 1)),
		.address = arena_strdup(c->arena, PQgetvalue(r, i, 2)),
		.http_address = arena_strdup(c->arena, PQgetvalue(r, i, 3)),
		.version = arena_strdup(c->arena, PQgetvalue(r, i, 4)),
		.state = state,
		.dead = str_eq(state, "dead") || str_eq(state, "expired") || str_eq(state, "absent"),
		.draining = told || *PQgetvalue(r, i, 6) == 't',
		.told_to_drain = told,
		.told_by = arena_strdup(c->arena, PQgetvalue(r, i, 8)),
		.told_ns = (int64_t)(atof(PQgetvalue(r, i, 9)) * 1e9),
		.age = arena_strdup(c->arena, PQgetvalue(r, i, 10)),
		.shards = atoi(PQgetvalue(r, i, 11)),
		.pins = atoi(PQgetvalue(r, i, 12)),
	};
}

static struct err read_nodes(struct ctl *c, const char *role, const char *node_id, struct ctl_node **ret,
			     size_t *ret_count)
{
	PGresult *r;
	const char *params[] = {
		role, node_id,
		arena_printf(c->arena, "%.3f", (double)c->settings->membership_lease / (double)NS_PER_S)};
	try(db_query(c, sql, params, array_len(params), &r));
	*ret_count = (size_t)PQntuples(r);
	*ret = arena_array(c->arena, struct ctl_node, *ret_count + 1);
	for (int i = 0; i < PQntuples(r); i++)
		(*ret)[i] = node_of(c, r, i);
	PQclear(r);
	return err_ok;
}

struct err ctl_nodes(struct ctl *c, const char *role, struct ctl_node **ret, size_t *ret_count)
{
	return read_nodes(c, role, NULL, ret, ret_count);
}

struct err ctl_node(struct ctl *c, const char *node_id, struct ctl_node *ret)
{
	struct ctl_node *found;
	size_t count;
	try(read_nodes(c, NULL, node_id, &found, &count));
	if (!count)
		return err_make(c->arena, ERR_NOT_FOUND, "there is no node %s: 'perdurectl node list' names them",
				node_id);
	*ret = found[0];
	return err_ok;
}

json_t *ctl_node_json(const struct ctl_node *n)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:i, s:i, s:b}", "node_id", n->node_id, "role", n->role,
			 "address", n->address, "http_address", n->http_address, "version", n->version, "state",
			 n->state, "renewed_seconds_ago", atof(n->age), "shards", n->shards, "pinned_shards", n->pins,
			 "told_to_drain", n->told_to_drain);
}

void ctl_print_nodes(struct ctl *c, const struct ctl_node *nodes, size_t count)
{
	enum { COLUMNS = 8 };
	static const char *const heading[COLUMNS] = {"NODE",   "ROLE",	 "STATE",   "RENEWED S AGO",
						     "SHARDS", "PINNED", "VERSION", "HTTP"};
	const char **cells = arena_array(c->arena, const char *, (count + 1) * COLUMNS), **row = cells;
	memcpy(cells, heading, sizeof heading);
	for (size_t i = 0; i < count; i++) {
		const struct ctl_node *n = &nodes[i];
		bool holds = str_eq(n->role, "history");
		row += COLUMNS;
		row[0] = n->node_id;
		row[1] = str_empty(n->role) ? "-" : n->role;
		row[2] = n->state;
		row[3] = str_eq(n->state, "absent") ? "-" : n->age;
		row[4] = holds ? arena_printf(c->arena, "%d", n->shards) : "-";
		row[5] = holds ? arena_printf(c->arena, "%d", n->pins) : "-";
		row[6] = n->version;
		row[7] = n->http_address;
	}
	ctl_print_table(cells, count + 1, COLUMNS);
}

/* ------------------------------------------------------------------ what a node has */

/* The sum of a metric's lines that are this role's, or nobody's in particular. */
static int64_t metric(const char *text, const char *name, const char *role)
{
	size_t len = strlen(name), role_len = strlen(role);
	double sum = 0;
	for (const char *line = text, *next; *line; line = next) {
		size_t line_len = strcspn(line, "\n");
		next = line + line_len + (line[line_len] == '\n');
		if (strncmp(line, name, len) != 0 || (line[len] != ' ' && line[len] != '{'))
			continue;
		const char *label = memmem(line, line_len, "role=\"", 6), *value = memrchr(line, ' ', line_len);
		if (label && (strncmp(label + 6, role, role_len) != 0 || label[6 + role_len] != '"'))
			continue;
		sum += value ? strtod(value, NULL) : 0;
	}
	return (int64_t)sum;
}

struct err ctl_edge_load(struct ctl *c, const struct ctl_node *n, struct ctl_edge_load *ret)
{
	long status;
	struct bytes body;
	try(ctl_http(c, n->http_address, "/metrics", &status, &body));
	if (status != 200)
		return err_make(c->arena, ERR_UNAVAILABLE, "%s: /metrics answers %ld", n->http_address, status);
	const char *text = arena_printf(c->arena, "%.*s", (int)body.len, (const char *)body.data);
	*ret = (struct ctl_edge_load){.polls = metric(text, "perdure_edge_polls", n->role),
				      .connections = metric(text, "perdure_grpc_connections", n->role),
				      .listening = metric(text, "perdure_grpc_listening", n->role) != 0};
	return err_ok;
}
