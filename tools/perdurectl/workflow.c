/*
 * perdurectl workflow show, why, history, journal: one run, asked of the owner of its shard.
 */
#include <perdure/state.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <temporal/api/enums/v1/event_type.pb-c.h>
#include <temporal/api/history/v1/message.pb-c.h>

#include "common/membership/placement.h"
#include "tools/perdurectl/ctl.h"

struct target {
	const char *namespace_id, *query, *owner; /* owner: its HTTP address; NULL: nobody serves the shard */
	int shard;
};

static struct err find(struct ctl *c, struct target *t)
{
	PGresult *r;
	try(db_require_schema(c));
	try(ctl_namespace_id(c, c->args[0], &t->namespace_id));
	try(db_query(c, "SELECT shard_count FROM cluster", NULL, 0, &r));
	t->shard = (int)shard_of(t->namespace_id, c->args[1], (uint32_t)atoi(PQgetvalue(r, 0, 0)));
	PQclear(r);
	t->query = arena_printf(c->arena, "?namespace_id=%s&workflow_id=%s&run_id=%s", ctl_escape(c, t->namespace_id),
				ctl_escape(c, c->args[1]), ctl_escape(c, c->args[2] ? c->args[2] : ""));
	const char *shard = arena_printf(c->arena, "%d", t->shard);
	try(db_query(
		c,
		"SELECT n.http_address FROM shard s JOIN node n ON n.node_id = s.owner_node_id AND n.incarnation = "
		"s.owner_incarnation AND NOT n.dead AND n.renewed_at > now() - interval '10 s' WHERE s.shard_id = $1",
		&shard, 1, &r));
	t->owner = PQntuples(r) ? arena_strdup(c->arena, PQgetvalue(r, 0, 0)) : NULL;
	PQclear(r);
	return err_ok;
}

static struct err moving(struct ctl *c, const struct target *t)
{
	return err_reason(err_make(c->arena, ERR_UNAVAILABLE, "its shard (%d) is moving: no history node serves it now",
				   t->shard),
			  ERR_REASON_NOT_OWNER);
}

static struct err ask(struct ctl *c, struct target *t, json_t **ret)
{
	try(find(c, t));
	if (!t->owner)
		return moving(c, t);
	struct err e = ctl_http_json(c, t->owner, arena_printf(c->arena, "/admin/history/run%s", t->query), ret);
	return e.reason == ERR_REASON_NOT_OWNER ? moving(c, t) : e;
}

/* ------------------------------------------------------------------ why */

static const char *text(const json_t *v, const char *key)
{
	const char *s = json_string_value(json_object_get(v, key));
	return s ? s : "";
}

/* A task wants for a worker: what does matching know of the queue? */
static const char *about_queue(struct ctl *c, const json_t *q)
{
	struct err e;
	json_t *list = ctl_queues(c,
				  arena_printf(c->arena, "?namespace_id=%s&name=%s&pollers=%s",
					       ctl_escape(c, text(q, "namespace_id")), ctl_escape(c, text(q, "name")),
					       text(q, "pollers")),
				  &e);
	long long polls = 0, waiting = 0, limited = 0;
	double last = -1;
	size_t i, k;
	json_t *p, *v;
	json_array_foreach(list, i, p)
	{
		polls += json_integer_value(json_object_get(p, "open_polls"));
		waiting += json_integer_value(json_object_get(p, "waiting"));
		limited += json_is_true(json_object_get(p, "rate_limited"));
		json_array_foreach(json_object_get(p, "poller_list"), k, v)
		{
			double ago = json_number_value(json_object_get(v, "last_poll_seconds_ago"));
			last = last < 0 || ago < last ? ago : last;
		}
	}
	json_decref(list);
	if (err_is(e))
		return "";
	if (polls)
		return arena_printf(c->arena, ": %lld polls are open, %lld tasks wait%s", polls, waiting,
				    limited ? ", and its workers limit the rate" : "");
	if (last >= 0)
		return arena_printf(c->arena, ": no poll is open there, the last one was %.0f s ago", last);
	return ": no worker has polled that queue in the last minutes";
}

