/*
 * A call from its headers to its last byte.
 *
 *   RECEIVING ── request complete: serve ── SERVING ── grpc_finish ── FINISHED ── last byte sent ── freed
 *
 * A call points to its connection and holds a reference to it; it is in one of the connection's lists as long as it
 * has a stream. When the stream ends early (reset, lost connection, deadline), a call that is with the user is
 * cancelled and lives until grpc_finish(); any other is freed at once.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/grpc/internal.h"
#include "common/mem/mem.h"

/* Requests under way that a connection may hold, in messages of full size, and the server in bytes. */
#define REQUESTS_HELD_PER_CONNECTION 8
#define REQUEST_BYTES_MAX	     ((size_t)512 * 1024 * 1024)

static void on_deadline(struct env_timer *t);

struct grpc_call *grpc_call_new(struct grpc_conn *conn, int32_t stream_id)
{
	struct grpc_call *call = new0(struct grpc_call);
	call->server = conn->server;
	call->conn = conn;
	call->stream_id = stream_id;
	call->started_ns = conn->last_read_ns;
	call->deadline_ns = INT64_MAX;
	call->deadline_timer.fn = on_deadline;
	call->receiving = true;
	DL_APPEND(conn->receiving, call);
	conn->refs++;
	return call;
}

static void hold_bytes(struct grpc_call *call, size_t held)
{
	call->conn->request_bytes += held - call->held_bytes;
	call->server->request_bytes += held - call->held_bytes;
	call->held_bytes = held;
}

static void free_messages(struct grpc_msg *m)
{
	while (m) {
		struct grpc_msg *next = m->next;
		free(m);
		m = next;
	}
}

static void free_header(struct grpc_header *h)
{
	nghttp2_rcbuf_decref(h->name);
	nghttp2_rcbuf_decref(h->value);
}

static struct grpc_header *header_at(const struct grpc_call *call, size_t i)
{
	return i < GRPC_INLINE_HEADERS ? (struct grpc_header *)&call->headers[i] : &call->more[i - GRPC_INLINE_HEADERS];
}

static void free_headers(struct grpc_call *call)
{
	for (size_t i = 0; i < call->header_count; i++)
		free_header(header_at(call, i));
	free(call->more);
	call->more = NULL;
	call->header_count = call->more_cap = 0;
}

/* Takes it out of the connection's lists: it has no stream any more. */
static void leave_stream(struct grpc_call *call)
{
	struct grpc_conn *conn = call->conn;
	if (!call->stream_id)
		return;
	call->stream_id = 0;
	if (call->receiving)
		DL_DELETE(conn->receiving, call);
	else
		DL_DELETE(conn->calls, call);
}

static void received(struct grpc_call *call)
{
	assert(call->receiving && call->stream_id);
	call->receiving = false;
	DL_DELETE(call->conn->receiving, call);
	DL_APPEND(call->conn->calls, call);
}

static void enqueue(struct grpc_call *call)
{
	if (call->queued)
		return;
	call->queued = true;
	DL_APPEND2(call->conn->events, call, prev_event, next_event);
}

static void dequeue(struct grpc_call *call)
{
	if (!call->queued)
		return;
	call->queued = false;
	DL_DELETE2(call->conn->events, call, prev_event, next_event);
}

void grpc_call_free(struct grpc_call *call)
{
	struct grpc_conn *conn = call->conn;
	leave_stream(call);
	dequeue(call);
	if (conn->current == call)
		conn->current = NULL;
	if (conn->serving == call)
		conn->serving = NULL;
	env_timer_stop(call->server->env, &call->deadline_timer);
	hold_bytes(call, 0);
	grpc_deframer_done(&call->in);
	free_messages(call->msg);
	free_messages(call->queue);
	free_headers(call);
	grpc_reply_done(call);
	free(call);
	grpc_conn_unref(conn);
}

/* ---- the end before its time ---- */

static void cancel(struct grpc_call *call)
{
	env_timer_stop(call->server->env, &call->deadline_timer);
	call->server->stats.cancelled++;
	call->cancelled = true;
	call->cancel_pending = true;
	enqueue(call);
}

void grpc_call_on_stream_close(struct grpc_call *call)
{
	leave_stream(call);
	if (call->state == GRPC_CALL_SERVING)
		cancel(call);
	else if (!call->pinned)
		grpc_call_free(call);
}

