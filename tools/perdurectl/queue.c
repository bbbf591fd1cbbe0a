/*
 * perdurectl queue list, queue show: what waits for workers, as matching knows it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

enum { COLUMNS = 10, PRIORITIES = 6 };

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

struct priority_sum {
	json_int_t priority, count;
	double oldest_seconds;
};

/* Over the queue's partitions of these pollers; returns how many priorities have any. */
static size_t sum_priorities(const json_t *list, const char *pollers, struct priority_sum *ret)
{
	size_t count = 0, i, k, n;
	json_t *p, *v;
	json_array_foreach(list, i, p)
	{
		if (!str_eq(json_string_value(json_object_get(p, "pollers")), pollers))
			continue;
		json_array_foreach(json_object_get(p, "by_priority"), k, v)
		{
			json_int_t priority = json_integer_value(json_object_get(v, "priority"));
			double oldest = json_number_value(json_object_get(v, "oldest_seconds"));
			for (n = 0; n < count && ret[n].priority != priority; n++)
				;
			if (n == PRIORITIES)
				continue;
			if (n == count)
				ret[count++] = (struct priority_sum){.priority = priority};
			ret[n].count += json_integer_value(json_object_get(v, "count"));
			if (oldest > ret[n].oldest_seconds)
				ret[n].oldest_seconds = oldest;
		}
	}
	return count;
}

static int by_priority(const void *a, const void *b)
{
	const struct priority_sum *x = a, *y = b;
	return (x->priority > y->priority) - (x->priority < y->priority);
}

/* What waits for workers, here and in history, by priority. */
static void print_priorities(struct ctl *c, const json_t *list)
{
	static const char *const kinds[] = {"workflow", "activity"};
	const char *cells[(1 + array_len(kinds) * PRIORITIES) * 4] = {"POLLERS", "PRIORITY", "BACKLOG", "OLDEST S"};
	size_t rows = 1;
	for (size_t k = 0; k < array_len(kinds); k++) {
		struct priority_sum sums[PRIORITIES];
		size_t count = sum_priorities(list, kinds[k], sums);
		qsort(sums, count, sizeof *sums, by_priority);
		for (size_t i = 0; i < count; i++, rows++) {
			const char **row = cells + 4 * rows;
			row[0] = kinds[k];
			row[1] = arena_printf(c->arena, "%lld", (long long)sums[i].priority);
			row[2] = arena_printf(c->arena, "%lld", (long long)sums[i].count);
			row[3] = arena_printf(c->arena, "%.1f", sums[i].oldest_seconds);
		}
	}
	if (rows == 1)
		return;
	printf("\n");
	ctl_print_table(cells, rows, 4);
}

static void print_pollers(struct ctl *c, json_t *list)
{
	size_t i, k;
	json_t *p, *v;
	json_array_foreach(list, i, p)
	{
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
		print_priorities(c, list);
		print_pollers(c, list);
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
