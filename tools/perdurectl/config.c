/*
 * perdurectl config show: the settings in force in the daemons, and where they come from.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/config/config.h"
#include "tools/perdurectl/config.h"

const char *config_text(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));
	return s ? s : "";
}

/* "file"; "cluster, by root at 2026-01-01T00:00:00Z" */
static const char *origin(struct ctl *c, const json_t *s)
{
	const char *source = config_text(s, "source");
	if (!str_eq(source, "cluster"))
		return source;
	return arena_printf(c->arena, "cluster, by %s at %s", config_text(s, "changed_by"),
			    ctl_time(c, json_integer_value(json_object_get(s, "changed_ns"))));
}

/* ------------------------------------------------------------------ which */

static bool named(const struct ctl *c, const char *name)
{
	for (size_t i = 0; c->args[i]; i++)
		if (str_eq(c->args[i], name))
			return true;
	return false;
}

static bool wanted(const struct ctl *c, const json_t *s, bool all)
{
	if (c->args[0])
		return named(c, config_text(s, "name"));
	return all || !str_eq(config_text(s, "source"), "default");
}

/* A name that no daemon knows is more likely a mistake than an empty answer. */
static struct err check_names(struct ctl *c, json_t *by_node)
{
	for (size_t i = 0; c->args[i]; i++) {
		const char *node;
		json_t *list, *s;
		size_t k;
		bool found = false;
		json_object_foreach(by_node, node, list) json_array_foreach(list, k, s) found =
			found || str_eq(config_text(s, "name"), c->args[i]);
		if (!found)
			return err_make(c->arena, ERR_NOT_FOUND,
					"no daemon has a setting %s; 'perdurectl config show --all' lists them",
					c->args[i]);
	}
	return err_ok;
}

/* ------------------------------------------------------------------ one table of all nodes */

enum { COLUMNS = 5 };

struct row {
	const char *cells[COLUMNS]; /* the last one, the nodes, is made of what follows */
	const char *nodes;
	size_t count;
};

static struct row *row_of(struct ctl *c, struct row *rows, size_t *count, const json_t *s)
{
	struct row new = {
		.cells = {config_text(s, "name"), config_text(s, "value"), origin(c, s), config_text(s, "default")}};
	for (size_t i = 0; i < *count; i++) {
		bool same = true;
		for (size_t k = 0; k < COLUMNS - 1; k++)
			same = same && str_eq(rows[i].cells[k], new.cells[k]);
		if (same)
			return &rows[i];
	}
	rows[*count] = new;
	return &rows[(*count)++];
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->cells[0], ((const struct row *)b)->cells[0]);
}

static void print(struct ctl *c, json_t *by_node, bool all)
{
	const char *node;
	json_t *list, *s;
	size_t i, most = 1, count = 0;
	json_object_foreach(by_node, node, list) most += json_array_size(list);
	struct row *rows = arena_array(c->arena, struct row, most);
	json_object_foreach(by_node, node, list)
	{
		json_array_foreach(list, i, s)
		{
			if (!wanted(c, s, all))
				continue;
			struct row *r = row_of(c, rows, &count, s);
			r->nodes = r->count++ ? arena_printf(c->arena, "%s, %s", r->nodes, node) : node;
		}
	}
	if (count)
		qsort(rows, count, sizeof *rows, by_name);
	const char **cells = arena_array(c->arena, const char *, (count + 1) * COLUMNS);
	static const char *const heading[COLUMNS] = {"SETTING", "VALUE", "FROM", "DEFAULT", "NODES"};
	memcpy(cells, heading, sizeof heading);
	for (i = 0; i < count; i++) {
		rows[i].cells[COLUMNS - 1] = rows[i].count == json_object_size(by_node) ? "all" : rows[i].nodes;
		memcpy(cells + (i + 1) * COLUMNS, rows[i].cells, sizeof rows[i].cells);
	}
	ctl_print_table(cells, count + 1, COLUMNS);
}

static json_t *named_only(const struct ctl *c, json_t *list)
{
	json_t *out = json_array(), *s;
	size_t i;
	json_array_foreach(list, i, s)
	{
		if (wanted(c, s, true))
			json_array_append(out, s);
	}
	return out;
}

static struct err run(struct ctl *c, const char *const *values)
{
	struct ctl_node *nodes;
	size_t count;
	try(db_require_schema(c));
	try(ctl_nodes(c, NULL, &nodes, &count));
	json_t *all = json_object();
	for (size_t i = 0; i < count; i++) {
		json_t *v;
		if (nodes[i].dead || (values[1] && !str_eq(values[1], nodes[i].node_id)))
			continue;
		struct err e = ctl_http_json(c, nodes[i].http_address, "/admin/config", &v);
		if (err_is(e)) {
			fprintf(stderr, "perdurectl: %s: %s\n", nodes[i].node_id, e.message);
			continue;
		}
		json_object_set_new(all, nodes[i].node_id, named_only(c, json_object_get(v, "settings")));
		json_decref(v);
	}
	struct err e = json_object_size(all)
			       ? check_names(c, all)
			       : err_static(ERR_NOT_FOUND, "no such daemon answers; 'perdurectl cluster' lists them");
	if (!err_is(e) && !c->json)
		print(c, all, values[0] != NULL);
	if (err_is(e))
		json_decref(all);
	else
		ctl_print_json(c, all);
	return e;
}

const struct ctl_command ctl_config_show = {
	.path = "config show",
	.arguments = "[NAME...]",
	.args_max = CTL_ARGS_MAX,
	.summary = "Settings in force in the daemons, and where each comes from",
	.details = "Without a name: those that are not at their defaults. A later source wins: default, file, "
		   "environment,\nflag, cluster ('perdurectl config set').",
	.examples = "perdurectl config show\n"
		    "perdurectl config show limits.pending_activities log.level\n"
		    "perdurectl config show --node history-0 --all\n"
		    "perdurectl --json config show | jq '.[][] | select(.live) | .name' | sort -u",
	.options = {{"all", NULL, "those at their defaults too"}, {"node", "NODE", "only of that one"}},
	.run = run,
};
