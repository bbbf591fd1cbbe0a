/*
 * Requests between daemons: asynchronous calls with deadline, cancellation, trace context and typed errors, many in
 * one message under load.
 *
 * Every process has one inbox (an nng PULL socket listening on its address) and one PUSH connection to the inbox of
 * each peer it talks to; a reply travels over the callee's own connection to the caller's inbox. What gathers for a
 * peer while a message is under way leaves as the next message. Nothing is ever sent again by itself.
 *
 * A `struct rpc` belongs to one loop. The network below it is a `struct rpc_net`: nng, or the simulation's.
 */
#ifndef COMMON_RPC_RPC_H
#define COMMON_RPC_RPC_H

#include "common/env/env.h"
#include "common/err/err.h"

struct rpc;
struct rpc_pending; /* a call we made */
struct rpc_request; /* a call made to us */

/* The methods between daemons. Numbers are the wire's and never reused. */
enum rpc_method {
	RPC_HISTORY_CALL = 1,	      /* perdure.HistoryCall → bytes of the public response */
	RPC_HISTORY_START_TASK = 2,   /* perdure.StartTask → perdure.StartTaskReply */
	RPC_HISTORY_REVERT_START = 3, /* perdure.RevertStart → empty */
	RPC_HISTORY_OFFER_AGAIN = 4,  /* perdure.OfferAgain, one way: matching asks for what it lost */
	RPC_HISTORY_ADMIN = 5,	      /* perdure.AdminRequest → perdure.AdminReply */
	RPC_HISTORY_PULL = 6,	      /* perdure.PullTasks → perdure.PullTasksReply */
	RPC_HISTORY_TAKE_BACK = 7,    /* perdure.TakeBack, one way */
	RPC_MATCHING_ADD = 20,	      /* perdure.AddTasks → perdure.AddTasksReply */
	RPC_MATCHING_CREDITS = 21,    /* perdure.Credits, one way */
	RPC_MATCHING_OUTCOMES = 22,   /* perdure.TaskOutcomes, one way */
	RPC_MATCHING_DESCRIBE = 23,   /* perdure.DescribeQueue → perdure.DescribeQueueReply */
	RPC_MATCHING_BACKLOG = 24,    /* perdure.Backlogs, one way */
	RPC_MATCHING_PARTITION = 25,  /* perdure.PartitionReport, one way: to the queue's root */
	RPC_MATCHING_PARTITIONS = 26, /* perdure.PartitionNews, one way: from the root */
	RPC_GATEWAY_TASKS = 40,	      /* perdure.HandOut, one way */
	RPC_RELAY = 60,		      /* perdure.RelayCall → perdure.RelayReply: common/relay */
	/* One way, to rpc itself: rpc_bar(). */
	RPC_BAR = 254,
	/* Called: nobody serves it, an error is answer enough. One way: your connection to me seems dead (silence.c).
	 */
	RPC_PING = 255,
};

/* ------------------------------------------------------------------ the network below */

/* Addresses are nng URLs: "tcp://10.0.0.7:7244", "ipc:///run/…", "inproc://history-1", "tls+tcp://…". */
struct rpc_net {
	const struct rpc_net_ops *ops;
	/* Set by rpc_new(): called on the loop. `message` is valid during the call. */
	void (*on_message)(void *ctx, struct bytes message);
	/*
	 * The peer's inbox went away (or could not be reached), or its own connection to our inbox did: everything sent
	 * and unanswered, in both directions, is of unknown outcome.
	 */
	void (*on_peer_down)(void *ctx, const char *address);
	/* The message handed to send() has left or was lost, the next may be given. Exactly once a send(). */
	void (*on_sent)(void *ctx, const char *address);
	void *ctx;
};

/*
 * What the network promises: messages of one sender arrive unchanged, once, in order, or not at all; after a message of
 * a newer connection (or a newer process at the same address) none of an older one arrives; a message that was lost is
 * followed by on_peer_down() at the sender. None of the functions calls back inline.
 */
struct rpc_net_ops {
	/* One message at a time and peer: the next only after on_sent(). Takes ownership of data (free()). */
	void (*send)(struct rpc_net *n, const char *address, uint8_t *data, size_t len);
	/* Closes the connection to a peer that left for good. No on_sent() follows for what was under way. */
	void (*forget)(struct rpc_net *n, const char *address);
	void (*free)(struct rpc_net *n);
};

/* ------------------------------------------------------------------ both sides */

struct rpc_config {
	const char *address;	   /* our inbox, as peers dial it; copied */
	uint64_t incarnation;	   /* differs at each start of the process */
	int64_t message_bytes_max; /* soft limit of one batch; default 1 MiB when 0 */
	int64_t queue_bytes_max;   /* what may wait for one peer; default 128 MiB when 0 */
};

/* The largest body of a call or of its reply: beyond it, RESOURCE_EXHAUSTED. */
#define RPC_BODY_BYTES_MAX (64 * 1024 * 1024)
/* The longest inbox address. */
#define RPC_ADDRESS_BYTES_MAX 255

/* Takes ownership of net. */
struct rpc *rpc_new(struct env *env, struct rpc_net *net, const struct rpc_config *config);
/*
 * Accepts NULL; not from within a callback of r. The functions of calls still under way are not called. Requests not
 * yet replied to must still be replied to, which then only frees them.
 */
void rpc_free(struct rpc *r);
const char *rpc_address(const struct rpc *r);
struct env *rpc_env(const struct rpc *r);

