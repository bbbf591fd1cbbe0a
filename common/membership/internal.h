/*
 * What the files of this folder share: a membership and the rows it watches.
 *
 *   watch.c       what each read of the rows tells: who is live
 *   owners.c      who of them owns what
 *   pins.c        shards that an operator placed
 *   membership.c  our own row and its lease; listeners; life
 */
#ifndef COMMON_MEMBERSHIP_INTERNAL_H
#define COMMON_MEMBERSHIP_INTERNAL_H

#include <uthash.h>

#include "common/membership/membership.h"

#define MEMBERSHIP_LISTENERS_MAX 16

/* A row as we have watched it. */
struct watched {
	UT_hash_handle hh;    /* membership->rows by node id */
	struct member member; /* strings owned */
	bool role_known;
	int64_t renewals;
	bool dead;
	/* Since when the counter has stood still, as far as we can tell: not longer than our contact is healthy. */
	int64_t still_since_ns;
	int64_t gone_ns; /* when it ceased to be live */
	bool live;
	bool present; /* in the read under way */
	int64_t drains_since_ns;
	bool doubted;	    /* a connection to it was lost: passed over until it has renewed twice more */
	int64_t doubted_at; /* the counter then */
	uint64_t doubted_incarnation;
	uint64_t id_hash;
};

/* A shard that an operator gave to a node, or lately took back. */
struct pin {
	UT_hash_handle hh; /* membership->pins by shard */
	uint32_t shard;
	bool present;  /* in the read under way */
	char *node_id; /* NULL: not any more */
	char *before;  /* where it was pinned before; NULL: nowhere */
	int64_t changed_ns;
};

struct listener {
	void (*fn)(void *ctx); /* NULL: taken away while they were told */
	void *ctx;
};

/* An address that a live node had before the read under way. */
struct gone {
	char *address;
	struct gone *next;
};

struct membership {
	struct env *env;
	struct store *store;
	struct membership_config config;
	char *node_id, *address, *http_address, *version;
	bool started, joined, draining, left, fenced;
	bool told;		/* to drain, by an operator */
	bool under_way;		/* a renewal */
	bool again;		/* renew once more as soon as it is back */
	bool telling;		/* listeners */
	int64_t sent_ns;	/* of the last renewal */
	int64_t lease_until_ns; /* monotonic: until when we trust our lease; 0: none */
	int64_t read_ns;	/* of the last successful read; 0: none yet */
	uint64_t generation;
	struct watched *rows;
	struct pin *pins;
	const struct member **live[MEMBER_ROLE_COUNT];
	size_t live_count[MEMBER_ROLE_COUNT];
	struct listener listeners[MEMBERSHIP_LISTENERS_MAX];
	size_t listener_count;
	struct listener on_fenced;
	void (*on_gone)(void *ctx, const char *address);
	void *on_gone_ctx;
	struct gone *gone;
	char *forgetting; /* node id of a row that is being removed */
	store_done_fn *left_fn;
	void *left_ctx;
	struct env_timer renew;
	struct env_task doubts_changed;
	struct store_node self; /* of the renewal under way */
};

/* ------------------------------------------------------------------ watch.c */

/* NULL when there is no such row, live or not. */
struct watched *membership_row(const struct membership *m, const char *node_id);
bool membership_is_self(const struct membership *m, const struct member *b);
/* The listeners are told that the map has changed. */
void membership_tell(struct membership *m);
/* What our last renewal has read; m->sent_ns is its. Tells the listeners. */
void membership_take_rows(struct membership *m, const struct store_nodes *nodes);
/* Removes rows of nodes that never came back, one at a time. */
void membership_forget_old(struct membership *m);
void membership_free_rows(struct membership *m);

/* ------------------------------------------------------------------ pins.c */

/* Whether anything changed. */
bool membership_take_pins(struct membership *m, const struct store_pin *pins, size_t count);
void membership_free_pins(struct membership *m);
/* The node that the shard is pinned to; NULL: none, or it doesn't live, or it drains. */
const struct member *membership_pinned(const struct membership *m, uint32_t shard);
/* Who served the shard until a pin changed, or the node that it is pinned to began to drain, a moment ago; or NULL. */
const struct member *membership_had_before(const struct membership *m, uint32_t shard);

#endif
