/*
 * What the files of this folder share: the server, its connections, their calls. Not for other folders.
 *
 *   socket.c   bytes of a TCP connection, TLS included         owns the connection's memory
 *   conn.c     bytes ↔ nghttp2 session, keepalive, draining    owns the session
 *   session.c  nghttp2's callbacks: frames become calls, protocol abuse is counted
 *   call.c     a call from its headers to its last byte        owns the call
 *   request.c  what its headers ask, and whether we take it
 *   reply.c    what it is answered with
 *   server.c   listener, list of connections, flush once a turn
 *
 * User code (serve, on_cancel) never runs inside nghttp2: what its callbacks find out is queued as an event on the
 * connection and run afterwards. So grpc_finish() may always write.
 */
#ifndef COMMON_GRPC_INTERNAL_H
#define COMMON_GRPC_INTERNAL_H

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include "common/grpc/deframe.h"
#include "common/grpc/grpc.h"

#define GRPC_PEER_BYTES	    64
#define GRPC_SPARE_BUFS	    32
#define GRPC_INLINE_HEADERS 14

struct grpc_conn;
struct grpc_tls;
struct grpc_trailers;

/* Output gathered on a connection before it is written; more waits in the session and in the calls. */
#define GRPC_OUT_BYTES_MAX ((size_t)256 * 1024)

/* ---- server ---- */

struct grpc_server {
	struct loop *loop;
	struct env *env;
	struct grpc_config config; /* its strings are not kept */
	struct grpc_handlers handlers;
	struct grpc_stats stats;
	struct grpc_gzip *gzip;
	struct grpc_tls *tls;	      /* NULL: cleartext */
	struct grpc_config tls_files; /* the paths alone, copied: the files are read again when they change */
	struct arena *scratch;	      /* texts of an answer under way */
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	uv_tcp_t *listener; /* NULL: not listening */
	struct sockaddr_storage address;
	uv_prepare_t flusher;
	uint8_t *read_buf; /* one for all: a read is used up before the next begins */
	struct grpc_conn *conns;
	struct grpc_conn *dirty; /* have something to write this turn */
	struct buf spare[GRPC_SPARE_BUFS];
	int spare_count;
	int conn_count;
	int call_count;	      /* with the user */
	int handles;	      /* open handles and connections not yet released */
	size_t request_bytes; /* of requests that are not complete */
	uint16_t port;
	bool freed;
	bool draining;
	struct env_timer drain_timer;
	struct env_task drain_task;
	void (*drain_done)(void *ctx);
	void *drain_ctx;
};

/* A buffer for a turn's output; given back empty. */
struct buf grpc_server_take_buf(struct grpc_server *s);
void grpc_server_give_buf(struct grpc_server *s, struct buf *b);
void grpc_server_mark_dirty(struct grpc_server *s, struct grpc_conn *conn);
void grpc_server_conn_added(struct grpc_server *s, struct grpc_conn *conn);
/* The connection takes no part any more; its memory may live on until its last call ends. */
void grpc_server_conn_gone(struct grpc_server *s, struct grpc_conn *conn);
/* One of `handles` is no more. */
void grpc_server_handle_closed(struct grpc_server *s);

/* ---- connection ---- */

/* How a connection reaches its peer: a socket, or a test. */
struct grpc_io {
	/* Takes all bytes of *out (leaving it empty) and sends them; conn->in_flight is what the kernel didn't take. */
	void (*write)(struct grpc_conn *conn, struct buf *out);
	void (*set_reading)(struct grpc_conn *conn, bool on);
	/* No more writes follow: half-close. */
	void (*shutdown)(struct grpc_conn *conn);
	/* Ends it at once; grpc_conn_closed() follows, later. */
	void (*close)(struct grpc_conn *conn);
	/* Closed, and no call refers to it: frees the memory. */
	void (*release)(struct grpc_conn *conn);
};

