/*
 * A connection between its transport and its nghttp2 session: input, output once a turn, keepalive, draining, the end.
 *
 *   open ── drain: GOAWAY(2^31-1), ping ── acknowledged: GOAWAY(last stream) ── last call ended ─┐
 *     │                                                                                          ▼
 *     ├── abuse, protocol error: GOAWAY ──────────────────────────────────────────────────► half-closed, reads on
 *     │                                                                                          │ peer closes, 2 s
 *     └── transport broke, timeouts: abort ─────────────────────────────────────────► closing ◄──┘
 *
 * The half-closed state is there because closing a socket with unread input resets it, and a reset makes the peer's
 * kernel throw away answers that it had already received.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/grpc/internal.h"
#include "common/mem/mem.h"

/* Flow control windows that we grant: what a request of usual size needs to come in without waiting. */
#define STREAM_WINDOW_BYTES	(1024 * 1024)
#define CONNECTION_WINDOW_BYTES (4 * 1024 * 1024)

#define LINGER_NS	(2 * NS_PER_S)
#define DRAIN_ACK_NS	(1 * NS_PER_S) /* who hasn't acknowledged the first GOAWAY by then gets the second anyway */
#define TICK_MIN_NS	(10 * NS_PER_MS)
#define REQUEST_TIME_NS (60 * NS_PER_S) /* from the headers of a request to its last byte */

const uint8_t grpc_drain_ping[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};
const uint8_t grpc_keepalive_ping[8] = {'k', 'e', 'e', 'p', 'i', 'n', 'g', 0};

static void on_tick(struct env_timer *t);
static void on_task(struct env_task *t);

void grpc_conn_init(struct grpc_conn *conn, struct grpc_server *s, const struct grpc_io *io)
{
	conn->server = s;
	conn->io = io;
	conn->task.fn = on_task;
	conn->tick.fn = on_tick;
	conn->opened_ns = conn->last_read_ns = env_mono_ns(s->env);
	conn->last_ping_ns = INT64_MIN / 2;
	grpc_server_conn_added(s, conn);
	const struct grpc_config *c = &s->config;
	int64_t first = min_i64(c->header_timeout_ns, c->keepalive_idle_ns);
	if (c->connection_age_max_ns)
		first = min_i64(first, c->connection_age_max_ns);
	env_timer_start(s->env, &conn->tick, first);
}

static bool session_start(struct grpc_conn *conn)
{
	const struct grpc_server *s = conn->server;
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)s->config.streams_per_connection_max},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)s->config.header_list_bytes_max},
	};
	if (nghttp2_session_server_new2(&conn->session, s->callbacks, conn, s->option) != 0)
		return false;
	if (nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, array_len(settings)) != 0)
		return false;
	return nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES) == 0;
}

/* ---- the end ---- */

static void unlink_calls(struct grpc_conn *conn)
{
	while (conn->receiving)
		grpc_call_on_stream_close(conn->receiving);
	while (conn->calls)
		grpc_call_on_stream_close(conn->calls);
}

void grpc_conn_abort(struct grpc_conn *conn)
{
	assert(!conn->in_session);
	if (conn->closing)
		return;
	conn->closing = true;
	conn->refs++;
	env_timer_stop(conn->server->env, &conn->tick);
	unlink_calls(conn);
	nghttp2_session_del(conn->session);
	conn->session = NULL;
	grpc_server_give_buf(conn->server, &conn->out);
	grpc_server_conn_gone(conn->server, conn);
	conn->io->close(conn);
	if (conn->events)
		env_defer(conn->server->env, &conn->task);
	grpc_conn_unref(conn);
}

static void release_when_done(struct grpc_conn *conn)
{
	if (!conn->closed || conn->refs > 0 || conn->events)
		return;
	env_undefer(conn->server->env, &conn->task);
	free(conn->subject);
	conn->io->release(conn);
}

void grpc_conn_closed(struct grpc_conn *conn)
{
	assert(conn->closing && !conn->closed);
	conn->closed = true;
	release_when_done(conn);
}

void grpc_conn_unref(struct grpc_conn *conn)
{
	assert(conn->refs > 0);
	conn->refs--;
	release_when_done(conn);
}

static void on_task(struct env_task *t)
{
	struct grpc_conn *conn = container_of(t, struct grpc_conn, task);
	conn->refs++;
	grpc_call_run_events(conn);
	grpc_conn_unref(conn);
}

/* All is said: half-close, and wait a moment for the peer to do the same. */
static void linger(struct grpc_conn *conn)
{
	if (conn->linger_ns || conn->closing)
		return;
	conn->linger_ns = env_mono_ns(conn->server->env);
	unlink_calls(conn);
	if (conn->events)
		env_defer(conn->server->env, &conn->task);
	env_timer_start(conn->server->env, &conn->tick, LINGER_NS);
	conn->io->set_reading(conn, true);
	conn->io->shutdown(conn); /* may find the peer gone, and abort */
}