/* Counters since rpc_new(), and two gauges. */
struct rpc_stats {
	uint64_t calls;	   /* made */
	uint64_t requests; /* received, one-way included */
	uint64_t messages_sent, messages_received;
	uint64_t bytes_sent, bytes_received;
	uint64_t malformed;	    /* messages dropped because they could not be read */
	uint64_t refused;	    /* messages dropped because there were too many peers */
	uint64_t one_way_dropped;   /* one-way messages dropped because of a full queue or their size */
	uint64_t replies_dropped;   /* replies whose caller was gone */
	uint64_t expired;	    /* requests that arrived after their deadline */
	uint64_t deadline_exceeded; /* calls */
	uint64_t peers_lost;	    /* times a connection was lost */
	uint64_t peers_silent;	    /* times one was given up because nothing was answered */
	uint64_t pings;		    /* sent because nothing was answered for a while */
	uint64_t calls_now, requests_now;
};
struct rpc_stats rpc_stats(const struct rpc *r);

/* ------------------------------------------------------------------ the caller */

/*
 * Called once, on the loop, never inline from rpc_call(). body and e live during the call.
 * e: what the callee answered; or from here: UNAVAILABLE/PEER_LOST, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED (the body is
 * too large or the queue to the peer is full: nothing was sent).
 */
typedef void rpc_reply_fn(void *ctx, struct err e, struct bytes body);

struct rpc_call {
	const char *address;
	enum rpc_method method;
	const struct bytes *parts; /* joined; copied before rpc_call() returns */
	size_t part_count;
	int64_t deadline_ns;	 /* absolute, monotonic; the callee sees what is left. INT64_MAX is not allowed */
	const char *traceparent; /* NULL: none */
	rpc_reply_fn *fn;
	void *ctx;
};

struct rpc_pending *rpc_call(struct rpc *r, const struct rpc_call *call);
/* fn will not be called any more; the callee is told. Not after fn was called: p is gone then. */
void rpc_cancel(struct rpc_pending *p);
/*
 * For a call that goes round a lost connection, over another peer: what we gave up with our connections to that address
 * is older than the epoch answered here, and must not be served there after the call.
 */
uint64_t rpc_epoch(const struct rpc *r, const char *address);
/*
 * Tells the peer at the address, ahead of the calls made to it from now on, that whatever that process (by its inbox
 * and incarnation) has sent it before this epoch of its was given up: the callers of such requests are gone, and those
 * that arrive late are not served. A peer of an older release ignores it.
 */
void rpc_bar(struct rpc *r, const char *address, const char *from, uint64_t from_incarnation, uint64_t epoch);
/* One way: no reply, may be lost when the peer goes away. */
void rpc_send(struct rpc *r, const char *address, enum rpc_method method, struct bytes body);

/* ------------------------------------------------------------------ the callee */

/* Must lead to exactly one rpc_reply() or rpc_reply_err(), now or later (also for one-way: reply frees). */
typedef void rpc_serve_fn(void *ctx, struct rpc_request *req);

void rpc_serve(struct rpc *r, enum rpc_method method, rpc_serve_fn *fn, void *ctx);

struct bytes rpc_body(const struct rpc_request *req); /* lives until the reply */
const char *rpc_from(const struct rpc_request *req);  /* the caller's inbox address */
uint64_t rpc_from_incarnation(const struct rpc_request *req);
int64_t rpc_deadline_ns(const struct rpc_request *req);	    /* on our clock; INT64_MAX for one-way */
const char *rpc_traceparent(const struct rpc_request *req); /* NULL: none */
struct arena *rpc_arena(struct rpc_request *req);	    /* freed with the request; 64 MiB unpack limit */
/* The caller gave up (cancel, deadline, or its process died). Called at most once; the request must still be replied
 * to. */
void rpc_on_cancel(struct rpc_request *req, void (*fn)(void *ctx, struct rpc_request *req), void *ctx);
/* Whether that has happened, also before rpc_on_cancel(): what is replied now reaches nobody. */
bool rpc_cancelled(const struct rpc_request *req);

/* Both free the request. parts are copied before the function returns. */
void rpc_reply(struct rpc_request *req, const struct bytes *parts, size_t part_count);
void rpc_reply_err(struct rpc_request *req, struct err e);

/*
 * Told when the connection to a peer is lost or given up (rpc_forget()), or when it turns out that the process there is
 * another one (also when no call was under way), after its calls have ended; any number of listeners. Some messages may
 * have been lost.
 */
void rpc_on_peer_down(struct rpc *r, void (*fn)(void *ctx, const char *address), void *ctx);
/* Forget a peer that left the cluster: its calls end with PEER_LOST, its connection closes. */
void rpc_forget(struct rpc *r, const char *address);

/* ------------------------------------------------------------------ nng */

struct loop;
struct rpc_nng_config {
	const char *listen; /* URL to listen on; port 0 is not allowed */
	/* For tls+tcp, PEM: our certificate and key, and the authority that signed those of all peers (both sides
	 * check). */
	const char *tls_cert_file, *tls_key_file, *tls_ca_file;
	/* The DNS name that every certificate of the cluster bears; "perdure" when NULL. Pod addresses come and go. */
	const char *tls_server_name;
};
/* Listens at once. Errors: address in use, bad URL, unreadable certificate. */
must_check struct err rpc_nng_new(struct loop *loop, const struct rpc_nng_config *config, struct arena *errors,
				  struct rpc_net **ret);
/*
 * Reads the certificate files again, for connections from now on in both directions; those that are there go on. On an
 * error the old ones stay in use. FAILED_PRECONDITION: it has none. The net is one that rpc_nng_new() made.
 */
must_check struct err rpc_nng_reload_tls(struct rpc_net *net, struct arena *errors);

#endif
