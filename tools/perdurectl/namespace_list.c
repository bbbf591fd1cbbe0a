/*
 * perdurectl namespace list, namespace show
 */
#include <perdure/namespace.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

static const char *state_name(int32_t state)
{
	static const char *const names[] = {"Unspecified", "Registered", "Deprecated", "Deleted"};
	return state >= 0 && (size_t)state < array_len(names) ? names[state] : "Unknown";
}

enum { COLUMNS = 6 };

/* By shard, which is what the primary keys begin with. */
static const char left_sql[] =
	"SELECT (SELECT count(*) FROM shard s CROSS JOIN LATERAL"
	"  (SELECT FROM run r WHERE r.shard_id = s.shard_id AND r.namespace_id = $1) x)"
	" + (SELECT count(*) FROM shard s CROSS JOIN LATERAL"
	"  (SELECT FROM closed_run r WHERE r.shard_id = s.shard_id AND r.namespace_id = $1) x),"
	" coalesce(sum(removed), 0), count(*) FILTER (WHERE done), (SELECT shard_count FROM cluster)"
	" FROM namespace_purge WHERE namespace_id = $1";

/* How far the removal of a deleted namespace is. */
static struct err add_left(struct ctl *c, const char *id, const Perdure__NamespaceRecord *n, const char **cell,
			   json_t *entry)
{
	PGresult *r;
	try(db_query(c, left_sql, &id, 1, &r));
	int64_t left = atoll(PQgetvalue(r, 0, 0)), removed = atoll(PQgetvalue(r, 0, 1));
	int done = atoi(PQgetvalue(r, 0, 2)), shards = atoi(PQgetvalue(r, 0, 3));
	PQclear(r);
	*cell = arena_printf(c->arena, "%lld runs left, %d of %d shards done", (long long)left, done, shards);
	json_object_set_new(entry, "runs_left", json_integer(left));
	json_object_set_new(entry, "runs_removed", json_integer(removed));
	json_object_set_new(entry, "shards_done", json_integer(done));
	json_object_set_new(entry, "delete_delay_seconds", json_integer(n->delete_delay_ns / NS_PER_S));
	return err_ok;
}

static struct err add_row(struct ctl *c, const PGresult *r, int i, const char **cells, json_t *list)
{
	struct bytes info = db_bytea(c, r, i, 2);
	Perdure__NamespaceRecord *n = perdure__namespace_record__unpack(arena_pb(c->arena), info.len, info.data);
	const char *id = PQgetvalue(r, i, 0), *name = PQgetvalue(r, i, 1);
	if (!n)
		return err_make(c->arena, ERR_DATA_LOSS, "the record of namespace %s can't be read", name);
	cells[0] = name;
	cells[1] = state_name(n->state);
	cells[2] = ctl_duration(c, n->retention_ns);
	cells[3] = id;
	cells[4] = "";
	cells[5] = n->description;
	json_t *entry = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "name", name, "id", id, "state", cells[1],
				  "retention_seconds", (json_int_t)(n->retention_ns / NS_PER_S), "description",
				  n->description, "owner_email", n->owner_email);
	json_array_append_new(list, entry);
	return n->deleted_time_ns ? add_left(c, id, n, &cells[4], entry) : err_ok;
}

static struct err run(struct ctl *c, const char *const *values)
{
	(void)values;
	PGresult *r;
	try(db_require_schema(c));
	try(db_query(c, "SELECT id, name, info FROM namespace ORDER BY name", NULL, 0, &r));
	int count = PQntuples(r);
	const char **cells = arena_array(c->arena, const char *, (size_t)(count + 1) * COLUMNS);
	static const char *const heading[COLUMNS] = {"NAME", "STATE", "RETENTION", "ID", "REMOVAL", "DESCRIPTION"};
	memcpy(cells, heading, sizeof heading);
	json_t *list = json_array();
	struct err e = err_ok;
	for (int i = 0; i < count && !err_is(e); i++)
		e = add_row(c, r, i, cells + (i + 1) * COLUMNS, list);
	if (err_is(e)) {
		json_decref(list);
	} else {
		if (!c->json)
			ctl_print_table(cells, (size_t)count + 1, COLUMNS);
		ctl_print_json(c, list);
	}
	PQclear(r);
	return e;
}