static const char *sentence(struct ctl *c, const json_t *run)
{
	const json_t *why = json_object_get(run, "why"), *queue = json_object_get(why, "queue");
	const char *more = json_is_object(queue) ? about_queue(c, queue) : "";
	return arena_printf(c->arena, "%s%s", text(why, "why"), more);
}

static struct err run_why(struct ctl *c, const char *const *values)
{
	(void)values;
	struct target t = {0};
	json_t *run = NULL;
	struct err e = ask(c, &t, &run);
	bool is_moving = e.reason == ERR_REASON_NOT_OWNER;
	if (err_is(e) && !is_moving)
		return e;
	const char *why = is_moving ? e.message : sentence(c, run);
	if (!c->json)
		puts(why);
	ctl_print_json(c,
		       json_pack("{s:s, s:s}", "reason",
				 is_moving ? "shard_moving" : text(json_object_get(run, "why"), "reason"), "why", why));
	json_decref(run);
	return err_ok;
}

/* ------------------------------------------------------------------ show */

static const char *long_text(struct ctl *c, const json_t *v, const char *key)
{
	return arena_printf(c->arena, "%lld", (long long)json_integer_value(json_object_get(v, key)));
}

static void print_run(struct ctl *c, const json_t *run)
{
	const json_t *at = json_object_get(run, "storage"), *w = json_object_get(run, "workflow_task"), *v;
	printf("run         %s\ntype        %s\nstatus      %s\nqueue       %s\nstarted     %s\nclosed      %s\n",
	       text(run, "run_id"), text(run, "type"), text(run, "status"), text(run, "task_queue"),
	       text(run, "started"), text(run, "closed"));
	printf("events      %s, %s bytes; %s buffered\nwakes at    %s\n", long_text(c, run, "events"),
	       long_text(c, run, "history_bytes"), long_text(c, run, "buffered_events"), text(run, "wake_at"));
	printf("shard       %s, epoch %s; changed at seq %s, row has %s%s\n", long_text(c, at, "shard"),
	       long_text(c, at, "epoch"), long_text(c, at, "seq"), long_text(c, at, "stored_seq"),
	       json_integer_value(json_object_get(at, "dirty_since")) ? " (not folded yet)" : "");
	if (json_is_object(w))
		printf("task        workflow task, attempt %s, scheduled %s, started %s by %s\n",
		       long_text(c, w, "attempt"), text(w, "scheduled"), text(w, "started"), text(w, "identity"));
	size_t i;
	json_array_foreach(json_object_get(run, "activities"), i, v)
		printf("activity    %s (%s), attempt %s, scheduled %s, started %s by %s, times out %s\n",
		       text(v, "activity_id"), text(v, "type"), long_text(c, v, "attempt"), text(v, "scheduled"),
		       text(v, "started"), text(v, "identity"), text(v, "times_out"));
	json_array_foreach(json_object_get(run, "timers"), i, v)
		printf("timer       %s, fires %s\n", text(v, "timer_id"), text(v, "fires"));
	printf("why         %s\n", sentence(c, run));
}

static struct err run_show(struct ctl *c, const char *const *values)
{
	(void)values;
	struct target t = {0};
	json_t *run;
	try(ask(c, &t, &run));
	if (!c->json)
		print_run(c, run);
	ctl_print_json(c, run);
	return err_ok;
}

/* ------------------------------------------------------------------ history */

static struct err run_history(struct ctl *c, const char *const *values)
{
	(void)values;
	struct target t = {0};
	long status;
	struct bytes body;
	try(find(c, &t));
	if (!t.owner)
		return moving(c, &t);
	try(ctl_http(c, t.owner, arena_printf(c->arena, "/admin/history/events%s", t.query), &status, &body));
	if (status != 200)
		return err_make(c->arena, status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE, "%.*s", (int)body.len,
				(const char *)body.data);
	ProtobufCMessage *m = protobuf_c_message_unpack(&temporal__api__history__v1__history__descriptor,
							arena_pb(c->arena), body.len, body.data);
	if (!m)
		return err_static(ERR_DATA_LOSS, "the run's history can't be read");
	c->json = true;
	ctl_print_json(c, ctl_pb_json(c, m));
	return err_ok;
}