void grpc_call_cut(struct grpc_call *call)
{
	nghttp2_session_set_stream_user_data(call->conn->session, call->stream_id, NULL);
	grpc_server_mark_dirty(call->server, call->conn);
	if (call->conn->events || call->state == GRPC_CALL_SERVING)
		env_defer(call->server->env, &call->conn->task);
	grpc_call_on_stream_close(call);
}

void grpc_call_refuse(struct grpc_call *call, struct err e)
{
	struct grpc_conn *conn = call->conn;
	if (call->state != GRPC_CALL_SERVING)
		call->server->stats.refused++;
	if (call->headers_sent)
		nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
	else
		grpc_reply_error(conn, call->stream_id, e);
	grpc_call_cut(call);
}

static void on_deadline(struct env_timer *t)
{
	struct grpc_call *call = container_of(t, struct grpc_call, deadline_timer);
	grpc_call_refuse(call, err_static(ERR_DEADLINE_EXCEEDED, "context deadline exceeded"));
}

/* ---- the request ---- */

void grpc_call_on_header(struct grpc_call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
	/* As HTTP/2 counts a list's size (RFC 9113, 6.5.2). */
	call->header_bytes += nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len + 32;
	if (call->header_bytes > (size_t)call->server->config.header_list_bytes_max)
		return; /* refused when the headers end */
	size_t i = call->header_count;
	if (i >= GRPC_INLINE_HEADERS && i - GRPC_INLINE_HEADERS >= call->more_cap) {
		call->more_cap = (uint16_t)(call->more_cap ? call->more_cap * 2 : 16);
		call->more = mem_realloc(call->more, call->more_cap * sizeof *call->more);
	}
	nghttp2_rcbuf_incref(name);
	nghttp2_rcbuf_incref(value);
	call->header_count++;
	*header_at(call, i) = (struct grpc_header){name, value};
}

void grpc_call_on_headers_end(struct grpc_call *call)
{
	grpc_request_accept(call);
}

/* Refuses a request that makes us hold more than we are willing to. */
static bool check_held(struct grpc_call *call)
{
	size_t limit = (size_t)call->server->config.message_bytes_max * REQUESTS_HELD_PER_CONNECTION;
	if (call->conn->request_bytes <= limit && call->server->request_bytes <= REQUEST_BYTES_MAX)
		return true;
	grpc_call_refuse(call, err_static(ERR_RESOURCE_EXHAUSTED, "too many bytes of unfinished requests"));
	return false;
}

static bool take_message(struct grpc_call *call, struct grpc_msg *m)
{
	if (call->streaming) {
		LL_APPEND(call->queue, m);
		enqueue(call);
		if (call->receiving)
			received(call);
		return true;
	}
	if (call->msg) {
		free(m);
		grpc_call_refuse(call, err_static(ERR_INTERNAL, "cardinality violation: received multiple request "
								"messages for non-client-streaming RPC"));
		return false;
	}
	call->msg = m;
	return true;
}

void grpc_call_on_data(struct grpc_call *call, const uint8_t *data, size_t len)
{
	if (call->state == GRPC_CALL_FINISHED)
		return;
	const struct grpc_deframe_rules rules = {
		.message_bytes_max = (size_t)call->server->config.message_bytes_max,
		.gzip = call->gzip_in,
		.zip = call->server->gzip,
		.errors = call->server->scratch,
	};
	struct bytes in = bytes_of(data, len);
	size_t complete_bytes = call->held_bytes - grpc_deframer_bytes(&call->in);
	while (in.len > 0) {
		struct grpc_msg *m;
		struct err e = grpc_deframe(&call->in, &rules, &in, &m);
		if (err_is(e)) {
			grpc_call_refuse(call, e);
			return;
		}
		if (!m)
			break;
		complete_bytes += m->len;
		if (!take_message(call, m))
			return;
	}
	hold_bytes(call, complete_bytes + grpc_deframer_bytes(&call->in));
	check_held(call);
}

void grpc_call_on_input_end(struct grpc_call *call)
{
	call->input_ended = true;
	if (call->state == GRPC_CALL_FINISHED)
		return;
	if (!grpc_deframer_idle(&call->in)) {
		grpc_call_refuse(call, err_static(ERR_INTERNAL, "unexpected EOF"));
		return;
	}
	if (call->streaming) {
		call->end_pending = true;
	} else if (!call->msg) {
		grpc_call_refuse(call, err_static(ERR_INTERNAL, "cardinality violation: received no request message "
								"from non-client-streaming RPC"));
		return;
	}
	if (call->receiving)
		received(call);
	enqueue(call);
}

/* ---- with the user ---- */

