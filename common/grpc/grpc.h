/*
 * A gRPC server for unary calls (and what health and reflection need of streams) on nghttp2 and libuv.
 *
 * Belongs to one loop. The server knows no method: it hands each complete request message to `serve` and sends what
 * the call is finished with. Decompressed request bytes live until the call is freed.
 */
#ifndef COMMON_GRPC_GRPC_H
#define COMMON_GRPC_GRPC_H

#include "common/err/err.h"
#include "common/loop/loop.h"

struct grpc_server;
struct grpc_call;

struct grpc_config {
	const char *listen_host; /* "127.0.0.1", "0.0.0.0", "::" */
	uint16_t port;		 /* 0: any */
	int64_t message_bytes_max;
	int connections_max;
	int streams_per_connection_max;
	int64_t keepalive_idle_ns; /* we ping an idle connection after this */
	int64_t keepalive_timeout_ns;
	int64_t ping_interval_min_ns;  /* a client that pings more often than this too many times is sent away */
	int64_t header_timeout_ns;     /* a connection that has not completed preface and settings by then is closed */
	int64_t connection_age_max_ns; /* 0: none */
	/* The following may be 0: then the default that grpc_config_defaults() sets. */
	int64_t connection_age_grace_ns; /* calls under way when a connection's age ends may take this long */
	int64_t header_list_bytes_max;
	int64_t compress_bytes_min; /* larger answers are compressed for clients that accept gzip; INT64_MAX: never */
	int64_t unread_bytes_max;   /* a client that leaves more of its answers unread gets no further ones */
	/* NULL: cleartext. PEM files. */
	const char *tls_cert_file, *tls_key_file, *tls_client_ca_file;
	bool tls_client_required;
};

/* Every limit set to what a public server can live with; no address, no TLS. */
void grpc_config_defaults(struct grpc_config *config);

struct grpc_handlers {
	/*
	 * A whole request has arrived (or, for a streaming method, its next message, and once more when the client has
	 * sent its last: grpc_input_ended()). Must lead to exactly one grpc_finish(), now or later; after it serve is
	 * not called again for this call. Not called for calls the protocol itself refuses.
	 */
	void (*serve)(void *ctx, struct grpc_call *call);
	/* Is this path served, and how? false: UNIMPLEMENTED with the text of the gRPC specification. */
	bool (*known)(void *ctx, const char *path, bool *ret_streaming);
	/*
	 * May be NULL. Is any method of this service (full name, not NUL-terminated) served? Only chooses between the
	 * texts "unknown service" and "unknown method"; without it the public API's tables and known() decide.
	 */
	bool (*known_service)(void *ctx, const char *service, size_t len);
	void *ctx;
};

must_check struct err grpc_server_new(struct loop *loop, const struct grpc_config *config,
				      const struct grpc_handlers *handlers, struct arena *errors,
				      struct grpc_server **ret);
/*
 * Other limits and times from now on; address and TLS stay as they are. A connection that is open takes new times the
 * next time it is looked at (after one of the old ones, at the latest), and keeps its limit of streams.
 */
void grpc_server_configure(struct grpc_server *s, const struct grpc_config *config);
/* Reads the certificate files again, for connections from now on. On an error the old ones stay in use. */
must_check struct err grpc_server_reload_tls(struct grpc_server *s, struct arena *errors);
uint16_t grpc_server_port(const struct grpc_server *s);
/*
 * Draining: GOAWAY to every connection, new ones refused; `done` is called on the loop when the last call has ended or
 * after grace_ns, when what remains is cut. The owner then frees the server.
 */
void grpc_server_drain(struct grpc_server *s, int64_t grace_ns, void (*done)(void *ctx), void *ctx);
/* Connections are sent away (GOAWAY; calls under way end as usual) and no new ones are taken, until it is resumed. */
void grpc_server_pause(struct grpc_server *s);
/* Listens again, on the same address. UNAVAILABLE: somebody else does by now; may be tried again. */
must_check struct err grpc_server_resume(struct grpc_server *s, struct arena *errors);
void grpc_server_free(struct grpc_server *s);
int grpc_server_connections(const struct grpc_server *s);
int grpc_server_calls(const struct grpc_server *s);

/* Totals since the start. */
struct grpc_stats {
	uint64_t connections;	      /* accepted */
	uint64_t connections_refused; /* beyond connections_max, or while draining */
	uint64_t calls;		      /* given to serve */
	uint64_t refused;	      /* calls that the protocol refused */
	uint64_t cancelled;	      /* by the client, its deadline or its connection's end */
	uint64_t abusive;	      /* connections closed for pings, resets or malformed frames */
	uint64_t bytes_in, bytes_out; /* on the wire */
};
struct grpc_stats grpc_server_stats(const struct grpc_server *s);

/* What the call asks. Pointers live as long as the call. */
const char *grpc_path(const struct grpc_call *call);
struct bytes grpc_message(const struct grpc_call *call);
/* First value of a metadata key (lower case); NULL when absent. */
const char *grpc_metadata(const struct grpc_call *call, const char *key);
/* Absolute, on the loop's monotonic clock; INT64_MAX when the client gave none. */
int64_t grpc_deadline_ns(const struct grpc_call *call);
const char *grpc_peer(const struct grpc_call *call);	     /* "ip:port" */
const char *grpc_peer_subject(const struct grpc_call *call); /* subject of a verified client certificate, or NULL */
/* Streaming methods: the client has sent its last message; grpc_message() is empty. */
bool grpc_input_ended(const struct grpc_call *call);
/*
 * Gives back the memory of the request message and of the metadata other than the path: for calls that wait long.
 * grpc_message() is empty and grpc_metadata() answers NULL from then on.
 */
void grpc_slim(struct grpc_call *call);
struct env *grpc_env(const struct grpc_call *call);
void *grpc_user(const struct grpc_call *call);
void grpc_set_user(struct grpc_call *call, void *user);
/*
 * Called once, on the loop, when the client cancelled, its connection died or the deadline passed, before
 * grpc_finish(). The call must still be finished; what is sent then goes nowhere (deadline: the client is answered
 * DEADLINE_EXCEEDED by the server itself).
 */
void grpc_on_cancel(struct grpc_call *call, void (*fn)(void *user, struct grpc_call *call));
bool grpc_cancelled(const struct grpc_call *call);

/*
 * Ends the call and frees it. `parts` are concatenated into the response message; they are copied or sent before the
 * function returns, so the caller keeps ownership. With an error, parts are ignored and the error becomes
 * grpc-status, grpc-message (percent-encoded) and, with a detail, grpc-status-details-bin (google.rpc.Status).
 * Returns whether the response was accepted for sending: false when the call was already cancelled, in which case not
 * one byte of it has been or will be written.
 */
bool grpc_finish(struct grpc_call *call, struct err e, const struct bytes *parts, size_t part_count);
/* For a streaming method: one response message, the call goes on. */
void grpc_send(struct grpc_call *call, struct bytes message);

#endif
