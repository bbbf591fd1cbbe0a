/*
 * perdurectl config show: the settings in force in each daemon, and where they come from.
 */
#include <stdio.h>

#include "tools/perdurectl/ctl.h"

static const char *text(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));
	return s ? s : "";
}

static void print(struct ctl *c, const char *node_id, json_t *settings, bool all)
{
	enum { COLUMNS = 4 };
	static const char *const heading[COLUMNS] = {"SETTING", "VALUE", "FROM", "DEFAULT"};
	const char **cells = arena_array(c->arena, const char *, (json_array_size(settings) + 1) * COLUMNS);
	memcpy(cells, heading, sizeof heading);
	size_t i, rows = 1;
	json_t *s;
	json_array_foreach(settings, i, s)
	{
		if (!all && str_eq(text(s, "source"), "default"))
			continue;
		const char **row = cells + rows++ * COLUMNS;
		row[0] = text(s, "name");
		row[1] = text(s, "value");
		row[2] = text(s, "source");
		row[3] = text(s, "default");
	}
	printf("%s\n", node_id);
	ctl_print_table(cells, rows, COLUMNS);
}

static struct err run(struct ctl *c, const char *const *values)
{
	struct ctl_node *nodes;
	size_t count, shown = 0;
	try(db_require_schema(c));
	try(ctl_nodes(c, NULL, &nodes, &count));
	json_t *all = json_object();
	for (size_t i = 0; i < count; i++) {
		json_t *v;
		if (nodes[i].dead || (c->args[0] && !str_eq(c->args[0], nodes[i].node_id)))
			continue;
		struct err e = ctl_http_json(c, nodes[i].http_address, "/admin/config", &v);
		if (err_is(e)) {
			fprintf(stderr, "perdurectl: %s: %s\n", nodes[i].node_id, e.message);
			continue;
		}
		if (!c->json)
			print(c, nodes[i].node_id, json_object_get(v, "settings"), values[0] != NULL);
		json_object_set(all, nodes[i].node_id, json_object_get(v, "settings"));
		json_decref(v);
		shown++;
	}
	ctl_print_json(c, all);
	return shown ? err_ok : err_static(ERR_NOT_FOUND, "no such daemon answers; 'perdurectl cluster' lists them");
}

const struct ctl_command ctl_config_show = {
	.path = "config show",
	.arguments = "[NODE]",
	.args_max = 1,
	.summary = "Settings that are not at their defaults, in each daemon, and where they come from",
	.examples = "perdurectl config show\nperdurectl config show history-0 --all",
	.options = {{"all", NULL, "those at their defaults too"}},
	.run = run,
};