static void serve(struct grpc_call *call)
{
	struct grpc_conn *conn = call->conn;
	const struct grpc_handlers *h = &call->server->handlers;
	hold_bytes(call, grpc_deframer_bytes(&call->in)); /* what is shown is the user's now */
	bool first = call->state == GRPC_CALL_RECEIVING;
	if (first) {
		call->state = GRPC_CALL_SERVING;
		call->server->call_count++;
		call->server->stats.calls++;
	}
	conn->serving = call;
	h->serve(h->ctx, call);
	bool alive = conn->serving == call && call->state == GRPC_CALL_SERVING && call->stream_id;
	conn->serving = NULL;
	/* Only now: most calls need no timer, they are finished. */
	if (alive && first && call->deadline_ns != INT64_MAX)
		env_timer_start(call->server->env, &call->deadline_timer,
				call->deadline_ns - env_mono_ns(call->server->env));
}

/* Shows the user one thing more: a message, or that there are none left. */
static void serve_stream(struct grpc_call *call)
{
	free_messages(call->msg);
	call->msg = call->queue;
	if (call->msg) {
		call->queue = call->msg->next;
		call->msg->next = NULL;
	} else {
		call->end_pending = false;
		call->end_shown = true;
	}
	if (call->queue || call->end_pending)
		enqueue(call);
	serve(call);
}

static void run_event(struct grpc_call *call)
{
	if (call->cancel_pending) {
		call->cancel_pending = false;
		if (call->on_cancel)
			call->on_cancel(call->user, call);
	} else if (call->cancelled || call->state == GRPC_CALL_FINISHED) {
		return; /* a stream's input that came too late to matter */
	} else if (call->streaming) {
		serve_stream(call);
	} else {
		serve(call);
	}
}

void grpc_call_run_events(struct grpc_conn *conn)
{
	assert(!conn->in_session);
	while (conn->events) {
		struct grpc_call *call = conn->events;
		dequeue(call);
		run_event(call);
	}
}

const char *grpc_path(const struct grpc_call *call)
{
	return call->path;
}

struct bytes grpc_message(const struct grpc_call *call)
{
	return call->msg ? bytes_of(call->msg->data, call->msg->len) : bytes_of(NULL, 0);
}

const char *grpc_metadata(const struct grpc_call *call, const char *key)
{
	const struct bytes want = bytes_str(key);
	for (size_t i = 0; i < call->header_count; i++) {
		const struct grpc_header *h = header_at(call, i);
		nghttp2_vec name = nghttp2_rcbuf_get_buf(h->name);
		if (name.len == want.len && memcmp(name.base, want.data, want.len) == 0)
			return (const char *)nghttp2_rcbuf_get_buf(h->value).base;
	}
	return NULL;
}

bool grpc_input_ended(const struct grpc_call *call)
{
	return call->streaming ? call->end_shown : call->input_ended;
}

void grpc_slim(struct grpc_call *call)
{
	free_messages(call->msg);
	call->msg = NULL;
	struct grpc_header path = {0};
	for (size_t i = 0; i < call->header_count; i++) {
		const struct grpc_header *h = header_at(call, i);
		if ((const char *)nghttp2_rcbuf_get_buf(h->value).base != call->path)
			continue;
		path = *h;
		nghttp2_rcbuf_incref(path.name);
		nghttp2_rcbuf_incref(path.value);
		break;
	}
	free_headers(call);
	if (path.name)
		call->headers[call->header_count++] = path;
}

int64_t grpc_deadline_ns(const struct grpc_call *call)
{
	return call->deadline_ns;
}

const char *grpc_peer(const struct grpc_call *call)
{
	return call->conn->peer;
}

const char *grpc_peer_subject(const struct grpc_call *call)
{
	return call->conn->subject;
}

struct env *grpc_env(const struct grpc_call *call)
{
	return call->server->env;
}

void *grpc_user(const struct grpc_call *call)
{
	return call->user;
}

void grpc_set_user(struct grpc_call *call, void *user)
{
	call->user = user;
}

bool grpc_cancelled(const struct grpc_call *call)
{
	return call->cancelled;
}

void grpc_on_cancel(struct grpc_call *call, void (*fn)(void *user, struct grpc_call *call))
{
	call->on_cancel = fn;
	/* Cancelled before anybody listened: tell it after all, on the next turn. */
	if (fn && call->cancelled && !call->cancel_pending) {
		call->cancel_pending = true;
		enqueue(call);
		env_defer(call->server->env, &call->conn->task);
	}
}
