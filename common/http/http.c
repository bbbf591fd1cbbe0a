/*
 * The HTTP server: libmicrohttpd's external event loop on ours.
 *
 * The library brings one epoll descriptor; it is watched by the loop, and MHD_run() does what is ready. A request whose
 * handler has not replied when it returns is suspended (the library then leaves its connection alone, also when the
 * client goes away: for that a handle of our own watches the socket) and resumed by the reply.
 *
 *   UPLOADING ──whole body──► ANSWERING ──http_reply──► REPLIED ──sent or lost──► freed
 *                                 │ server freed                  ▲
 *                                 └────────► LOST ──http_reply────┘ (nothing is sent)
 */
#include "common/http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "common/mem/mem.h"

#define BODY_BYTES_MAX_DEFAULT	4194304
#define CONNECTIONS_MAX_DEFAULT 1024
#define IDLE_TIMEOUT_DEFAULT	(60 * NS_PER_S)
#define ARENA_BYTES_MAX		(64 * 1024 * 1024)
#define LISTEN_BACKLOG		512

enum state { UPLOADING, ANSWERING, REPLIED, LOST };

struct route {
	char *method; /* NULL: any */
	char *path;   /* without the '*' */
	bool prefix;
	http_handler *fn;
	void *ctx;
	struct route *next;
};

/* Watches the socket of a suspended connection for its end. */
struct watch {
	uv_poll_t handle;
	struct http_request *req;
};

struct header {
	const char *name, *value;
	struct header *next;
};

struct http_request {
	struct http_server *server;
	struct MHD_Connection *conn; /* NULL once the connection is gone */
	enum state state;
	bool suspended;
	const char *method, *path;
	struct buf body;
	struct arena *arena;
	struct header *headers; /* of the reply */
	struct MHD_Response *response;
	int status;
	void (*on_cancel)(void *ctx, struct http_request *req);
	void *cancel_ctx;
	struct watch *watch;
	struct http_request *prev, *next;
};

struct http_server {
	struct loop *loop;
	char *host;
	uint16_t port;
	int64_t body_bytes_max;
	int connections_max;
	int64_t idle_timeout_ns;
	struct MHD_Daemon *daemon;
	struct loop_poll *poll;
	struct env_task run;
	struct env_timer timeout;
	struct route *routes;
	struct http_request *requests; /* all that are not freed */
};

/* ------------------------------------------------------------------ driving the library */

static void run_again_when_due(struct http_server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;
	struct env *env = loop_env(s->loop);
	env_timer_stop(env, &s->timeout);
	if (MHD_get_timeout(s->daemon, &ms) != MHD_YES)
		return;
	if (ms == 0)
		env_defer(env, &s->run);
	else
		env_timer_start(env, &s->timeout, (int64_t)ms * NS_PER_MS);
}

static void run(struct http_server *s)
{
	MHD_run(s->daemon);
	run_again_when_due(s);
}

static void on_readable(void *ctx, bool readable, bool writable)
{
	(void)readable;
	(void)writable;
	run(ctx);
}

static void on_run(struct env_task *t)
{
	run(container_of(t, struct http_server, run));
}

static void on_timeout(struct env_timer *t)
{
	run(container_of(t, struct http_server, timeout));
}

/* ------------------------------------------------------------------ requests */

static void request_free(struct http_request *req)
{
	assert(!req->watch && !req->conn);
	if (req->server)
		DL_DELETE(req->server->requests, req);
	if (req->response)
		MHD_destroy_response(req->response);
	buf_done(&req->body);
	arena_free(req->arena);
	free(req);
}

static struct http_request *request_new(struct http_server *s, struct MHD_Connection *conn, const char *method,
					const char *path)
{
	struct http_request *req = new0(struct http_request);
	req->server = s;
	req->conn = conn;
	req->arena = arena_new(ARENA_BYTES_MAX);
	req->method = arena_strdup(req->arena, method);
	req->path = arena_strdup(req->arena, path);
	DL_APPEND(s->requests, req);
	return req;
}

static void on_watch_closed(uv_handle_t *h)
{
	free(container_of((uv_poll_t *)h, struct watch, handle));
}

static void watch_stop(struct http_request *req)
{
	if (!req->watch)
		return;
	uv_poll_stop(&req->watch->handle);
	uv_close((uv_handle_t *)&req->watch->handle, on_watch_closed);
	req->watch = NULL;
}

static void cancel(struct http_request *req)
{
	void (*fn)(void *ctx, struct http_request *r) = req->on_cancel;
	req->on_cancel = NULL;
	watch_stop(req);
	if (fn)
		fn(req->cancel_ctx, req);
}

static void on_disconnect(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	cancel(container_of(h, struct watch, handle)->req);
}

static void watch_start(struct http_request *req)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(req->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct watch *w = new0(struct watch);
	w->req = req;
	int rc = info ? uv_poll_init(loop_uv(req->server->loop), &w->handle, info->connect_fd) : UV_EBADF;
	if (rc != 0) {
		free(w); /* then the end of the connection shows when the reply is sent */
		return;
	}
	req->watch = w;
	uv_poll_start(&w->handle, UV_DISCONNECT, on_disconnect);
}

