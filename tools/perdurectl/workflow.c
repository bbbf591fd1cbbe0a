/*
 * perdurectl workflow show, why, history, journal: one run, asked of the owner of its shard.
 */
#include <perdure/state.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <temporal/api/enums/v1/event_type.pb-c.h>
#include <temporal/api/history/v1/message.pb-c.h>
#include <time.h>

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
	const char *text = t->owner ? "its shard (%d) is moving to %s, which doesn't serve it yet"
				    : "its shard (%d) has no owner: no history node that is alive has it";
	return err_reason(err_make(c->arena, ERR_UNAVAILABLE, text, t->shard, t->owner), ERR_REASON_NOT_OWNER);
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

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
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
		waiting += json_integer_value(json_object_get(p, "backlog"));
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
	const char *behind = waiting > 1 ? arena_printf(c->arena, ", where %lld tasks wait", waiting) : "";
	if (polls && limited)
		return arena_printf(c->arena, "%s: its workers limit their rate (%lld polls are open)", behind, polls);
	if (polls)
		return arena_printf(c->arena, "%s: %lld polls are open", behind, polls);
	if (last >= 0)
		return arena_printf(c->arena, "%s: nobody has polled it since %s", behind,
				    ctl_time(c, now_ns() - (int64_t)(last * 1e9)));
	return arena_printf(c->arena, "%s: no worker has polled it in the last minutes", behind);
}

static const char *sentence(struct ctl *c, const json_t *run)
{
	const json_t *why = json_object_get(run, "why"), *queue = json_object_get(why, "queue");
	const char *more = json_is_object(queue) ? about_queue(c, queue) : "";
	return arena_printf(c->arena, "%s%s", text(why, "why"), more);
}

/* It isn't found: is there still a row of it, whose retention is over? NULL: nothing is left. */
static const char *gone(struct ctl *c, const struct target *t)
{
	const char *shard = arena_printf(c->arena, "%d", t->shard);
	const char *params[] = {shard, t->namespace_id, c->args[1], c->args[2] ? c->args[2] : ""};
	PGresult *r;
	struct err e = db_query(c,
				"SELECT max(retention_end) FROM closed_run WHERE shard_id = $1 AND namespace_id = $2 "
				"AND workflow_id = $3 AND ($4 = '' OR run_id = $4)",
				params, 4, &r);
	if (err_is(e))
		return NULL;
	int64_t end = PQgetisnull(r, 0, 0) ? 0 : atoll(PQgetvalue(r, 0, 0));
	PQclear(r);
	if (!end || end > now_ns())
		return NULL;
	return arena_printf(c->arena, "it is gone: its retention ended at %s, and its row will be dropped",
			    ctl_time(c, end));
}

static struct err run_why(struct ctl *c, const char *const *values)
{
	(void)values;
	struct target t = {0};
	json_t *run = NULL;
	struct err e = ask(c, &t, &run);
	const char *why, *reason;
	if (e.reason == ERR_REASON_NOT_OWNER) {
		why = e.message;
		reason = "shard_moving";
	} else if (e.code == ERR_NOT_FOUND && t.namespace_id) {
		why = gone(c, &t);
		reason = "retention";
		if (!why)
			return err_static(ERR_NOT_FOUND, "no such run: it never was, was deleted, or its retention is "
							 "over");
	} else if (e.code == ERR_UNAVAILABLE && t.owner) {
		why = arena_printf(c->arena,
				   "its shard (%d) is with %s, which doesn't answer: it moves when that "
				   "node's lease is over",
				   t.shard, t.owner);
		reason = "owner_silent";
	} else if (err_is(e)) {
		return e;
	} else {
		why = sentence(c, run);
		reason = text(json_object_get(run, "why"), "reason");
	}
	if (!c->json)
		puts(why);
	ctl_print_json(c, json_pack("{s:s, s:s}", "reason", reason, "why", why));
	json_decref(run);
	return err_ok;
}

/* ------------------------------------------------------------------ show */

static const char *long_text(struct ctl *c, const json_t *v, const char *key)
{
	return arena_printf(c->arena, "%lld", (long long)json_integer_value(json_object_get(v, key)));
}

static const char *started_by(struct ctl *c, const json_t *task)
{
	if (!*text(task, "started"))
		return "not started";
	return arena_printf(c->arena, "started %s by %s", text(task, "started"), text(task, "identity"));
}

/* What isn't there is left out. */
static void print_fact(const char *name, const char *value)
{
	if (*value)
		printf("%-11s %s\n", name, value);
}

