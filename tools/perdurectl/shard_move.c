/*
 * perdurectl shard move, shard unpin: an operator's will about where a shard is, against or with hashing's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

struct move {
	const char *shard, *node_id;
	struct ctl_node node;
	long long epoch; /* before */
	char owner[256];
};

static struct err read_shard(struct ctl *c, const char *shard, struct move *ret)
{
	PGresult *r;
	const char *param;
	try(ctl_shard_number(c, shard, &param));
	try(db_query(c,
		     "SELECT c.shard_count, s.epoch, coalesce(s.owner_node_id, '') FROM cluster c "
		     "LEFT JOIN shard s ON s.shard_id = $1::bigint",
		     &param, 1, &r));
	struct err e = err_ok;
	if (!PQntuples(r) || PQgetisnull(r, 0, 1)) {
		int count = PQntuples(r) ? atoi(PQgetvalue(r, 0, 0)) : 0;
		e = err_make(c->arena, ERR_NOT_FOUND, "there is no shard %s: this cluster has %d, from 0 to %d", shard,
			     count, count - 1);
	} else {
		ret->shard = param;
		ret->epoch = atoll(PQgetvalue(r, 0, 1));
		snprintf(ret->owner, sizeof ret->owner, "%s", PQgetvalue(r, 0, 2));
	}
	PQclear(r);
	return e;
}

static struct err may_hold(struct ctl *c, const struct ctl_node *n)
{
	if (!str_eq(n->role, "history"))
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"%s is a %s: only history nodes hold shards ('perdurectl node list')", n->node_id,
				n->role);
	if (n->dead)
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"%s is %s: choose a live history node ('perdurectl node list')", n->node_id, n->state);
	if (n->told_to_drain)
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"%s is told to drain and takes no shards: 'perdurectl node undrain %s' first",
				n->node_id, n->node_id);
	if (n->draining)
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"%s is about to end and takes no shards: wait until it is back, or choose another",
				n->node_id);
	return err_ok;
}

/* Whether the node that has claimed the shard serves it. A node that can't be asked is believed. */
static bool serves(struct ctl *c, const struct move *m, const char **ret_state)
{
	json_t *v, *s;
	size_t i;
	*ret_state = "serving";
	if (err_is(ctl_http_json(c, m->node.http_address, "/admin/history/overview", &v)))
		return true;
	json_array_foreach(json_object_get(v, "shards"), i,
			   s) if (json_integer_value(json_object_get(s, "shard")) == atoll(m->shard)) *ret_state =
		arena_strdup(c->arena, json_string_value(json_object_get(s, "state")));
	json_decref(v);
	return str_eq(*ret_state, "serving");
}

static struct err look(struct ctl *c, void *ctx, bool *ret_done, const char **ret_how)
{
	const struct move *m = ctx;
	struct move now = {0};
	const char *state;
	try(read_shard(c, m->shard, &now));
	bool there = str_eq(now.owner, m->node_id);
	*ret_done = there && serves(c, m, &state);
	if (there)
		*ret_how = arena_printf(c->arena, "shard %s is at %s, epoch %lld: %s", m->shard, now.owner, now.epoch,
					state);
	else
		*ret_how = arena_printf(c->arena, "shard %s is %s%s", m->shard,
					*now.owner ? "still at " : "handed over", now.owner);
	return err_ok;
}

static void say(struct ctl *c, const struct move *m, double seconds)
{
	bool was_there = str_eq(m->owner, m->node_id);
	if (!c->json && seconds < 0)
		printf("shard %s is to be at %s\n", m->shard, m->node_id);
	else if (!c->json && was_there)
		printf("shard %s was at %s already; it is pinned there now\n", m->shard, m->node_id);
	else if (!c->json)
		printf("shard %s moved from %s to %s in %.3f s; it is pinned there until 'perdurectl shard unpin %s'\n",
		       m->shard, *m->owner ? m->owner : "nobody", m->node_id, seconds, m->shard);
	json_t *v = json_pack("{s:i, s:s, s:s, s:b}", "shard", atoi(m->shard), "from", m->owner, "to", m->node_id,
			      "moved", seconds >= 0 && !was_there);
	if (seconds >= 0)
		json_object_set_new(v, "seconds", json_real(seconds));
	ctl_print_json(c, v);
}

