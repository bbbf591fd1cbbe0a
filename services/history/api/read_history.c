/*
 * GetWorkflowExecutionHistory, forwards and in reverse, by page and as a long poll. Events travel as bytes.
 */
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/api/call.h"
#include "services/history/measure.h"

#define PAGE_EVENTS_MAX 256
#define PAGE_BYTES_MAX	(2 * 1024 * 1024)
#define HISTORY_FIELD	1
#define TOKEN_FIELD	3

/* One page being made, or a long poll that waits for something to put on it. */
struct watcher {
	struct call *c;
	struct cached_run *run;
	struct watcher *next;
	struct env_timer timer;
	bool listed;
	bool wait, close_only;
	int64_t first, last; /* of the page */
	size_t page_max;
	Perdure__HistoryPageToken token; /* of the request */
	bool worker_token;		 /* pages of a workflow task's response */
	struct events_read read;
};

static void unlist(struct watcher *w)
{
	if (!w->listed)
		return;
	w->listed = false;
	LL_DELETE(w->run->watchers, w);
	env_timer_stop(w->c->h->env, &w->timer);
}

static void put_token(struct watcher *w, struct buf *out, const Perdure__HistoryPageToken *t)
{
	size_t len = perdure__history_page_token__get_packed_size(t);
	uint8_t *data = arena_alloc(w->c->arena, len);
	perdure__history_page_token__pack(t, data);
	buf_put_field(out, TOKEN_FIELD, bytes_of(data, len));
}

static Perdure__HistoryPageToken token_at(struct watcher *w, int64_t next)
{
	Perdure__HistoryPageToken t = w->token;
	t.run_id = w->run->run->start->run_id;
	t.next_event_id = next;
	return t;
}

static void finish(struct watcher *w, struct bytes events, const Perdure__HistoryPageToken *next)
{
	struct call *c = w->c;
	struct buf out = {0};
	buf_put_field(&out, HISTORY_FIELD, events);
	if (next)
		put_token(w, &out, next);
	c->response = arena_copy(c->arena, buf_view(&out));
	buf_done(&out);
	call_after(c, w->run);
}

/* The command line and the web UI show what is written, and expect no events that may never be. */
static bool shows_transient(const struct call *c)
{
	for (size_t i = 0; i < c->envelope->n_headers; i++)
		if (str_eq(c->envelope->headers[i]->key, "client-name"))
			return !str_eq(c->envelope->headers[i]->value, "temporal-cli") &&
			       !str_eq(c->envelope->headers[i]->value, "temporal-ui");
	return true;
}

/*
 * The events of a transient workflow task end the last page of its response. Other readers see them too, but not who
 * took the task: that is told by the task's end.
 */
static struct bytes with_transient(struct watcher *w, struct bytes events)
{
	const Perdure__WorkflowTask *wt = w->run->run->exec->workflow_task;
	if (!wt || !run_open(w->run->run) || (!w->worker_token && !shows_transient(w->c)))
		return events;
	if (w->worker_token ? !w->token.transient_from_event_id || wt->start_nonce != w->token.start_nonce
			    : w->last != w->run->run->exec->next_event_id - 1)
		return events;
	Temporal__Api__History__V1__HistoryEvent *both[2] = {0};
	struct txn t;
	call_begin(w->c, &t, w->run->wf, w->run);
	core_transient_events(&t, &both[0], &both[1]);
	if (both[1] && !w->worker_token)
		both[1]->workflow_task_started_event_attributes->identity = NULL;
	struct buf out = {0};
	buf_put_bytes(&out, events);
	for (size_t i = 0; i < 2 && both[i]; i++) {
		size_t len = temporal__api__history__v1__history_event__get_packed_size(both[i]);
		uint8_t *data = arena_alloc(w->c->arena, len);
		temporal__api__history__v1__history_event__pack(both[i], data);
		buf_put_field(&out, 1, bytes_of(data, len));
	}
	struct bytes all = arena_copy(w->c->arena, buf_view(&out));
	buf_done(&out);
	return all;
}

static void refuse(struct watcher *w, struct err e)
{
	buf_done(&w->read.out);
	call_reply(w->c, e.code == ERR_NOT_FOUND ? call_not_found(w->c) : e); /* deleted while it was read */
}

static void on_page(struct events_read *read, struct err e, struct bytes events)
{
	struct watcher *w = container_of(read, struct watcher, read);
	if (err_is(e)) {
		refuse(w, e);
		return;
	}
	int64_t next = w->first + (int64_t)events_cut(&events, w->page_max, PAGE_BYTES_MAX);
	if (next <= w->last) {
		Perdure__HistoryPageToken t = token_at(w, next);
		if (!w->wait && !w->worker_token)
			t.last_event_id = w->last; /* what was there when the first page was read */
		finish(w, events, &t);
	} else if (w->wait && run_open(w->run->run)) {
		Perdure__HistoryPageToken t = token_at(w, next);
		finish(w, with_transient(w, events), &t);
	} else {
		finish(w, with_transient(w, events), NULL);
	}
	buf_done(&read->out);
}

static void read_page(struct watcher *w)
{
	/* No more than the page can hold is read. */
	int64_t last = min_i64(w->last, w->first + (int64_t)w->page_max - 1);
	w->read = (struct events_read){.fn = on_page, .run = w->run, .first = w->first, .last = last};
	measure_call_reading(w->c);
	events_read(&w->read);
}