const struct ctl_command ctl_namespace_list = {
	.path = "namespace list",
	.summary = "All namespaces, with state and retention, and how far the removal of deleted ones is",
	.examples = "perdurectl namespace list\nperdurectl --json namespace list",
	.run = run,
};

/* ------------------------------------------------------------------ one namespace */

struct err ctl_namespace_id(struct ctl *c, const char *name, const char **ret_id)
{
	PGresult *r;
	try(db_query(c, "SELECT id FROM namespace WHERE name = $1", &name, 1, &r));
	bool found = PQntuples(r) > 0;
	*ret_id = found ? arena_strdup(c->arena, PQgetvalue(r, 0, 0)) : NULL;
	PQclear(r);
	return found ? err_ok : err_make(c->arena, ERR_NOT_FOUND, "there is no namespace %s", name);
}

static struct err run_show(struct ctl *c, const char *const *values)
{
	(void)values;
	const char *id;
	PGresult *r;
	try(db_require_schema(c));
	try(ctl_namespace_id(c, c->args[0], &id));
	try(db_query(c,
		     "SELECT info,"
		     " (SELECT count(*) FROM shard s CROSS JOIN LATERAL"
		     "  (SELECT FROM run r WHERE r.shard_id = s.shard_id AND r.namespace_id = n.id AND r.open) x),"
		     " (SELECT count(*) FROM shard s CROSS JOIN LATERAL"
		     "  (SELECT FROM closed_run r WHERE r.shard_id = s.shard_id AND r.namespace_id = n.id) x)"
		     " FROM namespace n WHERE id = $1",
		     &id, 1, &r));
	if (PQntuples(r) == 0) { /* it went between the two queries */
		PQclear(r);
		return err_make(c->arena, ERR_NOT_FOUND, "there is no namespace %s", c->args[0]);
	}
	struct bytes info = db_bytea(c, r, 0, 0);
	Perdure__NamespaceRecord *n = perdure__namespace_record__unpack(arena_pb(c->arena), info.len, info.data);
	const char *open = arena_strdup(c->arena, PQgetvalue(r, 0, 1));
	const char *closed = arena_strdup(c->arena, PQgetvalue(r, 0, 2));
	PQclear(r);
	if (!n)
		return err_make(c->arena, ERR_DATA_LOSS, "the record of namespace %s can't be read", c->args[0]);
	const char *removal = NULL;
	json_t *entry = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I}", "name", c->args[0], "id", id, "state",
				  state_name(n->state), "retention_seconds", (json_int_t)(n->retention_ns / NS_PER_S),
				  "description", n->description, "owner_email", n->owner_email, "open_rows",
				  (json_int_t)atoll(open), "closed_rows", (json_int_t)atoll(closed));
	struct err e = n->deleted_time_ns ? add_left(c, id, n, &removal, entry) : err_ok;
	if (err_is(e)) {
		json_decref(entry);
		return e;
	}
	if (!c->json)
		printf("name         %s\nid           %s\nstate        %s\nretention    %s\ndescription  %s\nowner     "
		       "   "
		       "%s\nruns         %s open and %s closed are folded into rows\n",
		       c->args[0], id, state_name(n->state), ctl_duration(c, n->retention_ns), n->description,
		       n->owner_email, open, closed);
	if (!c->json && removal)
		printf("removal      %s\n", removal);
	ctl_print_json(c, entry);
	return err_ok;
}

const struct ctl_command ctl_namespace_show = {
	.path = "namespace show",
	.arguments = "NAMESPACE",
	.args_min = 1,
	.args_max = 1,
	.summary = "One namespace, how many runs of it are stored, and how far its removal is if it was deleted",
	.examples = "perdurectl namespace show default",
	.run = run_show,
};
