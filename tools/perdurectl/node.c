/*
 * perdurectl node list, show, drain, undrain: who is in the cluster, and who is to be without work.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

static struct err run_list(struct ctl *c, const char *const *values)
{
	(void)values;
	struct ctl_node *nodes;
	size_t count;
	try(db_require_schema(c));
	try(ctl_nodes(c, NULL, &nodes, &count));
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, ctl_node_json(&nodes[i]));
	if (!c->json)
		ctl_print_nodes(c, nodes, count);
	ctl_print_json(c, list);
	return err_ok;
}

/* ------------------------------------------------------------------ what a node still has */

static bool is_edge(const struct ctl_node *n)
{
	return str_eq(n->role, "frontend") || str_eq(n->role, "worker_gateway");
}

static struct err count_partitions(struct ctl *c, const struct ctl_node *n, long long *ret, bool *ret_draining)
{
	json_t *v;
	try(ctl_http_json(c, n->http_address, "/admin/matching/queues", &v));
	*ret = (long long)json_array_size(json_object_get(v, "partitions"));
	*ret_draining = json_is_true(json_object_get(v, "draining"));
	json_decref(v);
	return err_ok;
}

/* *ret: as a sentence; *ret_left: how much of it has to go before the node has drained. */
static struct err work_of(struct ctl *c, const struct ctl_node *n, long long *ret_left, const char **ret)
{
	if (str_eq(n->role, "history")) {
		*ret_left = n->shards;
		*ret = arena_printf(c->arena, "%d shards", n->shards);
		return err_ok;
	}
	if (is_edge(n)) {
		struct ctl_edge_load load;
		try(ctl_edge_load(c, n, &load));
		*ret_left = load.polls + load.connections + load.listening;
		*ret = arena_printf(c->arena, "%lld polls, %lld connections%s", (long long)load.polls,
				    (long long)load.connections, load.listening ? ", and listens" : "");
		return err_ok;
	}
	long long partitions;
	bool draining;
	try(count_partitions(c, n, &partitions, &draining));
	/* While it doesn't know yet that it drains it may take others. */
	*ret_left = partitions + !draining;
	*ret = arena_printf(c->arena, "%lld partitions of task queues", partitions);
	return err_ok;
}

static struct err run_show(struct ctl *c, const char *const *values)
{
	(void)values;
	struct ctl_node n;
	const char *work = "";
	long long left;
	try(db_require_schema(c));
	try(ctl_node(c, c->args[0], &n));
	struct err e = n.dead ? err_ok : work_of(c, &n, &left, &work);
	if (err_is(e))
		fprintf(stderr, "perdurectl: %s: %s\n", n.node_id, e.message);
	if (!c->json) {
		ctl_print_nodes(c, &n, 1);
		if (*n.address)
			printf("\nits inbox is %s\n", n.address);
		if (*work)
			printf("it has %s\n", work);
		if (n.told_to_drain)
			printf("told to drain by %s at %s\n", n.told_by, ctl_time(c, n.told_ns));
	}
	json_t *v = ctl_node_json(&n);
	json_object_set_new(v, "work", json_string(work));
	if (n.told_to_drain) {
		json_object_set_new(v, "told_by", json_string(n.told_by));
		json_object_set_new(v, "told_at", json_string(ctl_time(c, n.told_ns)));
	}
	ctl_print_json(c, v);
	return err_ok;
}

/* ------------------------------------------------------------------ drain */

/* Live ones of its role that take work, the node itself aside. */
static struct err count_others(struct ctl *c, const struct ctl_node *n, size_t *ret)
{
	struct ctl_node *nodes;
	size_t count;
	*ret = 0;
	try(ctl_nodes(c, n->role, &nodes, &count));
	for (size_t i = 0; i < count; i++)
		*ret += !nodes[i].dead && !nodes[i].draining && !str_eq(nodes[i].node_id, n->node_id);
	return err_ok;
}

static const char *without_it(struct ctl *c, const struct ctl_node *n)
{
	if (is_edge(n))
		return arena_printf(c->arena,
				    "%s is the last live %s: clients that come to this role would find nobody",
				    n->node_id, n->role);
	return arena_printf(
		c->arena,
		"%s is the last live %s node: nobody can take its work, so it keeps it until another one joins",
		n->node_id, n->role);
}

struct drain {
	const char *node_id;
	const char *left; /* what it had when it was looked at last */
};

static struct err look(struct ctl *c, void *ctx, bool *ret_done, const char **ret_how)
{
	struct drain *d = ctx;
	struct ctl_node n;
	long long left;
	try(ctl_node(c, d->node_id, &n));
	if (n.dead) {
		*ret_done = true;
		*ret_how = d->left = "nothing: it does not run";
		return err_ok;
	}
	if (!n.told_to_drain)
		return err_make(c->arena, ERR_ABORTED, "somebody else told %s to work again", d->node_id);
	struct err e = work_of(c, &n, &left, &d->left);
	if (err_is(e)) { /* busy, or out of our reach: whoever waits sees it, and may have --no-wait */
		*ret_how = arena_printf(c->arena, "%s is told to drain, and can't be asked how far it is: %s",
					d->node_id, e.message);
		return err_ok;
	}
	*ret_done = left == 0;
	*ret_how = arena_printf(c->arena, "%s has %s", d->node_id, d->left);
	return err_ok;
}

