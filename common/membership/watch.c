/*
 * Watching everybody's rows: who is live, who has expired, and telling those who asked.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/membership/internal.h"

/* Rows of nodes that never came back are removed after this, so that a cluster whose pods change names stays small. */
#define FORGET_NS (600 * NS_PER_S)

struct watched *membership_row(const struct membership *m, const char *node_id)
{
	struct watched *w;
	HASH_FIND_STR(m->rows, node_id, w);
	return w;
}

static void clear_member(struct member *b)
{
	free((char *)b->node_id);
	free((char *)b->address);
	free((char *)b->http_address);
	free((char *)b->version);
}

static void free_row(struct watched *w)
{
	clear_member(&w->member);
	free(w);
}

static bool drains(const struct store_node *n)
{
	return n->draining || n->told_to_drain;
}

/* All but the node id, which stays. */
static void set_member(struct watched *w, const struct store_node *n)
{
	free((char *)w->member.address);
	free((char *)w->member.http_address);
	free((char *)w->member.version);
	w->role_known = member_role_parse(n->role, &w->member.role);
	w->member.address = mem_strdup(n->address);
	w->member.http_address = mem_strdup(n->http_address);
	w->member.version = mem_strdup(n->version);
	w->member.incarnation = n->incarnation;
	w->member.draining = drains(n);
}

static struct watched *add_row(struct membership *m, const struct store_node *n)
{
	struct watched *w = new0(struct watched);
	w->member.node_id = mem_strdup(n->node_id);
	w->id_hash = placement_hash(bytes_str(n->node_id));
	HASH_ADD_KEYPTR(hh, m->rows, w->member.node_id, strlen(w->member.node_id), w);
	return w;
}

static bool same_member(const struct watched *w, const struct store_node *n)
{
	return w->member.incarnation == n->incarnation && w->member.draining == drains(n) &&
	       str_eq(w->member.address, n->address) && str_eq(w->member.http_address, n->http_address);
}

/*
 * Whether this read tells how long the others stood still. After a silence of our own they may have been cut off as we
 * were (by a database that stalled), and get a whole lease to be heard again.
 */
static bool contact_healthy(const struct membership *m, int64_t now)
{
	int64_t gap_max = max_i64(m->config.lease_ns / 6 * 5, 2 * m->config.renew_ns);
	return m->read_ns != 0 && now - m->read_ns <= gap_max;
}

bool membership_is_self(const struct membership *m, const struct member *b)
{
	return b && b->incarnation == m->config.incarnation && str_eq(b->node_id, m->node_id);
}

/*
 * The rows were read some time after the renewal was sent, so up to then the counter has stood still: a renewal that
 * takes long makes nobody look older.
 */
static bool expired(const struct membership *m, const struct watched *w)
{
	return m->sent_ns - w->still_since_ns >= m->config.lease_ns;
}

static void note_gone(struct membership *m, const char *address)
{
	struct gone *g = new0(struct gone);
	g->address = mem_strdup(address);
	g->next = m->gone;
	m->gone = g;
}

/* The renewal that we read next may have been made before the connection was lost; the one after it was not. */
static bool stop_doubting(struct watched *w, const struct store_node *n)
{
	if (!w->doubted || (n->renewals < w->doubted_at + 2 && n->incarnation == w->doubted_incarnation))
		return false;
	w->doubted = false;
	return true;
}

static bool take_row(struct membership *m, const struct store_node *n, int64_t now, bool healthy)
{
	struct watched *w = membership_row(m, n->node_id);
	bool fresh = !w;
	if (fresh)
		w = add_row(m, n);
	bool changed = fresh || !same_member(w, n) || w->dead != n->dead;
	if (fresh || !healthy || w->member.incarnation != n->incarnation || w->renewals != n->renewals)
		w->still_since_ns = now;
	if (w->live && (!str_eq(w->member.address, n->address)))
		note_gone(m, w->member.address);
	if (!w->member.draining && drains(n))
		w->drains_since_ns = now;
	if (changed)
		set_member(w, n);
	w->renewals = n->renewals;
	w->dead = n->dead;
	w->present = true;
	if (membership_is_self(m, &w->member))
		m->told = n->told_to_drain;
	bool live = w->role_known && !n->dead && (membership_is_self(m, &w->member) || !expired(m, w));
	if (w->live && !live)
		note_gone(m, w->member.address);
	if (fresh || w->live != live)
		w->gone_ns = now;
	changed = stop_doubting(w, n) || changed;
	changed = changed || live != w->live;
	w->live = live;
	return changed;
}

