/*
 * nghttp2's callbacks: frames become calls, and what only abusers do is counted.
 *
 * All of this runs inside nghttp2, where nothing may be sent and no user code may run: see internal.h.
 */
#include "common/grpc/internal.h"

/* A client may ping too early this often in a row. Official SDKs never do twice; broken proxies do now and then. */
#define PING_STRIKES_MAX 8

/*
 * Resets of young streams (the "rapid reset" attack: the work is started, the stream costs the client nothing). Older
 * ones are not counted: a worker with thousands of polls cancels them all when it stops.
 */
#define RESET_YOUNG_NS (1 * NS_PER_S)
#define RESET_COST_NS  (5 * NS_PER_MS) /* 200 a second for ever */
#define RESET_BURST_NS (5 * NS_PER_S)  /* 1,000 at once */

void grpc_session_count_reset(struct grpc_conn *conn)
{
	int64_t now = conn->last_read_ns;
	conn->reset_tokens_ns = max_i64(conn->reset_tokens_ns, now) + RESET_COST_NS;
	if (conn->reset_tokens_ns - now > RESET_BURST_NS)
		grpc_conn_abuse(conn, "too_many_resets");
}

static void on_ping(struct grpc_conn *conn, const nghttp2_ping *ping)
{
	if (ping->hd.flags & NGHTTP2_FLAG_ACK) {
		if (memcmp(ping->opaque_data, grpc_drain_ping, sizeof grpc_drain_ping) == 0)
			grpc_conn_drain_ack(conn);
		return;
	}
	int64_t since = conn->last_read_ns - conn->last_ping_ns;
	conn->last_ping_ns = conn->last_read_ns;
	if (since >= conn->server->config.ping_interval_min_ns)
		conn->ping_strikes = 0;
	else if (++conn->ping_strikes > PING_STRIKES_MAX)
		grpc_conn_abuse(conn, "too_many_pings");
}

static void on_reset(struct grpc_conn *conn, int32_t stream_id)
{
	const struct grpc_call *call = nghttp2_session_get_stream_user_data(conn->session, stream_id);
	if (!call || conn->last_read_ns - call->started_ns < RESET_YOUNG_NS)
		grpc_session_count_reset(conn);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct grpc_conn *conn = ctx;
	conn->current = NULL;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0; /* trailers of a request: nothing in them is for us */
	conn->current = grpc_call_new(conn, frame->hd.stream_id);
	nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, conn->current);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
		     uint8_t flags, void *ctx)
{
	(void)session;
	(void)frame;
	(void)flags;
	struct grpc_conn *conn = ctx;
	if (conn->current)
		grpc_call_on_header(conn->current, name, value);
	return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct grpc_conn *conn = ctx;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		if (conn->current) {
			grpc_call_on_headers_end(conn->current);
			conn->current = NULL;
		}
		break;
	case NGHTTP2_DATA:
		break;
	case NGHTTP2_PING:
		on_ping(conn, &frame->ping);
		return 0;
	case NGHTTP2_RST_STREAM:
		on_reset(conn, frame->hd.stream_id);
		return 0;
	case NGHTTP2_SETTINGS:
		conn->settled = true;
		return 0;
	default:
		return 0;
	}
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (call)
			grpc_call_on_input_end(call);
	}
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t len,
			 void *ctx)
{
	(void)flags;
	(void)ctx;
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
	if (call)
		grpc_call_on_data(call, data, len);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *ctx)
{
	(void)error_code;
	struct grpc_conn *conn = ctx;
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
	if (conn->current == call)
		conn->current = NULL;
	if (call)
		grpc_call_on_stream_close(call);
	return 0;
}

/* nghttp2 answers a malformed frame by resetting its stream: as cheap a way to burn our time as a reset of theirs. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int lib_error_code, void *ctx)
{
	(void)session;
	(void)frame;
	(void)lib_error_code;
	grpc_session_count_reset(ctx);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct grpc_conn *conn = ctx;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	/* Whoever gets answers may ping to measure the way: grpc's clients do. */
	conn->ping_strikes = 0;
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	/* We said all while the client still talks: it may stop. */
	if (nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
	return 0;
}

void grpc_session_setup(struct grpc_server *s)
{
	int rc = nghttp2_session_callbacks_new(&s->callbacks);
	assert(rc == 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(s->callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(s->callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(s->callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(s->callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(s->callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(s->callbacks, on_invalid_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(s->callbacks, on_frame_send);
	nghttp2_session_callbacks_set_send_data_callback(s->callbacks, grpc_reply_send);
	rc = nghttp2_option_new(&s->option);
	assert(rc == 0);
	/* Closed streams are of use only for priorities, which gRPC doesn't have. */
	nghttp2_option_set_no_closed_streams(s->option, 1);
	/* We count resets ourselves, by the age of the stream: its own limit would hit a worker that stops. */
	nghttp2_option_set_stream_reset_rate_limit(s->option, UINT32_MAX, UINT32_MAX);
}
