/*
 * The live nodes of the cluster, and who of them owns what.
 *
 * Every node has a row in the database that it renews each second; the renewal reads all rows in the same round trip.
 * A node counts as expired when its renewal counter has stood still for the lease, on our monotonic clock, while our
 * own contact with the database was healthy: a database that stalls kills nobody. Ownership is rendezvous hashing over
 * the live nodes of a role, but for shards that an operator pinned, so all nodes that read the same rows agree without
 * talking.
 *
 * Belongs to one loop. Pointers to members are valid until the next change (membership_on_change) or the end of the
 * turn, whichever is first; keep node ids, not pointers.
 */
#ifndef COMMON_MEMBERSHIP_MEMBERSHIP_H
#define COMMON_MEMBERSHIP_MEMBERSHIP_H

#include "common/membership/placement.h"
#include "common/store/store.h"

#define MEMBERSHIP_LEASE_NS (3 * NS_PER_S)
#define MEMBERSHIP_RENEW_NS (1 * NS_PER_S)

enum member_role {
	MEMBER_FRONTEND,
	MEMBER_HISTORY,
	MEMBER_MATCHING,
	MEMBER_WORKER_GATEWAY,
	MEMBER_ROLE_COUNT,
};

/* "frontend", "history", "matching", "worker_gateway" */
const char *member_role_name(enum member_role role);
bool member_role_parse(const char *name, enum member_role *ret);

struct member {
	const char *node_id;
	enum member_role role;
	const char *address; /* rpc inbox */
	const char *http_address;
	const char *version;
	uint64_t incarnation;
	bool draining; /* it ends, or an operator wants it without work */
};

struct membership;

struct membership_config {
	/* Our own row; copied. */
	const char *node_id;
	enum member_role role;
	const char *address, *http_address, *version;
	uint64_t incarnation;
	int64_t lease_ns; /* 0: MEMBERSHIP_LEASE_NS; the same on all nodes */
	int64_t renew_ns; /* 0: MEMBERSHIP_RENEW_NS */
};

/* Neither env nor store is owned. Nothing happens before membership_start(). */
struct membership *membership_new(struct env *env, struct store *store, const struct membership_config *config);
/* Registers our row and renews it from now on; retries for as long as the database is out of reach. */
void membership_start(struct membership *m);
/* Our row says draining from now on: no new work is placed here while another node can have it. */
void membership_drain(struct membership *m);
/*
 * Whether an operator has told this node to drain: it goes on running, and others take its work, until it is told
 * otherwise. Listeners of membership_on_change() hear of both.
 */
bool membership_told_to_drain(const struct membership *m);
/*
 * A clean goodbye: the row is removed, renewals end, the lease ends at once. done is called once, never inline, with an
 * error when the database could not be told (the row then expires by itself).
 */
void membership_leave(struct membership *m, store_done_fn *done, void *ctx);
/*
 * Accepts NULL. The store is freed in the same turn, before or after: it must not call back any more.
 */
void membership_free(struct membership *m);

/* ------------------------------------------------------------------ who is there */

/* Our row is written and the others' have been read at least once. */
bool membership_joined(const struct membership *m);
/* Grows with every change of the live nodes: a key for caches of placements. */
uint64_t membership_generation(const struct membership *m);
/* The live nodes of a role, draining ones included, ordered by node id. */
const struct member *const *membership_live(const struct membership *m, enum member_role role, size_t *ret_count);
/* NULL when no live node has that id, or that address. */
const struct member *membership_find(const struct membership *m, const char *node_id);
const struct member *membership_find_address(const struct membership *m, const char *address);
const char *membership_self_id(const struct membership *m);

/*
 * The node that owns the key (a hash: placement_hash …) among the live ones of the role. Draining nodes own nothing
 * while another is there. NULL: no live node of that role is known.
 */
const struct member *membership_owner(const struct membership *m, enum member_role role, uint64_t key);
/*
 * The owner of one partition of a task queue (placement_queue()): the matching nodes take turns, from the queue's own
 * first one on, so that a queue that is spread is spread evenly.
 */
const struct member *membership_partition_owner(const struct membership *m, uint64_t queue, uint32_t partition);
bool membership_owns_partition(const struct membership *m, uint64_t queue, uint32_t partition);
/* The same for a shard of history. One that an operator pinned to a node is that node's while it lives and doesn't
 * drain. */
const struct member *membership_shard_owner(const struct membership *m, uint32_t shard);
/*
 * Who had the shard before, most likely, when its owner says that it doesn't (yet): whoever had it until a pin was
 * changed, else the next in the ranking of all live nodes, draining ones included. While a shard moves, one of the two
 * serves it. NULL: there is no other.
 */
const struct member *membership_shard_other(const struct membership *m, uint32_t shard);
/* Whether that owner is ourselves. */
bool membership_owns(const struct membership *m, enum member_role role, uint64_t key);
bool membership_owns_shard(const struct membership *m, uint32_t shard);

/* Called on the loop after the live nodes changed (joined, left, expired, restarted, draining); any number. */
void membership_on_change(struct membership *m, void (*fn)(void *ctx), void *ctx);
/* Takes such a listener away. */
void membership_off_change(struct membership *m, void (*fn)(void *ctx), void *ctx);

/*
 * Told of the address of each node that is no longer live (it left, expired, or moved), after the listeners: what is
 * under way to it will not be answered. One listener.
 */
void membership_on_gone(struct membership *m, void (*fn)(void *ctx, const char *address), void *ctx);

/*
 * A hint that a node may be gone (its connection was lost): looks at its row at once and again when its lease would
 * have run out. Shards stay where they are, but a matching node is doubted: it is passed over by membership_owner()
 * until it has renewed its row twice more, so that its partitions need not wait for its lease (they are fenced by
 * nothing, because a task offered twice does no harm). The listeners are told.
 */
void membership_down(struct membership *m, const char *address);
/* The addresses of doubted nodes, at most max; returns how many. Valid as members are. */
size_t membership_doubted(const struct membership *m, enum member_role role, const char **ret, size_t max);

/* ------------------------------------------------------------------ for the owner of a shard */

enum member_state {
	MEMBER_UNKNOWN, /* no rows have been read yet */
	MEMBER_LIVE,
	MEMBER_EXPIRED, /* its row is there, unrenewed: *ret_renewals is the counter it stands at */
	MEMBER_GONE,	/* no such row, or one of another incarnation, or declared dead */
};

/* What is known of an incarnation of a node, e.g. of the last owner of a shard. ret_renewals may be NULL. */
enum member_state membership_state(const struct membership *m, const char *node_id, uint64_t incarnation,
				   int64_t *ret_renewals);

/* GONE because a claimer waited its lease out and declared it dead: nobody has to wait again. */
bool membership_declared_dead(const struct membership *m, const char *node_id, uint64_t incarnation);

/*
 * Our own lease: nine tenths of it, from when the last successful renewal was sent. Look at it when a reply that rests
 * on ownership is sent.
 */
bool membership_lease_valid(const struct membership *m);
int64_t membership_lease_until_ns(const struct membership *m); /* monotonic */

/*
 * Our incarnation was declared dead by a claimer: it can never renew again, the process has to start anew. Called once.
 */
void membership_on_fenced(struct membership *m, void (*fn)(void *ctx), void *ctx);

#endif
