/*
 * perdurectl audit: has every history node look at its shards now, all of them or what is asked for, and says what the
 * auditors found and repaired.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tools/perdurectl/ctl.h"

#define POLL_NS 100000000L
#define SILENCE 50 /* polls without progress after which a node is given up: 5 s and what the requests take */

enum { OPTION_SHARD, OPTION_NAMESPACE, OPTION_WORKFLOW, OPTION_RATE, OPTION_REPAIR };

static long long number(const json_t *v, const char *key)
{
	return (long long)json_integer_value(json_object_get(v, key));
}

static const char *text(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));
	return s ? s : "-";
}

/* A number of at least `least`; NULL, not given, is one. */
static struct err check_number(struct ctl *c, const char *option, const char *text, long long least)
{
	char *end;
	if (text && (strtoll(text, &end, 10) < least || end == text || *end))
		return err_make(c->arena, ERR_INVALID_ARGUMENT, "--%s %s: expected a number from %lld on", option, text,
				least);
	return err_ok;
}

static struct err check_shard(struct ctl *c, const char *shard)
{
	PGresult *r;
	if (!shard)
		return err_ok;
	try(check_number(c, "shard", shard, 0));
	try(db_query(c, "SELECT shard_count FROM cluster", NULL, 0, &r));
	long long count = PQntuples(r) ? atoll(PQgetvalue(r, 0, 0)) : 0;
	PQclear(r);
	if (atoll(shard) < count)
		return err_ok;
	return err_make(c->arena, ERR_NOT_FOUND, "there is no shard %s: this cluster has %lld, from 0 to %lld", shard,
			count, count - 1);
}

/* What the endpoint is asked, from the options. */
static struct err query(struct ctl *c, const char *const *values, const char **ret)
{
	const char *q = "/admin/history/audit?run=1", *id;
	if (values[OPTION_WORKFLOW] && !values[OPTION_NAMESPACE])
		return err_static(ERR_INVALID_ARGUMENT, "--workflow-id needs its --namespace");
	try(check_number(c, "rate", values[OPTION_RATE], 1));
	try(check_shard(c, values[OPTION_SHARD]));
	if (values[OPTION_SHARD])
		q = arena_printf(c->arena, "%s&shard=%s", q, ctl_escape(c, values[OPTION_SHARD]));
	if (values[OPTION_NAMESPACE]) {
		try(ctl_namespace_id(c, values[OPTION_NAMESPACE], &id));
		q = arena_printf(c->arena, "%s&namespace_id=%s", q, ctl_escape(c, id));
	}
	if (values[OPTION_WORKFLOW])
		q = arena_printf(c->arena, "%s&workflow_id=%s", q, ctl_escape(c, values[OPTION_WORKFLOW]));
	if (values[OPTION_RATE])
		q = arena_printf(c->arena, "%s&rate=%s", q, ctl_escape(c, values[OPTION_RATE]));
	*ret = values[OPTION_REPAIR] ? arena_printf(c->arena, "%s&repair=1", q) : q;
	return err_ok;
}