void grpc_conn_abuse(struct grpc_conn *conn, const char *reason)
{
	if (conn->goaway_sent && conn->drain_ns == 0)
		return; /* being sent away already */
	conn->server->stats.abusive++;
	conn->goaway_sent = true;
	conn->drain_ns = 0;
	/* The debug data is why: terminate_session alone would send none, a plain GOAWAY would let the streams go on.
	 */
	nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(conn->session),
			      NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)reason, strlen(reason));
	nghttp2_session_terminate_session(conn->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* ---- draining ---- */

void grpc_conn_drain(struct grpc_conn *conn)
{
	assert(!conn->in_session);
	if (conn->closing || conn->linger_ns || conn->drain_ns || conn->goaway_sent)
		return;
	if (!conn->session) {
		grpc_conn_abort(conn);
		return;
	}
	conn->drain_ns = env_mono_ns(conn->server->env);
	nghttp2_submit_shutdown_notice(conn->session);
	nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, grpc_drain_ping);
	grpc_server_mark_dirty(conn->server, conn);
	env_timer_start(conn->server->env, &conn->tick, DRAIN_ACK_NS);
}

void grpc_conn_drain_ack(struct grpc_conn *conn)
{
	if (!conn->drain_ns || conn->goaway_sent)
		return;
	conn->goaway_sent = true;
	nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(conn->session),
			      NGHTTP2_NO_ERROR, NULL, 0);
	grpc_server_mark_dirty(conn->server, conn);
}

/* ---- input ---- */