static void finish_empty(struct watcher *w)
{
	Perdure__HistoryPageToken t = token_at(w, w->first);
	finish(w, bytes_of(NULL, 0), &t);
}

/* Answers if there is something to answer. */
static bool try_answer(struct watcher *w)
{
	const struct run *run = w->run->run;
	int64_t last = run->exec->next_event_id - 1;
	bool open = run_open(run);
	if (w->close_only && open)
		return false;
	unlist(w);
	if (w->close_only) {
		w->wait = false;
		w->first = w->last = last;
		read_page(w);
		return true;
	}
	w->last = w->token.last_event_id ? min_i64(w->token.last_event_id, last) : last;
	read_page(w);
	return true;
}

static void on_timeout(struct env_timer *t)
{
	struct watcher *w = container_of(t, struct watcher, timer);
	unlist(w);
	finish_empty(w);
}

static void on_gone(void *ctx, struct rpc_request *req)
{
	struct watcher *w = ctx;
	(void)req;
	if (!w->listed)
		return;
	unlist(w);
	call_reply(w->c, err_static(ERR_CANCELLED, "context canceled"));
}

static void wait_for_news(struct watcher *w)
{
	struct history *h = w->c->h;
	int64_t left = rpc_deadline_ns(w->c->req) - env_mono_ns(h->env) - 200 * NS_PER_MS;
	w->timer.fn = on_timeout;
	w->listed = true;
	LL_PREPEND(w->run->watchers, w);
	env_timer_start(h->env, &w->timer, max_i64(0, min_i64(left, h->config.long_poll_max_ns)));
	rpc_on_cancel(w->c->req, on_gone, w);
}

void watchers_notify(struct cached_run *r)
{
	struct watcher *w, *tmp;
	LL_FOREACH_SAFE (r->watchers, w, tmp) {
		int64_t last = r->run->exec->next_event_id - 1;
		if (w->close_only || last >= w->first || !run_open(r->run))
			(void)try_answer(w);
	}
}

void watchers_fail(struct cached_run *r, struct err e)
{
	struct watcher *w, *tmp;
	LL_FOREACH_SAFE (r->watchers, w, tmp) {
		unlist(w);
		call_reply(w->c, e);
	}
}

static struct watcher *watcher_new(struct call *c, struct cached_run *run, ProtobufCBinaryData token, int page_max)
{
	struct watcher *w = arena_new0(c->arena, struct watcher);
	Perdure__HistoryPageToken init = PERDURE__HISTORY_PAGE_TOKEN__INIT;
	w->c = c;
	w->run = run;
	w->token = init;
	if (token.len)
		w->token = *perdure__history_page_token__unpack(arena_pb(c->arena), token.len, token.data);
	w->worker_token = w->token.start_nonce != 0;
	w->page_max = page_max <= 0 || page_max > PAGE_EVENTS_MAX ? PAGE_EVENTS_MAX : (size_t)page_max;
	return w;
}

struct err step_get_history(struct call *c, struct workflow *wf, struct cached_run *run)
{
	const WS(GetWorkflowExecutionHistoryRequest) *req = c->request;
	(void)wf;
	cached_run_used(run);
	struct watcher *w = watcher_new(c, run, req->next_page_token, req->maximum_page_size);
	int64_t last = run->run->exec->next_event_id - 1;
	bool open = run_open(run->run);
	w->wait = req->wait_new_event;
	w->close_only = req->history_event_filter_type ==
			TEMPORAL__API__ENUMS__V1__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
	w->first = max_i64(1, w->token.next_event_id);
	if (w->close_only && open && !w->wait) {
		finish(w, bytes_of(NULL, 0), NULL);
		return err_ok;
	}
	if (w->wait && open && (w->close_only || w->first > last)) {
		wait_for_news(w);
		return err_ok;
	}
	(void)try_answer(w);
	return err_ok;
}

/* ------------------------------------------------------------------ in reverse */

static void on_reverse_page(struct events_read *read, struct err e, struct bytes events)
{
	struct watcher *w = container_of(read, struct watcher, read);
	if (err_is(e)) {
		refuse(w, e);
		return;
	}
	/* The last page_max events of [first, last], turned round. */
	size_t count = (size_t)(w->last - w->first + 1), n = 0;
	struct bytes *list = arena_array(w->c->arena, struct bytes, count), rest = events;
	while (n < count && events_next(&rest, &list[n]))
		n++;
	struct buf out = {0};
	while (n > 0 && (out.len == 0 || out.len < PAGE_BYTES_MAX))
		buf_put_field(&out, 1, list[--n]);
	int64_t next = w->first + (int64_t)n - 1;
	Perdure__HistoryPageToken t = token_at(w, next);
	t.reverse = true;
	finish(w, buf_view(&out), next >= 1 ? &t : NULL);
	buf_done(&out);
	buf_done(&read->out);
}

struct err step_get_history_reverse(struct call *c, struct workflow *wf, struct cached_run *run)
{
	const WS(GetWorkflowExecutionHistoryReverseRequest) *req = c->request;
	(void)wf;
	cached_run_used(run);
	struct watcher *w = watcher_new(c, run, req->next_page_token, req->maximum_page_size);
	w->last = w->token.next_event_id ? w->token.next_event_id : run->run->exec->next_event_id - 1;
	w->first = max_i64(1, w->last - (int64_t)w->page_max + 1);
	w->read = (struct events_read){.fn = on_reverse_page, .run = run, .first = w->first, .last = w->last};
	measure_call_reading(c);
	events_read(&w->read);
	return err_ok;
}