static struct err run_move(struct ctl *c, const char *const *values)
{
	struct move m = {.node_id = values[0]};
	PGresult *r;
	double seconds = -1;
	try(ctl_check_timeout(c, values[2]));
	try(db_require_schema(c));
	try(read_shard(c, c->args[0], &m));
	try(ctl_node(c, m.node_id, &m.node));
	try(may_hold(c, &m.node));
	const char *params[] = {m.shard, m.node_id, ctl_operator(c)};
	try(db_query(c,
		     "INSERT INTO shard_pin (shard_id, node_id, set_by) VALUES ($1, $2, $3) ON CONFLICT (shard_id) "
		     "DO UPDATE SET node_id = excluded.node_id, set_by = excluded.set_by, set_at = excluded.set_at",
		     params, array_len(params), &r));
	PQclear(r);
	if (!values[1])
		try(ctl_wait(c, values[2], look, &m, &seconds));
	say(c, &m, seconds);
	return err_ok;
}

/* ------------------------------------------------------------------ unpin */

static struct err count_pins(struct ctl *c, int *ret)
{
	PGresult *r;
	try(db_query(c, "SELECT count(*) FROM shard_pin", NULL, 0, &r));
	*ret = atoi(PQgetvalue(r, 0, 0));
	PQclear(r);
	return err_ok;
}

static struct err which(struct ctl *c, const char *const *values, const char **ret_shard)
{
	struct move m;
	*ret_shard = NULL;
	if (!c->args[0] == !values[0])
		return err_static(ERR_INVALID_ARGUMENT, "say which shard, or --all");
	if (c->args[0]) {
		try(read_shard(c, c->args[0], &m));
		*ret_shard = m.shard;
		return err_ok;
	}
	int pins;
	try(count_pins(c, &pins));
	if (!pins)
		return err_ok;
	return ctl_confirm(c, values[1],
			   arena_printf(c->arena, "this gives %d pinned shard%s back to hashing, which may move %s",
					pins, pins == 1 ? "" : "s", pins == 1 ? "it" : "them all"));
}

static struct err run_unpin(struct ctl *c, const char *const *values)
{
	const char *shard;
	PGresult *r;
	try(db_require_schema(c));
	try(which(c, values, &shard));
	try(db_query(c, "DELETE FROM shard_pin WHERE $1::integer IS NULL OR shard_id = $1 RETURNING shard_id, node_id",
		     &shard, 1, &r));
	int count = PQntuples(r);
	json_t *list = json_array();
	for (int i = 0; i < count; i++) {
		json_array_append_new(list, json_pack("{s:i, s:s}", "shard", atoi(PQgetvalue(r, i, 0)), "was_pinned_to",
						      PQgetvalue(r, i, 1)));
		if (!c->json)
			printf("shard %s is not pinned to %s any more\n", PQgetvalue(r, i, 0), PQgetvalue(r, i, 1));
	}
	PQclear(r);
	struct err e = err_ok;
	if (!count && shard)
		e = err_make(c->arena, ERR_NOT_FOUND, "shard %s is not pinned: hashing places it already", shard);
	else if (!count && !c->json)
		puts("no shard is pinned");
	if (err_is(e))
		json_decref(list);
	else
		ctl_print_json(c, list);
	return e;
}

const struct ctl_command ctl_shard_move = {
	.path = "shard move",
	.arguments = "SHARD",
	.args_min = 1,
	.args_max = 1,
	.summary = "Pin a shard to a history node, and wait until that one serves it",
	.details = "A planned hand-over: its runs stand still for some milliseconds. The pin counts while that node "
		   "lives and\n"
		   "doesn't drain, and again when it is back; meanwhile hashing places the shard as without it.",
	.examples = "perdurectl shard move 17 --to history-2\nperdurectl shard move 17 --to history-2 --no-wait",
	.options = {{"to", "NODE", "the history node that is to have it", .required = true},
		    CTL_OPTION_NO_WAIT,
		    CTL_OPTION_TIMEOUT},
	.run = run_move,
};

const struct ctl_command ctl_shard_unpin = {
	.path = "shard unpin",
	.arguments = "[SHARD]",
	.args_max = 1,
	.summary = "Let hashing place a shard again, or all that are pinned",
	.examples = "perdurectl shard unpin 17\nperdurectl shard unpin --all --yes",
	.options = {{"all", NULL, "every pinned shard"}, CTL_OPTION_YES},
	.run = run_unpin,
};