/* ------------------------------------------------------------------ journal */

static void print_delta(struct ctl *c, const PGresult *r, int i, const Perdure__RunDelta *d, json_t *list)
{
	const Perdure__RunExec *x = d->exec;
	if (!c->json)
		printf("seq %s epoch %s: run %s%s, events %lld to %lld%s, %zu activities put, %zu removed, %zu timers "
		       "put, "
		       "%zu removed\n",
		       PQgetvalue(r, i, 0), PQgetvalue(r, i, 1), d->run_id, d->start ? " begins" : "",
		       (long long)d->first_event_id, (long long)(d->first_event_id + d->event_count - 1),
		       d->deleted ? ", deleted" : "", d->n_put_activities, d->n_removed_activities, d->n_put_timers,
		       d->n_removed_timers);
	json_array_append_new(list, json_pack("{s:I, s:I, s:s, s:b, s:b, s:I, s:i, s:i, s:I, s:o}", "seq",
					      (json_int_t)atoll(PQgetvalue(r, i, 0)), "epoch",
					      (json_int_t)atoll(PQgetvalue(r, i, 1)), "run_id", d->run_id, "begins",
					      d->start != NULL, "deleted", d->deleted, "first_event_id",
					      (json_int_t)d->first_event_id, "events", (int)d->event_count, "status",
					      x ? (int)x->status : 0, "put_activities", (json_int_t)d->n_put_activities,
					      "delta", ctl_pb_json(c, &d->base)));
}

static struct err run_journal(struct ctl *c, const char *const *values)
{
	(void)values;
	struct target t = {0};
	PGresult *r;
	try(find(c, &t));
	const char *shard = arena_printf(c->arena, "%d", t.shard);
	try(db_query(c, "SELECT seq, epoch, record FROM journal WHERE shard_id = $1 ORDER BY seq", &shard, 1, &r));
	json_t *list = json_array();
	for (int i = 0; i < PQntuples(r); i++) {
		struct bytes record = db_bytea(c, r, i, 2);
		Perdure__JournalRecord *j =
			perdure__journal_record__unpack(arena_pb(c->arena), record.len, record.data);
		for (size_t k = 0; j && k < j->n_deltas; k++) {
			const Perdure__RunDelta *d = j->deltas[k];
			if (str_eq(d->namespace_id, t.namespace_id) && str_eq(d->workflow_id, c->args[1]) &&
			    (!c->args[2] || str_eq(d->run_id, c->args[2])))
				print_delta(c, r, i, d, list);
		}
	}
	if (!json_array_size(list) && !c->json)
		puts("nothing: all of it is folded into the run's row, or there is no such run");
	PQclear(r);
	ctl_print_json(c, list);
	return err_ok;
}

#define RUN_ARGUMENTS .arguments = "NAMESPACE WORKFLOW_ID [RUN_ID]", .args_min = 2, .args_max = 3

const struct ctl_command ctl_workflow_show = {
	.path = "workflow show",
	RUN_ARGUMENTS,
	.summary = "A run: its state, what is pending, where its truth is stored",
	.examples = "perdurectl workflow show default order-17",
	.run = run_show,
};

const struct ctl_command ctl_workflow_why = {
	.path = "workflow why",
	RUN_ARGUMENTS,
	.summary = "Why a run isn't progressing, in one sentence",
	.examples = "perdurectl workflow why default order-17",
	.run = run_why,
};

const struct ctl_command ctl_workflow_history = {
	.path = "workflow history",
	RUN_ARGUMENTS,
	.summary = "A run's history as JSON, as SDKs' replayers read it",
	.examples = "perdurectl workflow history default order-17 >order-17.json",
	.run = run_history,
};

const struct ctl_command ctl_workflow_journal = {
	.path = "workflow journal",
	RUN_ARGUMENTS,
	.summary = "A run's records in the journal that are not folded into its row yet",
	.examples = "perdurectl workflow journal default order-17",
	.run = run_journal,
};