/* The node's round, once it is over. */
static struct err wait_for(struct ctl *c, const struct ctl_node *n, long long id, json_t **ret)
{
	long long seen = -1;
	for (int silent = 0; silent < SILENCE; silent++) {
		json_t *v = NULL;
		try(ctl_http_json(c, n->http_address, "/admin/history/audit", &v));
		json_t *asked = json_object_get(v, "asked");
		if (number(asked, "id") != id) {
			json_decref(v);
			return err_make(c->arena, ERR_UNAVAILABLE, "%s: it was restarted meanwhile", n->node_id);
		}
		if (json_is_true(json_object_get(asked, "done"))) {
			json_object_set(asked, "node_id", json_object_get(v, "node_id"));
			*ret = json_incref(asked);
			json_decref(v);
			return err_ok;
		}
		long long now = number(asked, "rows") + number(asked, "histories") + number(asked, "shards");
		silent = now == seen ? silent : 0;
		seen = now;
		json_decref(v);
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
	return err_make(c->arena, ERR_UNAVAILABLE, "%s: its audit makes no progress", n->node_id);
}

static void print(struct ctl *c, const json_t *rounds)
{
	enum { COLUMNS = 6 };
	static const char *const heading[COLUMNS] = {"KIND", "SHARD", "WORKFLOW", "RUN", "WHAT", "REPAIRED"};
	size_t i, k, count = 0;
	json_t *v, *f;
	json_array_foreach(rounds, i, v)
	{
		printf("%s: %lld shards, %lld runs in memory, %lld rows, %lld histories in %.1f s; %lld violations, "
		       "%lld repaired%s\n",
		       text(v, "node_id"), number(v, "shards"), number(v, "runs"), number(v, "rows"),
		       number(v, "histories"), json_number_value(json_object_get(v, "seconds")), number(v, "found"),
		       number(v, "repaired"),
		       number(v, "inconclusive") ? "; some of it changed while it was looked at" : "");
		count += json_array_size(json_object_get(v, "violations"));
	}
	if (!count)
		return;
	const char **cells = arena_array(c->arena, const char *, (count + 1) * COLUMNS), **row = cells;
	memcpy(cells, heading, sizeof heading);
	json_array_foreach(rounds, i, v) json_array_foreach(json_object_get(v, "violations"), k, f)
	{
		row += COLUMNS;
		row[0] = text(f, "kind");
		row[1] = arena_printf(c->arena, "%lld", number(f, "shard"));
		row[2] = text(f, "workflow_id");
		row[3] = text(f, "run_id");
		row[4] = text(f, "what");
		row[5] = text(f, "repaired");
	}
	putchar('\n');
	ctl_print_table(cells, count + 1, COLUMNS);
}

/* Begins them all, so that the nodes work at the same time. */
static struct err rounds(struct ctl *c, const char *const *values, json_t *all)
{
	struct ctl_node *nodes;
	size_t count;
	const char *path;
	try(query(c, values, &path));
	try(ctl_nodes(c, "history", &nodes, &count));
	long long *ids = arena_array(c->arena, long long, count);
	for (size_t i = 0; i < count; i++) {
		json_t *v = NULL;
		if (nodes[i].dead)
			continue;
		try(ctl_http_json(c, nodes[i].http_address, path, &v));
		ids[i] = number(json_object_get(v, "asked"), "id");
		json_decref(v);
	}
	for (size_t i = 0; i < count; i++) {
		json_t *v = NULL;
		if (!ids[i])
			continue;
		try(wait_for(c, &nodes[i], ids[i], &v));
		json_array_append_new(all, v);
	}
	return json_array_size(all) ? err_ok : err_static(ERR_UNAVAILABLE, "no history node is alive");
}

/* Shards that nobody looked at, because they are moving or have no owner. */
static struct err missed(struct ctl *c, const char *const *values, const json_t *all, long long *ret)
{
	PGresult *r;
	size_t i;
	json_t *v;
	try(db_query(c, "SELECT shard_count FROM cluster", NULL, 0, &r));
	*ret = values[OPTION_SHARD] || values[OPTION_WORKFLOW] ? 1 : atoll(PQgetvalue(r, 0, 0));
	PQclear(r);
	json_array_foreach(all, i, v) *ret -= number(v, "shards");
	*ret = *ret > 0 ? *ret : 0;
	return err_ok;
}

static struct err run(struct ctl *c, const char *const *values)
{
	long long not_seen = 0, found = 0, repaired = 0;
	try(db_require_schema(c));
	json_t *all = json_array(), *v;
	struct err e = rounds(c, values, all);
	if (!err_is(e))
		e = missed(c, values, all, &not_seen);
	if (err_is(e)) {
		json_decref(all);
		return e;
	}
	size_t i;
	json_array_foreach(all, i, v)
	{
		found += number(v, "found");
		repaired += number(v, "repaired");
	}
	if (found > repaired || not_seen)
		c->exit = CTL_EXIT_DIFFERS;
	if (!c->json)
		print(c, all);
	if (not_seen)
		fprintf(stderr, "perdurectl: %lld shards have no owner now, or are moving, and were not looked at\n",
			not_seen);
	ctl_print_json(c, json_pack("{s:I, s:I, s:I, s:o}", "found", (json_int_t)found, "repaired",
				    (json_int_t)repaired, "shards_missed", (json_int_t)not_seen, "nodes", all));
	return err_ok;
}

const struct ctl_command ctl_audit = {
	.path = "audit",
	.summary = "Checks the invariants now, over everything or a part; prints violations, and repairs some",
	.details =
		"The auditor of each history node runs by itself, too, slowly; this is a round over all that is stored "
		"and in\nmemory. It ends with status 3 when a violation remains, or a shard could not be looked at.\n\n"
		"--repair does again what can be derived: timers, offers to matching, the wake time and flags of rows; "
		"a "
		"run that\nwaits for nothing gets a workflow task. What can't be derived is never touched.",
	.examples = "perdurectl audit\nperdurectl audit --repair --namespace default --workflow-id order-17\n"
		    "perdurectl --json audit | jq '.nodes[].violations[]'",
	.options = {{"shard", "N", "only this shard"},
		    {"namespace", "NAME", "only its workflows"},
		    {"workflow-id", "ID", "only this one, of the namespace"},
		    {"rate", "N", "rows a second and node; else as fast as they come"},
		    {"repair", NULL, "repair what can be derived again"}},
	.run = run,
};