static bool looks_like_http1(const uint8_t *data, size_t len)
{
	static const char *const methods[] = {"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "DELETE "};
	for (size_t i = 0; i < array_len(methods); i++)
		if (len >= strlen(methods[i]) && memcmp(data, methods[i], strlen(methods[i])) == 0)
			return true;
	return false;
}

/* Somebody opened this port with a browser or curl: say what is wrong in their language. */
static void answer_http1(struct grpc_conn *conn)
{
	static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
				     "Content-Length: 45\r\n\r\nthis port serves gRPC, over HTTP/2 only; bye\n";
	conn->out.len = 0;
	buf_put(&conn->out, answer, sizeof answer - 1);
	conn->io->write(conn, &conn->out);
	linger(conn);
}

static void on_session_error(struct grpc_conn *conn, int rc, const uint8_t *data, size_t len)
{
	bool first = !conn->settled;
	if (rc == NGHTTP2_ERR_BAD_CLIENT_MAGIC && first && looks_like_http1(data, len)) {
		answer_http1(conn);
		return;
	}
	if (rc == NGHTTP2_ERR_FLOODED)
		conn->server->stats.abusive++;
	grpc_conn_abort(conn);
}

void grpc_conn_input(struct grpc_conn *conn, const uint8_t *data, size_t len)
{
	assert(!conn->in_session);
	if (conn->closing || conn->linger_ns)
		return;
	conn->last_read_ns = env_mono_ns(conn->server->env);
	if (!conn->session && !session_start(conn)) {
		grpc_conn_abort(conn);
		return;
	}
	arena_reset(conn->server->scratch);
	conn->in_session = true;
	ssize_t rc = nghttp2_session_mem_recv(conn->session, data, len);
	conn->in_session = false;
	if (rc < 0) {
		on_session_error(conn, (int)rc, data, len);
		return;
	}
	grpc_server_mark_dirty(conn->server, conn);
	conn->refs++;
	grpc_call_run_events(conn);
	grpc_conn_unref(conn);
}

/* ---- output ---- */

void grpc_conn_pump(struct grpc_conn *conn)
{
	assert(!conn->in_session);
	if (!conn->session || conn->linger_ns)
		return;
	if (!conn->out.data)
		conn->out = grpc_server_take_buf(conn->server);
	conn->in_session = true;
	ssize_t n = 0;
	while (conn->out.len < GRPC_OUT_BYTES_MAX) {
		const uint8_t *data;
		n = nghttp2_session_mem_send(conn->session, &data);
		if (n <= 0)
			break;
		buf_put(&conn->out, data, (size_t)n);
	}
	conn->in_session = false;
	if (conn->events)
		env_defer(conn->server->env, &conn->task);
	if (n < 0)
		conn->broken = true;
}

static bool session_over(const struct grpc_conn *conn)
{
	return !nghttp2_session_want_read(conn->session) && !nghttp2_session_want_write(conn->session);
}

void grpc_conn_flush(struct grpc_conn *conn)
{
	if (conn->closing || conn->linger_ns || !conn->session)
		return;
	if (conn->broken) {
		grpc_conn_abort(conn);
		return;
	}
	conn->refs++;
	bool more = true;
	while (more && !conn->closing) {
		grpc_conn_pump(conn);
		more = conn->out.len >= GRPC_OUT_BYTES_MAX && !conn->in_flight;
		if (conn->out.len && !conn->in_flight)
			conn->io->write(conn, &conn->out);
	}
	if (!conn->closing) {
		/* A peer that doesn't take what we send gets no more work done for it. */
		bool stuck = conn->in_flight && conn->out.len >= GRPC_OUT_BYTES_MAX;
		if (stuck != conn->not_reading) {
			conn->not_reading = stuck;
			conn->io->set_reading(conn, !stuck);
		}
		conn->write_blocked_ns = !conn->in_flight	  ? 0
					 : conn->write_blocked_ns ? conn->write_blocked_ns
								  : env_mono_ns(conn->server->env);
		if (!conn->out.len)
			grpc_server_give_buf(conn->server, &conn->out);
		if (!conn->in_flight && !conn->out.len && session_over(conn))
			linger(conn);
	}
	grpc_conn_unref(conn);
}

void grpc_conn_written(struct grpc_conn *conn)
{
	conn->write_blocked_ns = 0;
	grpc_conn_flush(conn);
}

/* ---- time ---- */

/* Streams whose request doesn't get complete cost memory: they end like a call whose deadline passed. */
static void end_slow_requests(struct grpc_conn *conn, int64_t now)
{
	while (conn->receiving && now - conn->receiving->started_ns >= REQUEST_TIME_NS) {
		grpc_call_refuse(conn->receiving,
				 err_static(ERR_DEADLINE_EXCEEDED, "the request did not arrive in time"));
		grpc_server_mark_dirty(conn->server, conn);
	}
}

/* The connection's age and its drain; returns when to look again, 0 when the connection was ended. */
static int64_t tick_age(struct grpc_conn *conn, int64_t now)
{
	const struct grpc_config *config = &conn->server->config;
	int64_t next = INT64_MAX;
	if (config->connection_age_max_ns && !conn->drain_ns) {
		/* Spread by a tenth, so that clients that came together don't come back together. */
		int64_t spread = config->connection_age_max_ns / 10;
		int64_t age = config->connection_age_max_ns + (spread ? (conn->opened_ns >> 10) % spread : 0);
		if (now - conn->opened_ns >= age)
			grpc_conn_drain(conn);
		else
			next = conn->opened_ns + age;
	}
	if (!conn->drain_ns)
		return next;
	if (!conn->goaway_sent) {
		if (now - conn->drain_ns < DRAIN_ACK_NS)
			return conn->drain_ns + DRAIN_ACK_NS;
		grpc_conn_drain_ack(conn);
	}
	/* While the server drains, its own grace counts. */
	int64_t end = conn->drain_ns + config->connection_age_grace_ns;
	if (!conn->server->draining && now >= end) {
		grpc_conn_abort(conn);
		return 0;
	}
	return conn->server->draining ? next : end;
}

/* Is the peer alive? Returns when to look again, 0 when the connection was ended. */
static int64_t tick_keepalive(struct grpc_conn *conn, int64_t now)
{
	const struct grpc_config *config = &conn->server->config;
	int64_t idle = config->keepalive_idle_ns, timeout = config->keepalive_timeout_ns;
	bool dead = conn->write_blocked_ns && now - conn->write_blocked_ns >= idle + timeout;
	if (conn->ping_sent_ns && conn->last_read_ns > conn->ping_sent_ns)
		conn->ping_sent_ns = 0;
	if (conn->ping_sent_ns && !conn->not_reading && now - conn->ping_sent_ns >= timeout)
		dead = true;
	if (dead) {
		grpc_conn_abort(conn);
		return 0;
	}
	if (conn->ping_sent_ns)
		return max_i64(conn->ping_sent_ns + timeout, now + NS_PER_S);
	if (now - conn->last_read_ns < idle)
		return conn->last_read_ns + idle;
	conn->ping_sent_ns = now;
	nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, grpc_keepalive_ping);
	grpc_server_mark_dirty(conn->server, conn);
	return now + timeout;
}

static void on_tick(struct env_timer *t)
{
	struct grpc_conn *conn = container_of(t, struct grpc_conn, tick);
	int64_t now = env_mono_ns(conn->server->env);
	int64_t handshake_end = conn->opened_ns + conn->server->config.header_timeout_ns;
	if (conn->linger_ns || (!conn->settled && (now >= handshake_end || conn->drain_ns))) {
		grpc_conn_abort(conn);
		return;
	}
	if (!conn->settled) {
		env_timer_start(conn->server->env, t, handshake_end - now);
		return;
	}
	end_slow_requests(conn, now);
	int64_t next = tick_keepalive(conn, now);
	if (next)
		next = min_i64(next, tick_age(conn, now));
	if (!next || conn->closing)
		return;
	if (conn->receiving)
		next = min_i64(next, conn->receiving->started_ns + REQUEST_TIME_NS);
	env_timer_start(conn->server->env, &conn->tick, max_i64(next - now, TICK_MIN_NS));
}