static struct err tell(struct ctl *c, const char *sql, const char *node_id)
{
	PGresult *r;
	const char *params[] = {node_id, ctl_operator(c)};
	try(db_query(c, sql, params, array_len(params), &r));
	PQclear(r);
	return err_ok;
}

static void say(struct ctl *c, const char *node_id, bool drains, const char *left, double seconds)
{
	if (!c->json && seconds >= 0)
		printf("%s has drained in %.1f s; it stays so until 'perdurectl node undrain %s'\n", node_id, seconds,
		       node_id);
	else if (!c->json)
		printf("%s is told to %s\n", node_id, drains ? "drain" : "take work again");
	json_t *v = json_pack("{s:s, s:b}", "node_id", node_id, "told_to_drain", drains);
	if (left)
		json_object_set_new(v, "left", json_string(left));
	if (seconds >= 0)
		json_object_set_new(v, "seconds", json_real(seconds));
	ctl_print_json(c, v);
}

static struct err run_drain(struct ctl *c, const char *const *values)
{
	struct ctl_node n;
	size_t others = 0;
	double seconds = -1;
	try(ctl_check_timeout(c, values[2]));
	try(db_require_schema(c));
	try(ctl_node(c, c->args[0], &n));
	bool last = false;
	if (!n.dead) {
		try(count_others(c, &n, &others));
		last = others == 0;
	}
	if (last)
		try(ctl_confirm(c, values[0], without_it(c, &n)));
	try(tell(c, "INSERT INTO node_drain (node_id, set_by) VALUES ($1, $2) ON CONFLICT (node_id) DO NOTHING",
		 n.node_id));
	struct drain d = {.node_id = n.node_id};
	bool keeps = last && !is_edge(&n);
	if (!values[1] && !keeps)
		try(ctl_wait(c, values[2], look, &d, &seconds));
	say(c, n.node_id, true, d.left, seconds);
	return err_ok;
}

static struct err run_undrain(struct ctl *c, const char *const *values)
{
	(void)values;
	struct ctl_node n;
	try(db_require_schema(c));
	try(ctl_node(c, c->args[0], &n));
	if (!n.told_to_drain)
		return err_make(c->arena, ERR_FAILED_PRECONDITION, "%s is not told to drain%s", n.node_id,
				n.draining ? ": its process is about to end" : "");
	try(tell(c, "DELETE FROM node_drain WHERE node_id = $1 AND $2::text IS NOT NULL", n.node_id));
	say(c, n.node_id, false, NULL, -1);
	return err_ok;
}

const struct ctl_command ctl_node_list = {
	.path = "node list",
	.summary = "Every node: role, state, when it renewed, shards",
	.details =
		"States: live; draining (an operator said so); ending (its process was told to end); expired (no "
		"renewal "
		"for the\nlease); dead (declared so: its shards are claimed by others); absent (told to drain, and not "
		"there). Rows of nodes\nthat never come back go after ten minutes.",
	.examples = "perdurectl node list\nperdurectl --json node list | jq -r '.[] | select(.state != \"live\") | "
		    ".node_id'",
	.run = run_list,
};

const struct ctl_command ctl_node_show = {
	.path = "node show",
	.arguments = "NODE",
	.args_min = 1,
	.args_max = 1,
	.summary = "One node, and what it has: shards, partitions, polls",
	.examples = "perdurectl node show history-0",
	.run = run_show,
};

const struct ctl_command ctl_node_drain = {
	.path = "node drain",
	.arguments = "NODE",
	.args_min = 1,
	.args_max = 1,
	.summary = "Take the work from a node, which goes on running; waits until it has none",
	.details = "History hands its shards over, one after the other; matching its partitions; frontends and "
		   "gateways are no\n"
		   "longer ready and, five seconds later, send their clients away, who find another. It holds for the "
		   "node "
		   "id,\nalso when the process starts again, until 'node undrain'.",
	.examples = "perdurectl node drain history-0 && kubectl delete pod history-0\n"
		    "perdurectl node drain gateway-1 --no-wait",
	.options = {{"yes", NULL, "don't ask, though it is the last of its role"},
		    CTL_OPTION_NO_WAIT,
		    CTL_OPTION_TIMEOUT},
	.run = run_drain,
};

const struct ctl_command ctl_node_undrain = {
	.path = "node undrain",
	.arguments = "NODE",
	.args_min = 1,
	.args_max = 1,
	.summary = "Let a node have work again",
	.examples = "perdurectl node undrain history-0",
	.run = run_undrain,
};
