/*
 * The server: its listener, its connections, the flush once a turn, draining.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/grpc/gzip.h"
#include "common/grpc/internal.h"
#include "common/grpc/socket.h"
#include "common/mem/mem.h"

#define LISTEN_BACKLOG	  4096
#define SPARE_BYTES_MAX	  ((size_t)512 * 1024) /* a larger buffer isn't kept */
#define SCRATCH_BYTES_MAX ((size_t)64 * 1024)

static void on_prepare(uv_prepare_t *h);
static void on_drain_timer(struct env_timer *t);
static void on_drain_task(struct env_task *t);

void grpc_config_defaults(struct grpc_config *config)
{
	*config = (struct grpc_config){
		.listen_host = "127.0.0.1",
		.message_bytes_max = 4 * 1024 * 1024,
		.connections_max = 50000,
		.streams_per_connection_max = 100000,
		.keepalive_idle_ns = 30 * NS_PER_S,
		.keepalive_timeout_ns = 20 * NS_PER_S,
		.ping_interval_min_ns = 5 * NS_PER_S,
		.header_timeout_ns = 10 * NS_PER_S,
		.connection_age_grace_ns = 90 * NS_PER_S,
		.header_list_bytes_max = 64 * 1024,
		.compress_bytes_min = 16 * 1024,
		.unread_bytes_max = 64 * 1024 * 1024,
	};
}

static void fill_defaults(struct grpc_config *c)
{
	struct grpc_config d;
	grpc_config_defaults(&d);
	if (c->connection_age_grace_ns <= 0)
		c->connection_age_grace_ns = d.connection_age_grace_ns;
	if (c->header_list_bytes_max <= 0)
		c->header_list_bytes_max = d.header_list_bytes_max;
	if (c->compress_bytes_min <= 0)
		c->compress_bytes_min = d.compress_bytes_min;
	if (c->unread_bytes_max <= 0)
		c->unread_bytes_max = d.unread_bytes_max;
}

/* ---- buffers and flushing ---- */

struct buf grpc_server_take_buf(struct grpc_server *s)
{
	return s->spare_count ? s->spare[--s->spare_count] : (struct buf){0};
}

void grpc_server_give_buf(struct grpc_server *s, struct buf *b)
{
	if (b->data && b->cap <= SPARE_BYTES_MAX && s->spare_count < GRPC_SPARE_BUFS) {
		b->len = 0;
		s->spare[s->spare_count++] = *b;
		*b = (struct buf){0};
		return;
	}
	buf_done(b);
}

void grpc_server_mark_dirty(struct grpc_server *s, struct grpc_conn *conn)
{
	if (conn->dirty || conn->closing)
		return;
	conn->dirty = true;
	DL_APPEND2(s->dirty, conn, prev_dirty, next_dirty);
}

static void unmark_dirty(struct grpc_server *s, struct grpc_conn *conn)
{
	if (!conn->dirty)
		return;
	conn->dirty = false;
	DL_DELETE2(s->dirty, conn, prev_dirty, next_dirty);
}

/* Just before the loop waits: everything that this turn has to say leaves in one write a connection. */
static void on_prepare(uv_prepare_t *h)
{
	struct grpc_server *s = h->data;
	while (s->dirty) {
		struct grpc_conn *conn = s->dirty;
		unmark_dirty(s, conn);
		grpc_conn_flush(conn);
	}
}

/* ---- connections ---- */

void grpc_server_conn_added(struct grpc_server *s, struct grpc_conn *conn)
{
	DL_APPEND(s->conns, conn);
	s->conn_count++;
	s->stats.connections++;
}

void grpc_server_conn_gone(struct grpc_server *s, struct grpc_conn *conn)
{
	unmark_dirty(s, conn);
	DL_DELETE(s->conns, conn);
	s->conn_count--;
	if (s->draining && s->conn_count == 0)
		env_defer(s->env, &s->drain_task);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct grpc_server *s = listener->data;
	if (status == 0)
		grpc_socket_accept(s, listener);
}

