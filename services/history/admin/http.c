/*
 * The admin endpoints of a history node; see admin.h.
 */
#include <stdlib.h>

#include "common/http/json.h"
#include "common/mem/mem.h"
#include "services/history/admin/admin.h"
#include "services/history/admin/audit.h"

static struct history *history_of(struct history_admin *a, struct http_request *req)
{
	if (!a->history)
		http_reply_json_error(req, 503, "this node is starting");
	return a->history;
}

static void on_overview(void *ctx, struct http_request *req)
{
	struct history *h = history_of(ctx, req);
	if (h)
		http_reply_json(req, 200, admin_overview(h));
}

static void on_audit(void *ctx, struct http_request *req)
{
	struct history_admin *a = ctx;
	if (!history_of(a, req))
		return;
	const char *shard = http_query(req, "shard"), *rate = http_query(req, "rate");
	const struct audit_scope scope = {
		.shard = shard ? atoll(shard) : -1,
		.namespace_id = http_query(req, "namespace_id"),
		.workflow_id = http_query(req, "workflow_id"),
		.rows_per_second = rate ? max_i64(atoll(rate), 0) : 0,
		.repair = http_query(req, "repair") != NULL,
	};
	if (scope.workflow_id && !scope.namespace_id)
		http_reply_json_error(req, 400, "a workflow_id needs its namespace_id");
	else if (http_query(req, "run") && !auditor_ask(a->auditor, &scope))
		http_reply_json_error(req, 409, "another audit is under way");
	else
		http_reply_json(req, 200, auditor_json(a->auditor));
}

/* ------------------------------------------------------------------ one run */

#define RECENT_EVENTS 50

/* A request that waits for a run, or for its events. */
struct asked {
	struct run_wait wait;
	struct events_read read;
	struct http_request *req;
	bool events;
};

static void reply_err(struct asked *q, struct err e)
{
	http_reply_json_error(q->req, e.code == ERR_NOT_FOUND ? 404 : 503, e.message);
	buf_done(&q->read.out);
	free(q);
}

static void on_events(struct events_read *r, struct err e, struct bytes events)
{
	struct asked *q = container_of(r, struct asked, read);
	if (err_is(e)) {
		reply_err(q, e);
		return;
	}
	http_reply(q->req, 200, "application/x-protobuf", events);
	buf_done(&q->read.out);
	free(q);
}

/* Without them it can still be said what the run waits for. */
static void on_recent(struct events_read *r, struct err e, struct bytes events)
{
	struct asked *q = container_of(r, struct asked, read);
	if (!r->run) { /* its shard went meanwhile */
		reply_err(q, e);
		return;
	}
	http_reply_json(q->req, 200, admin_run(r->run, err_is(e) ? bytes_of(NULL, 0) : events));
	buf_done(&q->read.out);
	free(q);
}

static void on_run(struct run_wait *w, struct err e, struct workflow *wf, struct cached_run *run)
{
	struct asked *q = container_of(w, struct asked, wait);
	(void)wf;
	if (!err_is(e) && !run)
		e = err_static(ERR_NOT_FOUND, "no such run");
	if (err_is(e)) {
		reply_err(q, e);
		return;
	}
	if (q->events) {
		q->read = (struct events_read){
			.fn = on_events, .run = run, .first = 1, .last = run->run->exec->next_event_id - 1};
		events_read(&q->read);
		return;
	}
	const Perdure__WorkflowTask *task = run->run->exec->workflow_task;
	int64_t last = run->run->exec->next_event_id - 1;
	q->read = (struct events_read){
		.fn = on_recent, .run = run, .first = max_i64(1, last - RECENT_EVENTS), .last = last};
	if (task && task->attempt > 1 && run_open(run->run))
		events_read(&q->read);
	else
		on_recent(&q->read, err_ok, bytes_of(NULL, 0));
}

static void find_run(struct history_admin *a, struct http_request *req, bool events)
{
	struct history *h = history_of(a, req);
	if (!h)
		return;
	const char *namespace_id = http_query(req, "namespace_id"), *workflow_id = http_query(req, "workflow_id");
	const char *run_id = http_query(req, "run_id");
	if (str_empty(namespace_id) || str_empty(workflow_id)) {
		http_reply_json_error(req, 400, "namespace_id and workflow_id are needed");
		return;
	}
	struct shard *s = history_shard_of(h, namespace_id, workflow_id);
	if (!shard_serving(s)) {
		http_reply_json(req, 421,
				json_pack("{s:s, s:i, s:s}", "error", "this node does not serve the run's shard",
					  "shard", (int)s->id, "state", admin_shard_state(s->state)));
		return;
	}
	struct asked *q = new0(struct asked);
	q->req = req;
	q->events = events;
	q->wait.fn = on_run;
	struct workflow *wf = workflow_get(s, namespace_id, workflow_id);
	struct cached_run *run = NULL;
	run_id = run_id ? run_id : "";
	if (workflow_find(wf, run_id, &run)) {
		on_run(&q->wait, err_ok, wf, run);
		workflow_put(wf);
	} else {
		workflow_load(wf, run_id, &q->wait);
	}
}

static void on_run_request(void *ctx, struct http_request *req)
{
	find_run(ctx, req, false);
}

static void on_events_request(void *ctx, struct http_request *req)
{
	find_run(ctx, req, true);
}

void history_admin_serve(struct history_admin *a, struct http_server *http)
{
	http_route(http, "GET", "/admin/history/overview", on_overview, a);
	http_route(http, "GET", "/admin/history/audit", on_audit, a);
	http_route(http, "GET", "/admin/history/run", on_run_request, a);
	http_route(http, "GET", "/admin/history/events", on_events_request, a);
}
