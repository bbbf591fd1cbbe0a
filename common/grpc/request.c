/*
 * What a request's headers ask, and whether the protocol takes it: method, content type, timeout, path, encoding.
 *
 * Codes and texts are those that clients know from the usual gRPC servers; the HTTP statuses are the specification's.
 */
#include "common/grpc/internal.h"
#include "common/grpc/text.h"
#include "proto/api_methods.h"

/* Empty where the request doesn't say. */
struct head {
	struct bytes method, path, content_type, timeout, encoding, accept_encoding;
};

static void read_head(const struct grpc_call *call, struct head *head)
{
	const struct {
		const char *name;
		struct bytes *to;
	} wanted[] = {
		{":method", &head->method},
		{":path", &head->path},
		{"content-type", &head->content_type},
		{"grpc-timeout", &head->timeout},
		{"grpc-encoding", &head->encoding},
		{"grpc-accept-encoding", &head->accept_encoding},
	};
	for (size_t i = 0; i < array_len(wanted); i++)
		*wanted[i].to = bytes_str(grpc_metadata(call, wanted[i].name));
}

static void refuse_http(struct grpc_call *call, const char *status, struct err e)
{
	call->server->stats.refused++;
	grpc_reply_http(call->conn, call->stream_id, status, e);
	grpc_call_cut(call);
}

/* Is any method of the service served? By the handlers' word, else by asking about each method of the public API's. */
static bool service_known(const struct grpc_call *call, struct bytes service)
{
	const struct grpc_handlers *h = &call->server->handlers;
	if (h->known_service)
		return h->known_service(h->ctx, (const char *)service.data, service.len);
	for (size_t i = 0; i < API_METHOD_COUNT; i++) {
		bool streaming;
		if (bytes_eq(bytes_str(api_methods[i].service), service) &&
		    h->known(h->ctx, api_methods[i].path, &streaming))
			return true;
	}
	return false;
}

static struct err unknown(const struct grpc_call *call)
{
	struct arena *a = call->server->scratch;
	struct bytes service, method;
	if (!grpc_path_split(call->path, &service, &method))
		return err_make(a, ERR_UNIMPLEMENTED, "malformed method name: \"%s\"", call->path);
	if (!service_known(call, service))
		return err_make(a, ERR_UNIMPLEMENTED, "unknown service %.*s", (int)service.len, service.data);
	return err_make(a, ERR_UNIMPLEMENTED, "unknown method %.*s for service %.*s", (int)method.len, method.data,
			(int)service.len, service.data);
}

static bool accept_http(struct grpc_call *call, const struct head *head)
{
	struct arena *a = call->server->scratch;
	if (call->header_bytes > (size_t)call->server->config.header_list_bytes_max) {
		refuse_http(call, "431", err_static(ERR_RESOURCE_EXHAUSTED, "header list larger than allowed"));
		return false;
	}
	if (!bytes_eq(head->method, bytes_str("POST"))) {
		refuse_http(call, "405",
			    err_make(a, ERR_INTERNAL,
				     "Received a HEADERS frame with :method \"%.*s\" which should be POST",
				     (int)head->method.len, head->method.data));
		return false;
	}
	if (!grpc_content_type_ok(head->content_type)) {
		refuse_http(call, "415",
			    err_make(a, ERR_INVALID_ARGUMENT, "invalid gRPC request content-type \"%.*s\"",
				     (int)head->content_type.len, head->content_type.data));
		return false;
	}
	return true;
}

static bool accept_timeout(struct grpc_call *call, struct bytes timeout)
{
	if (timeout.len == 0)
		return true;
	int64_t ns;
	if (!grpc_timeout_parse(timeout, &ns)) {
		grpc_call_refuse(call, err_make(call->server->scratch, ERR_INTERNAL, "malformed grpc-timeout: \"%.*s\"",
						(int)timeout.len, timeout.data));
		return false;
	}
	if (ns < INT64_MAX - call->started_ns)
		call->deadline_ns = call->started_ns + ns;
	return true;
}

static bool accept_encoding(struct grpc_call *call, const struct head *head)
{
	call->gzip_in = bytes_eq(head->encoding, bytes_str("gzip"));
	call->gzip_ok = call->gzip_in || grpc_encoding_listed(head->accept_encoding, "gzip");
	if (call->gzip_in || head->encoding.len == 0 || bytes_eq(head->encoding, bytes_str("identity")))
		return true;
	call->server->stats.refused++;
	grpc_reply_bad_encoding(call->conn, call->stream_id,
				err_make(call->server->scratch, ERR_UNIMPLEMENTED,
					 "grpc: Decompressor is not installed for grpc-encoding \"%.*s\"",
					 (int)head->encoding.len, head->encoding.data));
	grpc_call_cut(call);
	return false;
}

bool grpc_request_accept(struct grpc_call *call)
{
	const struct grpc_handlers *h = &call->server->handlers;
	struct head head;
	read_head(call, &head);
	call->path = (const char *)head.path.data;
	if (!accept_http(call, &head))
		return false;
	/* A request has a path: nghttp2 sees to that, and our limit on headers leaves room for the pseudo-headers. */
	if (!call->path) {
		refuse_http(call, "400", err_static(ERR_INTERNAL, "no path"));
		return false;
	}
	if (!accept_timeout(call, head.timeout))
		return false;
	bool streaming = false;
	if (!h->known(h->ctx, call->path, &streaming)) {
		grpc_call_refuse(call, unknown(call));
		return false;
	}
	call->streaming = streaming;
	return accept_encoding(call, &head);
}