/* The library is done with the request: sent, or the connection ended, or the server stops. */
static void on_completed(void *ctx, struct MHD_Connection *conn, void **request, enum MHD_RequestTerminationCode why)
{
	(void)ctx;
	(void)conn;
	(void)why;
	struct http_request *req = *request;
	*request = NULL;
	if (!req)
		return;
	req->conn = NULL;
	if (req->state == ANSWERING) {
		req->state = LOST;
		cancel(req);
		return;
	}
	watch_stop(req);
	request_free(req);
}

/* ------------------------------------------------------------------ routing */

static bool route_fits(const struct route *r, const char *path)
{
	return r->prefix ? strncmp(r->path, path, strlen(r->path)) == 0 : strcmp(r->path, path) == 0;
}

static bool method_fits(const struct route *r, const char *method)
{
	return !r->method || strcmp(r->method, method) == 0 ||
	       (strcmp(r->method, MHD_HTTP_METHOD_GET) == 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
}

/* An exact path before a prefix, a longer prefix before a shorter one. */
static bool route_better(const struct route *r, const struct route *than)
{
	if (!than || r->prefix != than->prefix)
		return !than || !r->prefix;
	return strlen(r->path) > strlen(than->path);
}

static void answer(struct http_request *req)
{
	const struct route *best = NULL;
	struct buf allowed = {0};
	for (const struct route *r = req->server->routes; r; r = r->next) {
		if (!route_fits(r, req->path))
			continue;
		if (method_fits(r, req->method))
			best = route_better(r, best) ? r : best;
		else if (!allowed.len || !strstr((const char *)allowed.data, r->method))
			buf_printf(&allowed, "%s%s", allowed.len ? ", " : "", r->method);
	}
	if (best) {
		best->fn(best->ctx, req);
	} else if (allowed.len > 0) {
		http_set_header(req, MHD_HTTP_HEADER_ALLOW, (const char *)allowed.data);
		http_reply_text(req, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed\n");
	} else {
		http_reply_text(req, MHD_HTTP_NOT_FOUND, "not found\n");
	}
	buf_done(&allowed);
}

static bool announced_too_large(const struct http_request *req)
{
	const char *length = http_header(req, MHD_HTTP_HEADER_CONTENT_LENGTH);
	return length && strtoll(length, NULL, 10) > req->server->body_bytes_max;
}

static enum MHD_Result queue_reply(struct http_request *req)
{
	return MHD_queue_response(req->conn, (unsigned)req->status, req->response);
}

/* Called by the library at the headers, for each piece of the body, at its end, and after a resume. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *url, const char *method,
				  const char *version, const char *data, size_t *size, void **request)
{
	(void)version;
	struct http_server *s = ctx;
	struct http_request *req = *request;
	if (!req) {
		*request = req = request_new(s, conn, method, url);
		if (!announced_too_large(req))
			return MHD_YES;
		http_reply_text(req, MHD_HTTP_CONTENT_TOO_LARGE, "request body too large\n");
		return queue_reply(req);
	}
	if (*size > 0) {
		if ((int64_t)(req->body.len + *size) > s->body_bytes_max)
			return MHD_NO;
		buf_put(&req->body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (req->state == UPLOADING) {
		req->state = ANSWERING;
		answer(req);
	}
	if (req->state == REPLIED)
		return queue_reply(req);
	req->suspended = true;
	MHD_suspend_connection(conn);
	if (req->on_cancel)
		watch_start(req);
	return MHD_YES;
}

const char *http_method(const struct http_request *req)
{
	return req->method;
}

const char *http_path(const struct http_request *req)
{
	return req->path;
}

const char *http_query(const struct http_request *req, const char *name)
{
	return req->conn ? MHD_lookup_connection_value(req->conn, MHD_GET_ARGUMENT_KIND, name) : NULL;
}

const char *http_header(const struct http_request *req, const char *name)
{
	return req->conn ? MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name) : NULL;
}

struct bytes http_body(const struct http_request *req)
{
	return buf_view(&req->body);
}

struct arena *http_arena(struct http_request *req)
{
	return req->arena;
}

void http_on_cancel(struct http_request *req, void (*fn)(void *ctx, struct http_request *req), void *ctx)
{
	req->on_cancel = fn;
	req->cancel_ctx = ctx;
	if (req->suspended && !req->watch)
		watch_start(req);
}

void http_set_header(struct http_request *req, const char *name, const char *value)
{
	struct header *h = arena_new0(req->arena, struct header);
	h->name = arena_strdup(req->arena, name);
	h->value = arena_strdup(req->arena, value);
	LL_APPEND(req->headers, h);
}

void http_reply(struct http_request *req, int status, const char *content_type, struct bytes body)
{
	assert(req->state != REPLIED);
	req->on_cancel = NULL;
	watch_stop(req);
	if (req->state == LOST) {
		request_free(req);
		return;
	}
	/* The library does not write to it: the missing const is its interface's. */
	req->response = MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.data, MHD_RESPMEM_MUST_COPY);
	assert(req->response);
	if (content_type)
		MHD_add_response_header(req->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	for (const struct header *h = req->headers; h; h = h->next)
		MHD_add_response_header(req->response, h->name, h->value);
	req->status = status;
	req->state = REPLIED;
	if (req->suspended) {
		req->suspended = false;
		MHD_resume_connection(req->conn);
		env_defer(loop_env(req->server->loop), &req->server->run);
	}
}

void http_reply_text(struct http_request *req, int status, const char *text)
{
	http_reply(req, status, "text/plain; charset=utf-8", bytes_str(text));
}

/* ------------------------------------------------------------------ the server */

struct http_server *http_server_new(struct loop *loop, const struct http_config *config)
{
	struct http_server *s = new0(struct http_server);
	s->loop = loop;
	s->host = mem_strdup(config->listen_host);
	s->port = config->port;
	s->body_bytes_max = config->body_bytes_max ? config->body_bytes_max : BODY_BYTES_MAX_DEFAULT;
	s->connections_max = config->connections_max ? config->connections_max : CONNECTIONS_MAX_DEFAULT;
	s->idle_timeout_ns = config->idle_timeout_ns ? config->idle_timeout_ns : IDLE_TIMEOUT_DEFAULT;
	s->run.fn = on_run;
	s->timeout.fn = on_timeout;
	return s;
}

void http_route(struct http_server *s, const char *method, const char *path, http_handler *fn, void *ctx)
{
	struct route *r = new0(struct route);
	size_t len = strlen(path);
	r->method = method ? mem_strdup(method) : NULL;
	r->path = mem_strdup(path);
	r->prefix = len > 0 && path[len - 1] == '*';
	if (r->prefix)
		r->path[len - 1] = '\0';
	r->fn = fn;
	r->ctx = ctx;
	LL_APPEND(s->routes, r);
}

/* A bound, listening socket; s->port becomes the one that was given. */
static struct err listen_on(struct http_server *s, struct arena *errors, int *ret_fd)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *ai;
	char port[8];
	snprintf(port, sizeof port, "%u", s->port);
	if (getaddrinfo(s->host, port, &hints, &ai) != 0)
		return err_make(errors, ERR_INVALID_ARGUMENT, "http: \"%s\" is not an address to listen on", s->host);
	struct err e = err_ok;
	int one = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0)
		e = err_make(errors, ERR_UNAVAILABLE, "http: cannot listen on %s port %u: %s", s->host, s->port,
			     strerror(errno));
	freeaddrinfo(ai);
	struct sockaddr_storage addr;
	socklen_t len = sizeof addr;
	if (!err_is(e) && getsockname(fd, (struct sockaddr *)&addr, &len) == 0)
		s->port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
							   : ((struct sockaddr_in *)&addr)->sin_port);
	if (err_is(e) && fd >= 0)
		close(fd);
	*ret_fd = fd;
	return e;
}