static struct err bind_address(const struct grpc_config *config, struct arena *errors, struct sockaddr_storage *ret)
{
	const char *host = str_empty(config->listen_host) ? "127.0.0.1" : config->listen_host;
	if (str_eq(host, "localhost"))
		host = "127.0.0.1";
	if (uv_ip4_addr(host, config->port, (struct sockaddr_in *)ret) == 0 ||
	    uv_ip6_addr(host, config->port, (struct sockaddr_in6 *)ret) == 0)
		return err_ok;
	return err_make(errors, ERR_INVALID_ARGUMENT, "\"%s\" is no IPv4 or IPv6 address to listen on", host);
}

static void on_listener_closed(uv_handle_t *h)
{
	struct grpc_server *s = h->data;
	free(h);
	grpc_server_handle_closed(s);
}

static void stop_listening(struct grpc_server *s)
{
	if (!s->listener)
		return;
	uv_close((uv_handle_t *)s->listener, on_listener_closed);
	s->listener = NULL;
}

static struct err listen_on(struct grpc_server *s, struct arena *errors)
{
	s->listener = mem_alloc(sizeof *s->listener);
	int rc = uv_tcp_init(loop_uv(s->loop), s->listener);
	assert(rc == 0);
	s->listener->data = s;
	s->handles++;
	rc = uv_tcp_bind(s->listener, (struct sockaddr *)&s->address, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)s->listener, LISTEN_BACKLOG, on_connection);
	int len = sizeof s->address;
	if (rc == 0)
		rc = uv_tcp_getsockname(s->listener, (struct sockaddr *)&s->address, &len);
	/* The port is at the same place for both families. */
	uint16_t port = ntohs(((struct sockaddr_in *)&s->address)->sin_port);
	if (rc != 0) {
		char host[INET6_ADDRSTRLEN] = "?";
		uv_ip_name((struct sockaddr *)&s->address, host, sizeof host);
		stop_listening(s);
		return err_make(errors, ERR_UNAVAILABLE, "cannot listen on %s port %u: %s", host, port,
				uv_strerror(rc));
	}
	s->port = port;
	return err_ok;
}

static void open_handles(struct grpc_server *s)
{
	int rc = uv_prepare_init(loop_uv(s->loop), &s->flusher);
	assert(rc == 0);
	s->flusher.data = s;
	s->handles = 1;
	uv_prepare_start(&s->flusher, on_prepare);
	uv_unref((uv_handle_t *)&s->flusher);
}

/* ---- the configuration, and what changes of it ---- */

static char *copy_path(const char *path)
{
	return path ? mem_strdup(path) : NULL;
}

static void keep_tls_files(struct grpc_server *s, const struct grpc_config *c)
{
	s->tls_files = (struct grpc_config){.tls_cert_file = copy_path(c->tls_cert_file),
					    .tls_key_file = copy_path(c->tls_key_file),
					    .tls_client_ca_file = copy_path(c->tls_client_ca_file),
					    .tls_client_required = c->tls_client_required};
}

static void forget_tls_files(struct grpc_server *s)
{
	free((char *)s->tls_files.tls_cert_file);
	free((char *)s->tls_files.tls_key_file);
	free((char *)s->tls_files.tls_client_ca_file);
}

static void take_config(struct grpc_server *s, const struct grpc_config *config)
{
	s->config = *config;
	fill_defaults(&s->config);
	s->config.tls_cert_file = s->config.tls_key_file = s->config.tls_client_ca_file = NULL;
}

void grpc_server_configure(struct grpc_server *s, const struct grpc_config *config)
{
	take_config(s, config);
	s->config.listen_host = NULL;
	s->config.port = s->port;
}

struct err grpc_server_reload_tls(struct grpc_server *s, struct arena *errors)
{
	struct grpc_tls *tls;
	if (!s->tls)
		return err_static(ERR_FAILED_PRECONDITION, "this server serves cleartext");
	try(grpc_tls_new(&s->tls_files, errors, &tls));
	grpc_tls_free(s->tls); /* connections hold what they need of it */
	s->tls = tls;
	return err_ok;
}