struct grpc_conn {
	struct grpc_server *server;
	const struct grpc_io *io;
	struct grpc_conn *prev, *next; /* server->conns */
	struct grpc_conn *prev_dirty, *next_dirty;
	nghttp2_session *session; /* from the first byte on, until closing */
	struct buf out;
	size_t in_flight;
	struct grpc_call *receiving; /* calls whose request isn't complete, oldest first */
	struct grpc_call *calls;     /* the others that have a stream */
	struct grpc_call *events;    /* what user code must hear of, in order */
	struct grpc_call *serving;   /* serve() is on the stack for it */
	struct grpc_call *current;   /* whose headers are coming in */
	struct env_task task;	     /* events that came up while writing */
	struct env_timer tick;
	int64_t opened_ns, last_read_ns, write_blocked_ns;
	int64_t ping_sent_ns; /* 0: none unanswered */
	int64_t last_ping_ns; /* the client's */
	int64_t drain_ns;     /* when draining began; 0: not */
	int64_t linger_ns;    /* when we half-closed; 0: not */
	int64_t reset_tokens_ns;
	size_t unread_bytes;  /* of answers, not yet passed to nghttp2 */
	size_t request_bytes; /* of requests that are not complete */
	int refs;	      /* calls that point here, and the user's stack frames */
	int ping_strikes;
	bool dirty;
	bool in_session; /* inside nghttp2 */
	bool settled;	 /* preface and SETTINGS came */
	bool goaway_sent;
	bool broken; /* nghttp2 ran out of memory: close */
	bool closing, closed;
	bool not_reading;
	char peer[GRPC_PEER_BYTES];
	char *subject; /* of the client's certificate */
};

/* io and server outlive it. Reading is on. */
void grpc_conn_init(struct grpc_conn *conn, struct grpc_server *s, const struct grpc_io *io);
/* Bytes from the peer, decrypted. */
void grpc_conn_input(struct grpc_conn *conn, const uint8_t *data, size_t len);
/* Encodes what the session has to say, as far as the write buffer's bound allows. Not inside nghttp2. */
void grpc_conn_pump(struct grpc_conn *conn);
/* Pump and write. May end the connection. */
void grpc_conn_flush(struct grpc_conn *conn);
/* The transport took everything that was in flight. */
void grpc_conn_written(struct grpc_conn *conn);
/* Goes to pieces now: every call is cancelled. */
void grpc_conn_abort(struct grpc_conn *conn);
/* The transport's close() is complete. */
void grpc_conn_closed(struct grpc_conn *conn);
/* GOAWAY, new streams end, then close when the last call did. Harmless when draining already. */
void grpc_conn_drain(struct grpc_conn *conn);
/* The peer has seen our first GOAWAY: the second says which streams are the last. */
void grpc_conn_drain_ack(struct grpc_conn *conn);
/* GOAWAY with ENHANCE_YOUR_CALM and the reason, then close. */
void grpc_conn_abuse(struct grpc_conn *conn, const char *reason);
void grpc_conn_unref(struct grpc_conn *conn);

extern const uint8_t grpc_drain_ping[8], grpc_keepalive_ping[8];

/* session.c */
void grpc_session_setup(struct grpc_server *s);
/* One more stream was reset for the client's doing: too many, too young, and it is sent away. */
void grpc_session_count_reset(struct grpc_conn *conn);

/* ---- call ---- */

enum grpc_call_state {
	GRPC_CALL_RECEIVING, /* not yet shown to the user */
	GRPC_CALL_SERVING,   /* with the user */
	GRPC_CALL_FINISHED,  /* its answer is on its way */
};

struct grpc_header {
	nghttp2_rcbuf *name, *value; /* shared with nghttp2's tables where it can be */
};

/* What is being sent straight from the memory of grpc_finish()'s caller. */
struct grpc_direct {
	uint8_t prefix[GRPC_PREFIX_BYTES];
	size_t prefix_off;
	const struct bytes *parts;
	size_t part, part_off;
};

