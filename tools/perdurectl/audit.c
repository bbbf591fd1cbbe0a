/*
 * perdurectl audit: has every history node look at its shards now, and says what the auditors found.
 */
#include <stdio.h>
#include <time.h>

#include "tools/perdurectl/ctl.h"

#define WAIT_S	300
#define POLL_NS 200000000L

static long long number(const json_t *v, const char *key)
{
	return (long long)json_integer_value(json_object_get(v, key));
}

static const char *text(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));
	return s ? s : "-";
}

/* The node's answer after the round that begins now. */
static struct err one_round(struct ctl *c, const struct ctl_node *n, json_t **ret)
{
	json_t *v;
	try(ctl_http_json(c, n->http_address, "/admin/history/audit?run=1", &v));
	long long before = number(v, "rounds");
	for (int i = 0; i < WAIT_S * 5 && number(v, "rounds") <= before; i++) {
		json_decref(v);
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
		try(ctl_http_json(c, n->http_address, "/admin/history/audit", &v));
	}
	*ret = v;
	return err_ok;
}

static void print(const json_t *v)
{
	printf("%s: %lld shards and %lld runs looked at since it began, %lld violations found, %lld repaired\n",
	       text(v, "node_id"), number(v, "shards_checked"), number(v, "runs_checked"),
	       number(v, "violations_found"), number(v, "repaired"));
	size_t i;
	json_t *f;
	json_array_foreach(json_object_get(v, "recent"), i, f)
		printf("  %s  %s  workflow %s run %s: %s\n", text(f, "time"), text(f, "kind"), text(f, "workflow_id"),
		       text(f, "run_id"), text(f, "what"));
}

static struct err run(struct ctl *c, const char *const *values)
{
	(void)values;
	struct ctl_node *nodes;
	size_t count, asked = 0;
	struct err e = err_ok;
	try(db_require_schema(c));
	try(ctl_nodes(c, "history", &nodes, &count));
	json_t *all = json_array();
	for (size_t i = 0; i < count && !err_is(e); i++) {
		json_t *v;
		if (nodes[i].dead)
			continue;
		e = one_round(c, &nodes[i], &v);
		if (err_is(e))
			break;
		if (!c->json)
			print(v);
		if (number(v, "violations_found"))
			c->exit = CTL_EXIT_DIFFERS;
		json_array_append_new(all, v);
		asked++;
	}
	if (!err_is(e) && !asked)
		e = err_static(ERR_UNAVAILABLE, "no history node is alive");
	if (err_is(e))
		json_decref(all);
	else
		ctl_print_json(c, all);
	return e;
}

const struct ctl_command ctl_audit = {
	.path = "audit",
	.summary = "Checks the invariants over all shards now; violations, and what was repaired",
	.details = "The auditor runs by itself, too; what is shown is all it found since the node began. Ends with "
		   "status 3 "
		   "when there is any.",
	.examples = "perdurectl audit\nperdurectl --json audit | jq '.[].violations'",
	.run = run,
};
