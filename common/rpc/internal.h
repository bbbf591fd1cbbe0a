/*
 * What the files of this folder share: the structures behind rpc.h and who may do what with them.
 *
 *   rpc.c    making and ending; what arrives is taken apart here
 *   peer.c   a peer: its queue, and what a lost connection ends
 *   call.c   the caller's side        serve.c  the callee's side
 *   silence.c  peers that answer nothing any more
 */
#ifndef COMMON_RPC_INTERNAL_H
#define COMMON_RPC_INTERNAL_H

#include <uthash.h>
#include <utlist.h>

#include "common/base/heap.h"
#include "common/rpc/envelope.h"
#include "common/rpc/rpc.h"

#define RPC_METHODS 256
/* More would mean that somebody makes addresses up. */
#define RPC_PEERS_MAX 100000

struct peer;

/* Calls and requests in one heap by time, with one timer: most never come due. */
struct deadline {
	struct heap_node node;
	int64_t due_ns;
	bool armed;
	void (*fn)(struct deadline *d);
};

/* A message that waits for its turn; frames are appended to the last one while it is open. */
struct chunk {
	struct buf buf;
	bool open;
	struct chunk *next;
};

struct rpc_pending {
	UT_hash_handle hh; /* peer->calls by id; while queued there, peer is referenced */
	uint64_t id;
	struct peer *peer;
	uint64_t epoch; /* peer->epoch when it was sent */
	struct deadline deadline;
	rpc_reply_fn *fn;
	void *ctx;
	/* Never sent: ends with this on the next turn (rpc->doomed). */
	bool doomed;
	enum err_code doom_code;
	const char *doom_message;
	struct rpc_pending *prev, *next;
};

struct rpc_request {
	UT_hash_handle hh; /* peer->requests by id, unless gone or one-way */
	uint64_t id;
	struct peer *peer; /* referenced */
	uint64_t epoch;	   /* the caller's, when it arrived */
	uint64_t incarnation;
	struct deadline deadline;
	enum rpc_method method;
	bool one_way;
	bool gone; /* the caller gave up; a reply is dropped */
	void (*on_cancel)(void *ctx, struct rpc_request *req);
	void *on_cancel_ctx;
	struct arena *arena;
	const char *traceparent; /* inside data, or NULL */
	size_t body_len;
	uint8_t data[]; /* body, then traceparent */
};

struct peer {
	UT_hash_handle hh; /* rpc->peers by address */
	struct rpc *rpc;   /* NULL once the rpc was freed */
	char *address;
	unsigned refs;
	bool self;    /* our own inbox: messages never leave the process */
	bool lost;    /* nothing was heard since the connection was lost */
	bool used;    /* something was put for it since the connection was lost */
	bool sending; /* a message is with the network */
	bool dirty;   /* on rpc->dirty */
	struct peer *dirty_next;

	/* How both sides agree on what a lost connection took with it: see README. */
	uint64_t incarnation; /* 0: nothing heard yet */
	uint64_t epoch;	      /* ours towards it: rises when we give its connection up */
	uint64_t dropped;     /* its epoch when ours rose: its requests up to there were dropped */
	uint64_t epoch_seen;  /* its epoch towards us, as last heard */
	uint64_t epoch_heard; /* our epoch when we last heard from it */

	/* Requests that this process sent in epochs below are not served any more: it said so over another peer. */
	uint64_t barred_incarnation, barred_epoch;

	/* silence.c */
	bool unproven;		 /* something was sent, and no call was answered since */
	unsigned unproven_ticks; /* for so long */
	struct rpc_pending *ping;

	struct rpc_pending *calls;    /* hash; in order of sending */
	struct rpc_request *requests; /* hash; in order of arrival */
	struct chunk *first, *last;
	size_t queued_bytes;
};

struct method {
	rpc_serve_fn *fn;
	void *ctx;
};

struct listener {
	void (*fn)(void *ctx, const char *address);
	void *ctx;
	struct listener *next;
};

struct rpc {
	struct env *env;
	struct rpc_net *net;
	char *address;
	uint64_t incarnation;
	size_t message_bytes_max, queue_bytes_max;
	struct peer *peers;
	unsigned sweep_at; /* number of peers at which lost ones are looked for */
	uint64_t last_epoch, last_call_id;
	struct method methods[RPC_METHODS];
	bool serves; /* a method has been registered: the service above us has started */
	struct heap deadlines;
	struct env_timer timer, silence_timer;
	struct env_task flush_task, doom_task;
	struct peer *dirty;
	struct rpc_pending *doomed;
	struct listener *listeners;
	struct rpc_stats stats;
};

/* ------------------------------------------------------------------ rpc.c */

void rpc_deadline_add(struct rpc *r, struct deadline *d);
void rpc_deadline_remove(struct rpc *r, struct deadline *d);
/* Takes a message apart and serves it. */
void rpc_on_message(struct rpc *r, struct bytes message);

/* ------------------------------------------------------------------ peer.c */

/* Found or made; NULL when the address is too long or there are too many. */
struct peer *peer_get(struct rpc *r, struct bytes address);
struct peer *peer_find(struct rpc *r, const char *address);
void peer_ref(struct peer *p);
void peer_unref(struct peer *p);
/* Detaches it from its rpc, which ends; calls are freed, requests live until they are replied to. */
void peer_detach(struct peer *p);

/* Whether a frame with that much in it may still be queued. */
bool peer_has_room(const struct peer *p, size_t frame_bytes);
/* Queues a frame; it leaves at the end of the turn, or when the message under way has left. */
void peer_put(struct peer *p, const struct envelope_frame *f, const struct bytes *parts, size_t part_count);
/* Hands the next message to the network if none is under way. */
void peer_flush(struct peer *p);

/* A message came: takes note of restarts and of what the peer dropped. False: its requests are of a past connection. */
bool peer_heard(struct peer *p, const struct envelope_header *h);
/* The connection is lost: ends its calls, tells the requests of this caller, tells the listeners. */
void peer_lost(struct peer *p);
/* The same for one that the network still holds for good: it is closed first. */
void peer_renew(struct peer *p);

/* ------------------------------------------------------------------ silence.c */

void silence_init(struct rpc *r);
/* Something left that an answer will prove to have arrived, sooner or later. */
void silence_sent(struct peer *p);
/* A call was answered. */
void silence_proved(struct peer *p);
/* The connection was given up. */
void silence_over(struct peer *p);
/* The peer has given us up because nothing came from us. */
void silence_heard(struct peer *p);

/* ------------------------------------------------------------------ call.c */

void call_on_reply(struct peer *p, const struct envelope_frame *f);
/* Ends the calls sent in epochs up to that one with PEER_LOST. */
void calls_lost(struct peer *p, uint64_t epoch);
void call_free(struct rpc_pending *c);
void calls_run_doomed(struct rpc *r);

/* ------------------------------------------------------------------ serve.c */

void serve_on_request(struct peer *p, const struct envelope_frame *f);
void serve_on_cancel(struct peer *p, uint64_t id);
/* What RPC_BAR says. */
void serve_on_bar(struct rpc *r, struct bytes body);
/* The callers of the requests that arrived in epochs below that one are gone. */
void requests_gone(struct peer *p, uint64_t epoch);

#endif
