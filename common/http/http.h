/*
 * A small HTTP/1.1 server on the loop (libmicrohttpd below): /metrics, /healthz, /readyz, and what services add.
 *
 * Handlers run on the loop with the whole request body in hand and reply now or later; a request that waits costs a
 * connection and nothing else.
 */
#ifndef COMMON_HTTP_HTTP_H
#define COMMON_HTTP_HTTP_H

#include "common/err/err.h"
#include "common/loop/loop.h"

struct http_server;
struct http_request;

struct http_config {
	const char *listen_host; /* an address: "127.0.0.1", "0.0.0.0", "::" */
	uint16_t port;		 /* 0: any */
	int64_t body_bytes_max;	 /* larger: 413; 0: 4 MiB */
	int connections_max;	 /* 0: 1024 */
	int64_t idle_timeout_ns; /* of a connection without a request under way; 0: 60 s */
};

/* Must lead to exactly one http_reply(), now or later. */
typedef void http_handler(void *ctx, struct http_request *req);

/* Not listening yet. The config's strings are copied. */
struct http_server *http_server_new(struct loop *loop, const struct http_config *config);
/* Address in use, not an address, … */
must_check struct err http_server_listen(struct http_server *s, struct arena *errors);
/* The port listened on. */
uint16_t http_server_port(const struct http_server *s);
/*
 * Accepts NULL. Stops listening and cuts what is open. Requests not yet replied to are cancelled, and must still be
 * replied to, then or later.
 */
void http_server_free(struct http_server *s);

/*
 * path: exact ("/metrics"), or a prefix when it ends in '*' ("/api/v1/<star>"); the longest match wins. method:
 * "GET" also answers HEAD; NULL for any. Unknown paths get 404, known ones with another method 405.
 */
void http_route(struct http_server *s, const char *method, const char *path, http_handler *fn, void *ctx);

/* What the request asks. Pointers live until the reply. */
const char *http_method(const struct http_request *req);
const char *http_path(const struct http_request *req); /* decoded, without the query */
/* First value of a query parameter, decoded; NULL when absent. */
const char *http_query(const struct http_request *req, const char *name);
/* Case-insensitive; NULL when absent. */
const char *http_header(const struct http_request *req, const char *name);
struct bytes http_body(const struct http_request *req);
/* Freed with the request. */
struct arena *http_arena(struct http_request *req);
/* Called once, on the loop, when the client went away before the reply; the request must still be replied to. */
void http_on_cancel(struct http_request *req, void (*fn)(void *ctx, struct http_request *req), void *ctx);

/* A header of the reply to come; copied. */
void http_set_header(struct http_request *req, const char *name, const char *value);
/* Ends the request and frees it. The body is copied. content_type NULL: none. */
void http_reply(struct http_request *req, int status, const char *content_type, struct bytes body);
/* The same with a text: "text/plain; charset=utf-8". */
void http_reply_text(struct http_request *req, int status, const char *text);

#endif
