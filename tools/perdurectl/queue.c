/*
 * perdurectl queue list, queue show: what waits for workers, as matching knows it.
 */
#include <stdio.h>

#include "tools/perdurectl/ctl.h"

enum { COLUMNS = 10 };

static const char *number(struct ctl *c, const json_t *v)
{
	if (json_is_real(v))
		return arena_printf(c->arena, "%.1f", json_real_value(v));
	return json_is_integer(v) ? arena_printf(c->arena, "%lld", (long long)json_integer_value(v)) : "-";
}

static void print_partitions(struct ctl *c, json_t *list)
{
	static const char *const heading[COLUMNS] = {"QUEUE",	"POLLERS", "PARTITION", "POLLS",    "CREDITS",
						     "WAITING", "HANDED",  "BACKLOG",	"OLDEST S", "TASKS/S"};
	static const char *const key[COLUMNS] = {"name",    "pollers", "partition", "open_polls",     "credits",
						 "waiting", "handed",  "backlog",   "oldest_seconds", "dispatch_rate"};
	size_t count = json_array_size(list), i;
	const char **cells = arena_array(c->arena, const char *, (count + 1) * COLUMNS);
	memcpy(cells, heading, sizeof heading);
	json_t *p;
	json_array_foreach(list, i, p)
	{
		for (size_t k = 0; k < COLUMNS; k++) {
			const json_t *v = json_object_get(p, key[k]);
			cells[(i + 1) * COLUMNS + k] = json_is_string(v) ? json_string_value(v) : number(c, v);
		}
	}
	ctl_print_table(cells, count + 1, COLUMNS);
}

json_t *ctl_queues(struct ctl *c, const char *query, struct err *ret_err)
{
	json_t *all = json_array();
	json_t *nodes =
		ctl_ask_nodes(c, "matching", arena_printf(c->arena, "/admin/matching/queues%s", query), ret_err);
	size_t i;
	json_t *node;
	json_array_foreach(nodes, i, node)
	{
		json_t *list = json_object_get(node, "partitions"), *p;
		size_t k;
		json_array_foreach(list, k, p) json_object_set(p, "node_id", json_object_get(node, "node_id"));
		json_array_extend(all, list);
	}
	json_decref(nodes);
	return all;
}

static void print_details(struct ctl *c, json_t *list)
{
	size_t i, k;
	json_t *p, *v;
	json_array_foreach(list, i, p)
	{
		json_array_foreach(json_object_get(p, "by_priority"), k, v) printf(
			"partition %s, priority %s: %s waiting, oldest %s s\n",
			number(c, json_object_get(p, "partition")), number(c, json_object_get(v, "priority")),
			number(c, json_object_get(v, "waiting")), number(c, json_object_get(v, "oldest_seconds")));
		json_array_foreach(json_object_get(p, "poller_list"), k, v)
			printf("%s poller %s, last poll %s s ago\n", json_string_value(json_object_get(p, "pollers")),
			       json_string_value(json_object_get(v, "identity")),
			       number(c, json_object_get(v, "last_poll_seconds_ago")));
	}
}

static struct err run_list(struct ctl *c, const char *const *values)
{
	(void)values;
	struct err e;
	try(db_require_schema(c));
	json_t *list = ctl_queues(c, "", &e);
	if (!err_is(e) && !c->json)
		print_partitions(c, list);
	if (err_is(e))
		json_decref(list);
	else
		ctl_print_json(c, list);
	return e;
}

static struct err run_show(struct ctl *c, const char *const *values)
{
	(void)values;
	const char *id;
	struct err e;
	try(db_require_schema(c));
	try(ctl_namespace_id(c, c->args[0], &id));
	json_t *list = ctl_queues(
		c, arena_printf(c->arena, "?namespace_id=%s&name=%s", ctl_escape(c, id), ctl_escape(c, c->args[1])),
		&e);
	if (!err_is(e) && !json_array_size(list))
		e = err_make(c->arena, ERR_NOT_FOUND,
			     "no matching node knows queue %s: nobody polls it, and it has no tasks", c->args[1]);
	if (!err_is(e) && !c->json) {
		print_partitions(c, list);
		print_details(c, list);
	}
	if (err_is(e))
		json_decref(list);
	else
		ctl_print_json(c, list);
	return e;
}

const struct ctl_command ctl_queue_list = {
	.path = "queue list",
	.summary = "Task queues: open polls, waiting tasks, backlog and its age",
	.examples = "perdurectl queue list\nperdurectl --json queue list | jq '.[] | select(.waiting > 0)'",
	.run = run_list,
};

const struct ctl_command ctl_queue_show = {
	.path = "queue show",
	.arguments = "NAMESPACE QUEUE",
	.args_min = 2,
	.args_max = 2,
	.summary = "One task queue: partitions, backlog by priority, who polls",
	.examples = "perdurectl queue show default orders",
	.run = run_show,
};