static void print_run(struct ctl *c, const json_t *run)
{
	const json_t *at = json_object_get(run, "storage"), *w = json_object_get(run, "workflow_task"), *v;
	printf("run         %s\ntype        %s\nstatus      %s\nqueue       %s\n", text(run, "run_id"),
	       text(run, "type"), text(run, "status"), text(run, "task_queue"));
	print_fact("started", text(run, "started"));
	print_fact("closed", text(run, "closed"));
	printf("events      %s, %s bytes; %s buffered\n", long_text(c, run, "events"),
	       long_text(c, run, "history_bytes"), long_text(c, run, "buffered_events"));
	print_fact("wakes at", text(run, "wake_at"));
	printf("shard       %s, epoch %s; changed at seq %s, row has %s%s\n", long_text(c, at, "shard"),
	       long_text(c, at, "epoch"), long_text(c, at, "seq"), long_text(c, at, "stored_seq"),
	       json_integer_value(json_object_get(at, "dirty_since")) ? " (not folded yet)" : "");
	if (json_is_object(w))
		printf("task        workflow task, attempt %s, scheduled %s, %s\n", long_text(c, w, "attempt"),
		       text(w, "scheduled"), started_by(c, w));
	size_t i;
	json_array_foreach(json_object_get(run, "activities"), i, v)
		printf("activity    %s (%s), attempt %s, scheduled %s, %s%s%s%s%s\n", text(v, "activity_id"),
		       text(v, "type"), long_text(c, v, "attempt"), text(v, "scheduled"), started_by(c, v),
		       *text(v, "times_out") ? ", times out " : "", text(v, "times_out"),
		       *text(v, "backoff_until") ? ", in backoff until " : "", text(v, "backoff_until"));
	json_array_foreach(json_object_get(run, "timers"), i, v)
		printf("timer       %s, fires %s\n", text(v, "timer_id"), text(v, "fires"));
	printf("why         %s\n", sentence(c, run));
}

/* ------------------------------------------------------------------ history */

static struct err history(struct ctl *c, const struct target *t, json_t **ret)
{
	long status;
	struct bytes body;
	try(ctl_http(c, t->owner, arena_printf(c->arena, "/admin/history/events%s", t->query), &status, &body));
	if (status == 404)
		return err_static(ERR_NOT_FOUND, "no such run");
	if (status != 200)
		return err_make(c->arena, ERR_UNAVAILABLE, "%s: %.*s", t->owner, (int)body.len,
				(const char *)body.data);
	ProtobufCMessage *m = protobuf_c_message_unpack(&temporal__api__history__v1__history__descriptor,
							arena_pb(c->arena), body.len, body.data);
	if (!m)
		return err_static(ERR_DATA_LOSS, "the run's history can't be read");
	*ret = ctl_pb_json(c, m);
	return err_ok;
}

static struct err run_history(struct ctl *c, const char *const *values)
{
	(void)values;
	struct target t = {0};
	json_t *events;
	try(find(c, &t));
	if (!t.owner)
		return moving(c, &t);
	try(history(c, &t, &events));
	c->json = true;
	ctl_print_json(c, events);
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

/* What the journal still holds of it, printed on the way unless JSON is wanted. */
static struct err journal(struct ctl *c, const struct target *t, const char *run_id, json_t **ret)
{
	PGresult *r;
	const char *shard = arena_printf(c->arena, "%d", t->shard);
	try(db_query(c, "SELECT seq, epoch, record FROM journal WHERE shard_id = $1 ORDER BY seq", &shard, 1, &r));
	json_t *list = *ret = json_array();
	for (int i = 0; i < PQntuples(r); i++) {
		struct bytes record = db_bytea(c, r, i, 2);
		Perdure__JournalRecord *j =
			perdure__journal_record__unpack(arena_pb(c->arena), record.len, record.data);
		for (size_t k = 0; j && k < j->n_deltas; k++) {
			const Perdure__RunDelta *d = j->deltas[k];
			if (str_eq(d->namespace_id, t->namespace_id) && str_eq(d->workflow_id, c->args[1]) &&
			    (!run_id || str_eq(d->run_id, run_id)))
				print_delta(c, r, i, d, list);
		}
	}
	PQclear(r);
	return err_ok;
}

static struct err run_journal(struct ctl *c, const char *const *values)
{
	(void)values;
	struct target t = {0};
	json_t *list;
	try(find(c, &t));
	try(journal(c, &t, c->args[2], &list));
	if (!json_array_size(list) && !c->json)
		puts("nothing: all of it is folded into the run's row, or there is no such run");
	ctl_print_json(c, list);
	return err_ok;
}

/* ------------------------------------------------------------------ show, altogether */

static struct err run_show(struct ctl *c, const char *const *values)
{
	struct target t = {0};
	json_t *run, *part;
	try(ask(c, &t, &run));
	const char *run_id = arena_strdup(c->arena, text(run, "run_id"));
	if (!c->json) {
		print_run(c, run);
		printf("journal     %s\n", "what of it is not folded yet:");
	}
	struct err e = journal(c, &t, run_id, &part);
	if (!err_is(e)) {
		if (!c->json && !json_array_size(part))
			puts("            nothing");
		json_object_set_new(run, "journal", part);
	}
	if (!err_is(e) && values[0]) {
		e = history(c, &t, &part);
		if (!err_is(e) && !c->json) {
			json_dumpf(part, stdout, JSON_INDENT(2));
			putchar('\n');
		}
		if (!err_is(e))
			json_object_set_new(run, "history", part);
	}
	if (err_is(e))
		json_decref(run);
	else
		ctl_print_json(c, run);
	return e;
}

#define RUN_ARGUMENTS .arguments = "NAMESPACE WORKFLOW_ID [RUN_ID]", .args_min = 2, .args_max = 3

const struct ctl_command ctl_workflow_show = {
	.path = "workflow show",
	RUN_ARGUMENTS,
	.summary = "A run: its state, what is pending, what it waits for, where its truth is stored",
	.examples = "perdurectl workflow show default order-17\n"
		    "perdurectl --json workflow show default order-17 --history | jq .history",
	.options = {{"history", NULL, "its events, too, as SDKs' replayers read them"}},
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