struct err http_server_listen(struct http_server *s, struct arena *errors)
{
	int fd = -1;
	assert(!s->daemon);
	try(listen_on(s, errors, &fd));
	/* Strict: what is ambiguous (a missing Host, a doubtful length) is refused, not guessed at. */
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)s->connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
				     (unsigned)(s->idle_timeout_ns / NS_PER_S), MHD_OPTION_STRICT_FOR_CLIENT, 1,
				     MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	if (!s->daemon) {
		close(fd);
		return err_make(errors, ERR_UNAVAILABLE, "http: the server on port %u cannot be started", s->port);
	}
	int epoll_fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	s->poll = loop_poll_new(s->loop, epoll_fd, on_readable, s);
	loop_poll_set(s->poll, true, false);
	run_again_when_due(s);
	return err_ok;
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

/* The library wants nothing suspended when it stops. */
static void resume_all(struct http_server *s)
{
	struct http_request *req, *next;
	DL_FOREACH_SAFE (s->requests, req, next) {
		if (!req->suspended)
			continue;
		req->suspended = false;
		watch_stop(req);
		MHD_resume_connection(req->conn);
	}
}

static void stop_daemon(struct http_server *s)
{
	if (!s->daemon)
		return;
	resume_all(s);
	loop_poll_free(s->poll);
	MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
	env_timer_stop(loop_env(s->loop), &s->timeout);
	env_undefer(loop_env(s->loop), &s->run);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	stop_daemon(s);
	struct route *r, *next;
	LL_FOREACH_SAFE (s->routes, r, next) {
		free(r->method);
		free(r->path);
		free(r);
	}
	/* What is LOST is replied to later: it must not look for its server then. */
	struct http_request *req;
	DL_FOREACH (s->requests, req) {
		req->server = NULL;
	}
	free(s->host);
	free(s);
}