struct grpc_call {
	struct grpc_server *server;
	struct grpc_conn *conn;
	struct grpc_call *prev, *next;
	struct grpc_call *prev_event, *next_event;
	const char *path;
	struct env_timer deadline_timer;
	int64_t started_ns;
	int64_t deadline_ns; /* INT64_MAX: none */
	void *user;
	void (*on_cancel)(void *user, struct grpc_call *call);
	int32_t stream_id;  /* 0: the stream is gone */
	uint8_t state;	    /* enum grpc_call_state */
	bool receiving : 1; /* its request is not complete: in conn->receiving, else in conn->calls */
	bool queued : 1;    /* has an event */
	bool streaming : 1;
	bool input_ended : 1; /* the client half-closed */
	bool end_pending : 1; /* streaming: the user must be told so */
	bool end_shown : 1;   /* streaming: this serve() tells */
	bool cancelled : 1;
	bool cancel_pending : 1; /* on_cancel must be called */
	bool headers_sent : 1;
	bool gzip_in : 1;
	bool gzip_ok : 1; /* the client accepts it */
	bool pinned : 1;  /* grpc_finish() is on the stack */
	/* request */
	struct grpc_deframer in;
	struct grpc_msg *msg;	/* what grpc_message() shows */
	struct grpc_msg *queue; /* streaming: the next ones */
	size_t held_bytes;	/* of what counts as request_bytes of connection and server */
	/* answer: tx_left bytes, from `direct` while grpc_finish() runs, else from `tx` */
	struct grpc_direct *direct;
	struct buf tx;
	size_t tx_off;
	size_t tx_left;
	struct grpc_trailers *trailers; /* NULL: status 0 */
	/* request headers; more than fit inline are in `more` */
	size_t header_bytes;
	uint16_t header_count, more_cap;
	struct grpc_header *more;
	struct grpc_header headers[GRPC_INLINE_HEADERS];
};

/* A new stream. */
struct grpc_call *grpc_call_new(struct grpc_conn *conn, int32_t stream_id);
/* From session.c, inside nghttp2. */
void grpc_call_on_header(struct grpc_call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
void grpc_call_on_headers_end(struct grpc_call *call);
void grpc_call_on_data(struct grpc_call *call, const uint8_t *data, size_t len);
void grpc_call_on_input_end(struct grpc_call *call);
/* Also when the connection ends. */
void grpc_call_on_stream_close(struct grpc_call *call);
/* We answer for the user: sends e, cuts the call loose from its stream, cancels or frees it. */
void grpc_call_refuse(struct grpc_call *call, struct err e);
/* The same without an answer of its own. */
void grpc_call_cut(struct grpc_call *call);
/* Serves and cancels what is queued on the connection. Not inside nghttp2. */
void grpc_call_run_events(struct grpc_conn *conn);
void grpc_call_free(struct grpc_call *call);

/* request.c: what the headers of a request say; refuses what gRPC refuses. false: refused, the call is freed. */
bool grpc_request_accept(struct grpc_call *call);

/* reply.c: answers that need no call any more. */

/* Status only, in one HEADERS frame. */
void grpc_reply_error(struct grpc_conn *conn, int32_t stream_id, struct err e);
/* An HTTP error. */
void grpc_reply_http(struct grpc_conn *conn, int32_t stream_id, const char *http_status, struct err e);
/* UNIMPLEMENTED for an unknown grpc-encoding, naming those we know. */
void grpc_reply_bad_encoding(struct grpc_conn *conn, int32_t stream_id, struct err e);
/* Passes bytes of the answer to nghttp2. */
int grpc_reply_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
		    nghttp2_data_source *source, void *ctx);
/* Frees what the call holds of its answer. */
void grpc_reply_done(struct grpc_call *call);

/* ---- TLS ---- */

must_check struct err grpc_tls_new(const struct grpc_config *config, struct arena *errors, struct grpc_tls **ret);
void grpc_tls_free(struct grpc_tls *tls);

/* One connection's TLS, over memory. */
struct grpc_tls_conn;
struct grpc_tls_conn *grpc_tls_conn_new(struct grpc_tls *tls);
void grpc_tls_conn_free(struct grpc_tls_conn *t);
/* Bytes from the wire. false: the connection is broken. */
bool grpc_tls_feed(struct grpc_tls_conn *t, const uint8_t *data, size_t len);
/* The next decrypted bytes; 0 when there are none, -1 when the connection is broken or ended. */
int grpc_tls_read(struct grpc_tls_conn *t, uint8_t *out, size_t cap);
/* Encrypts all of it. false: the connection is broken. Only once grpc_tls_ready(). */
bool grpc_tls_write(struct grpc_tls_conn *t, const uint8_t *data, size_t len);
/* Moves what must go to the wire to the end of `out`. */
void grpc_tls_drain(struct grpc_tls_conn *t, struct buf *out);
/* The handshake is complete and both sides speak h2. */
bool grpc_tls_ready(const struct grpc_tls_conn *t);
void grpc_tls_shutdown(struct grpc_tls_conn *t);
/* Subject of the verified client certificate, to be freed; NULL when there is none. */
char *grpc_tls_subject(const struct grpc_tls_conn *t);

#endif
