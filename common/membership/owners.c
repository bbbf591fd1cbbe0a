/*
 * Looking nodes up, and who owns what.
 */
#include "common/membership/internal.h"

#include <limits.h>

static const char *const role_names[] = {
	[MEMBER_FRONTEND] = "frontend",
	[MEMBER_HISTORY] = "history",
	[MEMBER_MATCHING] = "matching",
	[MEMBER_WORKER_GATEWAY] = "worker_gateway",
};

const char *member_role_name(enum member_role role)
{
	assert(role < MEMBER_ROLE_COUNT);
	return role_names[role];
}

bool member_role_parse(const char *name, enum member_role *ret)
{
	for (int i = 0; i < MEMBER_ROLE_COUNT; i++) {
		if (str_eq(role_names[i], name)) {
			*ret = (enum member_role)i;
			return true;
		}
	}
	return false;
}

/* ------------------------------------------------------------------ who is there */

bool membership_joined(const struct membership *m)
{
	return m->joined;
}

uint64_t membership_generation(const struct membership *m)
{
	return m->generation;
}

const struct member *const *membership_live(const struct membership *m, enum member_role role, size_t *ret_count)
{
	*ret_count = m->live_count[role];
	return (const struct member *const *)m->live[role];
}

const struct member *membership_find(const struct membership *m, const char *node_id)
{
	struct watched *w = membership_row(m, node_id);
	return w && w->live ? &w->member : NULL;
}

const struct member *membership_find_address(const struct membership *m, const char *address)
{
	for (struct watched *w = m->rows; w; w = w->hh.next)
		if (w->live && str_eq(w->member.address, address))
			return &w->member;
	return NULL;
}

const char *membership_self_id(const struct membership *m)
{
	return m->node_id;
}

/* Of the best class that has nodes: neither draining nor doubted, draining, doubted. */
static int class_of(const struct watched *w)
{
	return (w->doubted ? 2 : 0) + (w->member.draining ? 1 : 0);
}

static size_t best_class(const struct membership *m, enum member_role role, int *ret_class)
{
	size_t count = 0;
	*ret_class = INT_MAX;
	for (size_t i = 0; i < m->live_count[role]; i++) {
		int class = class_of(container_of(m->live[role][i], struct watched, member));
		if (class < *ret_class) {
			*ret_class = class;
			count = 0;
		}
		count += class == *ret_class;
	}
	return count;
}

/* The heaviest of that class below the weight of `below` (NULL: of all). */
static const struct watched *heaviest(const struct membership *m, enum member_role role, int class, uint64_t key,
				      const struct watched *below)
{
	const struct watched *best = NULL;
	uint64_t best_weight = 0, limit = below ? placement_weight(below->id_hash, key) : UINT64_MAX;
	for (size_t i = 0; i < m->live_count[role]; i++) {
		const struct watched *w = container_of(m->live[role][i], struct watched, member);
		uint64_t weight = placement_weight(w->id_hash, key);
		if (class_of(w) != class || (below && weight >= limit) || (best && weight <= best_weight))
			continue;
		best = w;
		best_weight = weight;
	}
	return best;
}

static const struct member *owner_at(const struct membership *m, enum member_role role, uint64_t key, size_t rank)
{
	int class;
	size_t count = best_class(m, role, &class);
	const struct watched *w = NULL;
	for (rank = count ? rank % count : 0; count; rank--) {
		const struct watched *next = heaviest(m, role, class, key, w);
		w = next ? next : w; /* two of one weight count as one */
		if (!rank)
			break;
	}
	return w ? &w->member : NULL;
}

const struct member *membership_owner(const struct membership *m, enum member_role role, uint64_t key)
{
	return owner_at(m, role, key, 0);
}

const struct member *membership_partition_owner(const struct membership *m, uint64_t queue, uint32_t partition)
{
	return owner_at(m, MEMBER_MATCHING, queue, partition);
}

size_t membership_doubted(const struct membership *m, enum member_role role, const char **ret, size_t max)
{
	size_t n = 0;
	for (size_t i = 0; i < m->live_count[role] && n < max; i++) {
		const struct watched *w = container_of(m->live[role][i], struct watched, member);
		if (w->doubted)
			ret[n++] = w->member.address;
	}
	return n;
}

static uint64_t shard_key(uint32_t shard)
{
	uint8_t b[4] = {(uint8_t)shard, (uint8_t)(shard >> 8), (uint8_t)(shard >> 16), (uint8_t)(shard >> 24)};
	return placement_hash(bytes_of(b, sizeof b));
}

const struct member *membership_shard_owner(const struct membership *m, uint32_t shard)
{
	const struct member *pinned = membership_pinned(m, shard);
	return pinned ? pinned : membership_owner(m, MEMBER_HISTORY, shard_key(shard));
}

const struct member *membership_shard_other(const struct membership *m, uint32_t shard)
{
	const struct member *owner = membership_shard_owner(m, shard), *best = NULL;
	const struct member *before = membership_had_before(m, shard);
	if (before && before != owner)
		return before;
	uint64_t best_weight = 0, key = shard_key(shard);
	for (size_t i = 0; i < m->live_count[MEMBER_HISTORY]; i++) {
		const struct watched *w = container_of(m->live[MEMBER_HISTORY][i], struct watched, member);
		uint64_t weight = placement_weight(w->id_hash, key);
		if (&w->member == owner || (best && weight <= best_weight))
			continue;
		best = &w->member;
		best_weight = weight;
	}
	return best;
}

bool membership_owns(const struct membership *m, enum member_role role, uint64_t key)
{
	return membership_is_self(m, membership_owner(m, role, key));
}

bool membership_owns_partition(const struct membership *m, uint64_t queue, uint32_t partition)
{
	return membership_is_self(m, membership_partition_owner(m, queue, partition));
}

bool membership_owns_shard(const struct membership *m, uint32_t shard)
{
	return membership_is_self(m, membership_shard_owner(m, shard));
}

/* ------------------------------------------------------------------ for the owner of a shard */

enum member_state membership_state(const struct membership *m, const char *node_id, uint64_t incarnation,
				   int64_t *ret_renewals)
{
	if (!m->joined)
		return MEMBER_UNKNOWN;
	const struct watched *w = membership_row(m, node_id);
	if (!w || w->dead || w->member.incarnation != incarnation)
		return MEMBER_GONE;
	if (ret_renewals)
		*ret_renewals = w->renewals;
	return w->live ? MEMBER_LIVE : MEMBER_EXPIRED;
}

bool membership_declared_dead(const struct membership *m, const char *node_id, uint64_t incarnation)
{
	const struct watched *w = membership_row(m, node_id);
	return w && w->member.incarnation == incarnation && w->dead;
}