struct err grpc_server_new(struct loop *loop, const struct grpc_config *config, const struct grpc_handlers *handlers,
			   struct arena *errors, struct grpc_server **ret)
{
	struct grpc_tls *tls = NULL;
	if (config->tls_cert_file)
		try(grpc_tls_new(config, errors, &tls));
	struct grpc_server *s = new0(struct grpc_server);
	s->loop = loop;
	s->env = loop_env(loop);
	take_config(s, config);
	keep_tls_files(s, config);
	s->handlers = *handlers;
	s->tls = tls;
	s->gzip = grpc_gzip_new();
	s->scratch = arena_new(SCRATCH_BYTES_MAX);
	s->read_buf = mem_alloc(GRPC_READ_BYTES + GRPC_PLAIN_BYTES);
	s->drain_timer.fn = on_drain_timer;
	s->drain_task.fn = on_drain_task;
	grpc_session_setup(s);
	open_handles(s);
	struct err e = bind_address(&s->config, errors, &s->address);
	if (!err_is(e))
		e = listen_on(s, errors);
	s->config.listen_host = NULL;
	if (err_is(e)) {
		grpc_server_free(s);
		return e;
	}
	*ret = s;
	return err_ok;
}

uint16_t grpc_server_port(const struct grpc_server *s)
{
	return s->port;
}

int grpc_server_connections(const struct grpc_server *s)
{
	return s->conn_count;
}

int grpc_server_calls(const struct grpc_server *s)
{
	return s->call_count;
}

struct grpc_stats grpc_server_stats(const struct grpc_server *s)
{
	return s->stats;
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *h)
{
	grpc_server_handle_closed(h->data);
}

static void cut_all(struct grpc_server *s)
{
	while (s->conns)
		grpc_conn_abort(s->conns);
}

static void on_drain_timer(struct env_timer *t)
{
	struct grpc_server *s = container_of(t, struct grpc_server, drain_timer);
	cut_all(s);
	env_defer(s->env, &s->drain_task);
}

static void on_drain_task(struct env_task *t)
{
	struct grpc_server *s = container_of(t, struct grpc_server, drain_task);
	env_timer_stop(s->env, &s->drain_timer);
	void (*done)(void *ctx) = s->drain_done;
	s->drain_done = NULL;
	if (done)
		done(s->drain_ctx);
}

void grpc_server_pause(struct grpc_server *s)
{
	stop_listening(s);
	struct grpc_conn *conn, *next;
	DL_FOREACH_SAFE (s->conns, conn, next) {
		grpc_conn_drain(conn);
	}
}

struct err grpc_server_resume(struct grpc_server *s, struct arena *errors)
{
	return s->listener || s->draining || s->freed ? err_ok : listen_on(s, errors);
}

void grpc_server_drain(struct grpc_server *s, int64_t grace_ns, void (*done)(void *ctx), void *ctx)
{
	s->draining = true;
	s->drain_done = done;
	s->drain_ctx = ctx;
	grpc_server_pause(s);
	if (s->conn_count == 0)
		env_defer(s->env, &s->drain_task);
	else
		env_timer_start(s->env, &s->drain_timer, grace_ns);
}

void grpc_server_handle_closed(struct grpc_server *s)
{
	assert(s->handles > 0);
	if (--s->handles > 0 || !s->freed)
		return;
	nghttp2_session_callbacks_del(s->callbacks);
	nghttp2_option_del(s->option);
	grpc_gzip_free(s->gzip);
	grpc_tls_free(s->tls);
	forget_tls_files(s);
	arena_free(s->scratch);
	while (s->spare_count)
		buf_done(&s->spare[--s->spare_count]);
	free(s->read_buf);
	free(s);
}

void grpc_server_free(struct grpc_server *s)
{
	if (!s)
		return;
	assert(!s->freed);
	s->freed = true;
	s->drain_done = NULL;
	env_timer_stop(s->env, &s->drain_timer);
	cut_all(s);
	env_undefer(s->env, &s->drain_task);
	stop_listening(s);
	uv_prepare_stop(&s->flusher);
	uv_close((uv_handle_t *)&s->flusher, on_handle_closed);
}