static bool drop_absent(struct membership *m)
{
	bool changed = false;
	struct watched *w, *next;
	HASH_ITER (hh, m->rows, w, next) {
		if (w->present)
			continue;
		if (w->live)
			note_gone(m, w->member.address);
		HASH_DEL(m->rows, w);
		free_row(w);
		changed = true;
	}
	return changed;
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(const struct member *const *)a)->node_id, (*(const struct member *const *)b)->node_id);
}

static void index_live(struct membership *m)
{
	for (int role = 0; role < MEMBER_ROLE_COUNT; role++) {
		size_t n = 0;
		for (struct watched *w = m->rows; w; w = w->hh.next)
			n += w->live && w->member.role == (enum member_role)role;
		m->live[role] = mem_realloc(m->live[role], (n + 1) * sizeof(struct member *));
		m->live_count[role] = 0;
		for (struct watched *w = m->rows; w; w = w->hh.next)
			if (w->live && w->member.role == (enum member_role)role)
				m->live[role][m->live_count[role]++] = &w->member;
		qsort(m->live[role], m->live_count[role], sizeof(struct member *), by_id);
	}
}

void membership_tell(struct membership *m)
{
	m->generation++;
	m->telling = true;
	for (size_t i = 0; i < m->listener_count; i++)
		if (m->listeners[i].fn)
			m->listeners[i].fn(m->listeners[i].ctx);
	m->telling = false;
	size_t kept = 0;
	for (size_t i = 0; i < m->listener_count; i++)
		if (m->listeners[i].fn)
			m->listeners[kept++] = m->listeners[i];
	m->listener_count = kept;
}

static void tell_gone(struct membership *m)
{
	while (m->gone) {
		struct gone *g = m->gone;
		m->gone = g->next;
		if (m->on_gone && !membership_find_address(m, g->address))
			m->on_gone(m->on_gone_ctx, g->address);
		free(g->address);
		free(g);
	}
}

void membership_take_rows(struct membership *m, const struct store_nodes *nodes)
{
	int64_t now = env_mono_ns(m->env);
	bool healthy = contact_healthy(m, now);
	bool changed = !m->joined;
	for (struct watched *w = m->rows; w; w = w->hh.next)
		w->present = false;
	for (size_t i = 0; i < nodes->count; i++)
		changed = take_row(m, &nodes->list[i], now, healthy) || changed;
	changed = drop_absent(m) || changed;
	changed = membership_take_pins(m, nodes->pins, nodes->pin_count) || changed;
	m->read_ns = now;
	m->joined = true;
	if (!changed)
		return;
	index_live(m);
	membership_tell(m);
	tell_gone(m);
}

/* ------------------------------------------------------------------ rows of nodes that never came back */

static void on_forgotten(void *ctx, struct err e)
{
	struct membership *m = ctx;
	(void)e; /* the next read shows it, or we try again */
	free(m->forgetting);
	m->forgetting = NULL;
}

/* One node does it for all: the first of the live ones. */
static bool first_of_all(const struct membership *m)
{
	for (struct watched *w = m->rows; w; w = w->hh.next)
		if (w->live && strcmp(w->member.node_id, m->node_id) < 0)
			return false;
	return true;
}

void membership_forget_old(struct membership *m)
{
	int64_t now = env_mono_ns(m->env);
	for (struct watched *w = m->rows; w && !m->forgetting; w = w->hh.next) {
		if (w->live || now - w->gone_ns < FORGET_NS || !first_of_all(m))
			continue;
		m->forgetting = mem_strdup(w->member.node_id);
		store_node_leave(m->store, m->forgetting, w->member.incarnation, on_forgotten, m);
	}
}

void membership_free_rows(struct membership *m)
{
	struct watched *w, *next;
	HASH_ITER (hh, m->rows, w, next) {
		HASH_DEL(m->rows, w);
		free_row(w);
	}
	for (int i = 0; i < MEMBER_ROLE_COUNT; i++)
		free(m->live[i]);
	free(m->forgetting);
}
