/*
 * Our own row, renewed; everybody's rows, watched; and who of the live ones owns a key.
 */
#include "common/membership/membership.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define LISTENERS_MAX 16
#define RETRY_NS      (200 * NS_PER_MS)

/* A row as we have watched it. */
struct watched {
	struct member member; /* strings owned */
	bool role_known;
	int64_t renewals;
	bool dead;
	/* How long the counter stood still while our own contact was healthy. */
	int64_t still_ns;
	int64_t seen_ns; /* monotonic: of the read before */
	bool live;
	bool present; /* in the read under way */
	uint64_t id_hash;
	struct watched *next;
};

struct listener {
	void (*fn)(void *ctx);
	void *ctx;
};

struct membership {
	struct env *env;
	struct store *store;
	struct membership_config config;
	char *node_id, *address, *http_address, *version;
	bool started, joined, draining, left, fenced;
	bool under_way; /* a renewal */
	bool again;	/* renew once more as soon as it is back */
	bool freed;	/* while a call is under way: the callback frees */
	int calls;
	int64_t sent_ns;  /* of the renewal under way */
	int64_t lease_ns; /* monotonic: until when we trust our lease; 0: none */
	int64_t read_ns;  /* of the last successful read */
	uint64_t generation;
	struct watched *rows;
	const struct member **live[MEMBER_ROLE_COUNT];
	size_t live_count[MEMBER_ROLE_COUNT];
	struct listener listeners[LISTENERS_MAX];
	size_t listener_count;
	struct listener on_fenced;
	store_done_fn *left_fn;
	void *left_ctx;
	struct env_timer renew, check;
	struct store_node self; /* of the renewal under way */
};

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

/* ------------------------------------------------------------------ rows */

static struct watched *find_row(const struct membership *m, const char *node_id)
{
	for (struct watched *w = m->rows; w; w = w->next)
		if (str_eq(w->member.node_id, node_id))
			return w;
	return NULL;
}

static void clear_member(struct member *b)
{
	free((char *)b->node_id);
	free((char *)b->address);
	free((char *)b->http_address);
	free((char *)b->version);
}

static void set_member(struct watched *w, const struct store_node *n)
{
	clear_member(&w->member);
	w->role_known = member_role_parse(n->role, &w->member.role);
	w->member.node_id = mem_strdup(n->node_id);
	w->member.address = mem_strdup(n->address);
	w->member.http_address = mem_strdup(n->http_address);
	w->member.version = mem_strdup(n->version);
	w->member.incarnation = n->incarnation;
	w->member.draining = n->draining;
	w->id_hash = placement_hash(bytes_str(n->node_id));
}

static bool same_member(const struct watched *w, const struct store_node *n)
{
	return w->member.incarnation == n->incarnation && w->member.draining == n->draining &&
	       str_eq(w->member.address, n->address) && str_eq(w->member.http_address, n->http_address);
}

/* Whether the time since the read before counts against a row: not when we ourselves had no contact. */
static int64_t stood_still(const struct membership *m, const struct watched *w, int64_t now)
{
	int64_t since = now - w->seen_ns;
	/* A read that came much later than planned tells nothing about the others: they may have been cut off as we
	 * were. Up to two renewal intervals of it count. */
	return min_i64(since, 2 * m->config.renew_ns);
}

static bool take_row(struct membership *m, const struct store_node *n, int64_t now)
{
	struct watched *w = find_row(m, n->node_id);
	bool fresh = !w;
	if (fresh) {
		w = new0(struct watched);
		w->next = m->rows;
		m->rows = w;
	}
	bool changed = fresh || !same_member(w, n) || w->dead != n->dead;
	if (fresh || w->member.incarnation != n->incarnation || w->renewals != n->renewals)
		w->still_ns = 0;
	else
		w->still_ns += stood_still(m, w, now);
	if (changed)
		set_member(w, n);
	w->renewals = n->renewals;
	w->dead = n->dead;
	w->seen_ns = now;
	w->present = true;
	bool self = str_eq(n->node_id, m->node_id) && n->incarnation == m->config.incarnation;
	bool live = w->role_known && !n->dead && (self || w->still_ns < m->config.lease_ns);
	changed = changed || live != w->live;
	w->live = live;
	return changed;
}

static bool drop_absent(struct membership *m)
{
	bool changed = false;
	for (struct watched **at = &m->rows; *at;) {
		struct watched *w = *at;
		if (w->present) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		clear_member(&w->member);
		free(w);
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
		for (struct watched *w = m->rows; w; w = w->next)
			n += w->live && w->member.role == (enum member_role)role;
		m->live[role] = mem_realloc(m->live[role], (n + 1) * sizeof(struct member *));
		m->live_count[role] = 0;
		for (struct watched *w = m->rows; w; w = w->next)
			if (w->live && w->member.role == (enum member_role)role)
				m->live[role][m->live_count[role]++] = &w->member;
		qsort(m->live[role], m->live_count[role], sizeof(struct member *), by_id);
	}
}

static void tell(struct membership *m)
{
	m->generation++;
	for (size_t i = 0; i < m->listener_count; i++)
		m->listeners[i].fn(m->listeners[i].ctx);
}

static void take_rows(struct membership *m, const struct store_node *nodes, size_t count)
{
	int64_t now = env_mono_ns(m->env);
	bool changed = !m->joined;
	for (struct watched *w = m->rows; w; w = w->next)
		w->present = false;
	for (size_t i = 0; i < count; i++)
		changed = take_row(m, &nodes[i], now) || changed;
	changed = drop_absent(m) || changed;
	m->read_ns = now;
	m->joined = true;
	if (!changed)
		return;
	index_live(m);
	tell(m);
}

/* ------------------------------------------------------------------ renewing */

static void renew(struct membership *m);
static void finish_free(struct membership *m);

static void on_renewed(void *ctx, struct err e, const struct store_node *nodes, size_t count)
{
	struct membership *m = ctx;
	m->calls--;
	m->under_way = false;
	if (m->freed) {
		finish_free(m);
		return;
	}
	if (m->left)
		return;
	if (err_is(e) && e.code == ERR_ABORTED && e.reason == ERR_REASON_FENCED) {
		m->fenced = true;
		m->lease_ns = 0;
		if (m->on_fenced.fn)
			m->on_fenced.fn(m->on_fenced.ctx);
		return;
	}
	if (err_is(e)) {
		env_timer_start(m->env, &m->renew, RETRY_NS);
		return;
	}
	m->lease_ns = m->sent_ns + m->config.lease_ns / 10 * 9;
	int64_t next = m->again ? 0 : m->config.renew_ns - (env_mono_ns(m->env) - m->sent_ns);
	m->again = false;
	env_timer_start(m->env, &m->renew, next);
	take_rows(m, nodes, count);
}

static void renew(struct membership *m)
{
	if (m->under_way) {
		m->again = true;
		return;
	}
	struct store_node self = {
		.node_id = m->node_id,
		.role = role_names[m->config.role],
		.address = m->address,
		.http_address = m->http_address,
		.version = m->version,
		.incarnation = m->config.incarnation,
		.draining = m->draining,
	};
	m->under_way = true;
	m->sent_ns = env_mono_ns(m->env);
	m->calls++;
	m->self = self;
	store_node_renew(m->store, &m->self, on_renewed, m);
}

static void on_renew(struct env_timer *t)
{
	renew(container_of(t, struct membership, renew));
}

static void on_check(struct env_timer *t)
{
	struct membership *m = container_of(t, struct membership, check);
	if (m->started && !m->left && !m->fenced)
		renew(m);
}

static void on_notify(void *ctx, const char *topic)
{
	struct membership *m = ctx;
	if (str_eq(topic, "nodes") && m->started && !m->left && !m->fenced)
		env_timer_start(m->env, &m->renew, 0);
}

/* ------------------------------------------------------------------ life */

struct membership *membership_new(struct env *env, struct store *store, const struct membership_config *config)
{
	struct membership *m = new0(struct membership);
	m->env = env;
	m->store = store;
	m->config = *config;
	m->config.lease_ns = config->lease_ns ? config->lease_ns : MEMBERSHIP_LEASE_NS;
	m->config.renew_ns = config->renew_ns ? config->renew_ns : MEMBERSHIP_RENEW_NS;
	m->node_id = mem_strdup(config->node_id);
	m->address = mem_strdup(config->address);
	m->http_address = mem_strdup(config->http_address);
	m->version = mem_strdup(config->version);
	m->renew.fn = on_renew;
	m->check.fn = on_check;
	return m;
}

void membership_start(struct membership *m)
{
	assert(!m->started);
	m->started = true;
	store_on_notify(m->store, on_notify, m);
	renew(m);
}

void membership_drain(struct membership *m)
{
	m->draining = true;
	if (m->started && !m->left && !m->fenced)
		renew(m);
}

static void on_left(void *ctx, struct err e)
{
	struct membership *m = ctx;
	m->calls--;
	if (m->freed)
		finish_free(m);
	else
		m->left_fn(m->left_ctx, e);
}

void membership_leave(struct membership *m, store_done_fn *done, void *ctx)
{
	m->left = true;
	m->lease_ns = 0;
	m->left_fn = done;
	m->left_ctx = ctx;
	env_timer_stop(m->env, &m->renew);
	env_timer_stop(m->env, &m->check);
	m->calls++;
	store_node_leave(m->store, m->node_id, m->config.incarnation, on_left, m);
}

static void finish_free(struct membership *m)
{
	if (m->calls > 0)
		return; /* the store still points to our strings; its callback comes back here */
	free(m->node_id);
	free(m->address);
	free(m->http_address);
	free(m->version);
	free(m);
}

void membership_free(struct membership *m)
{
	if (!m)
		return;
	m->freed = true;
	env_timer_stop(m->env, &m->renew);
	env_timer_stop(m->env, &m->check);
	while (m->rows) {
		struct watched *next = m->rows->next;
		clear_member(&m->rows->member);
		free(m->rows);
		m->rows = next;
	}
	for (int i = 0; i < MEMBER_ROLE_COUNT; i++)
		free(m->live[i]);
	finish_free(m);
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
	struct watched *w = find_row(m, node_id);
	return w && w->live ? &w->member : NULL;
}

const struct member *membership_find_address(const struct membership *m, const char *address)
{
	for (struct watched *w = m->rows; w; w = w->next)
		if (w->live && str_eq(w->member.address, address))
			return &w->member;
	return NULL;
}

const char *membership_self_id(const struct membership *m)
{
	return m->node_id;
}

static const struct member *heaviest(const struct membership *m, enum member_role role, uint64_t key, bool draining)
{
	const struct member *best = NULL;
	uint64_t best_weight = 0;
	for (size_t i = 0; i < m->live_count[role]; i++) {
		const struct watched *w = container_of(m->live[role][i], struct watched, member);
		uint64_t weight = placement_weight(w->id_hash, key);
		if (w->member.draining != draining || (best && weight <= best_weight))
			continue;
		best = &w->member;
		best_weight = weight;
	}
	return best;
}

const struct member *membership_owner(const struct membership *m, enum member_role role, uint64_t key)
{
	const struct member *owner = heaviest(m, role, key, false);
	return owner ? owner : heaviest(m, role, key, true);
}

static uint64_t shard_key(uint32_t shard)
{
	uint8_t b[4] = {(uint8_t)shard, (uint8_t)(shard >> 8), (uint8_t)(shard >> 16), (uint8_t)(shard >> 24)};
	return placement_hash(bytes_of(b, sizeof b));
}

const struct member *membership_shard_owner(const struct membership *m, uint32_t shard)
{
	return membership_owner(m, MEMBER_HISTORY, shard_key(shard));
}

static bool is_self(const struct membership *m, const struct member *b)
{
	return b && b->incarnation == m->config.incarnation && str_eq(b->node_id, m->node_id);
}

bool membership_owns(const struct membership *m, enum member_role role, uint64_t key)
{
	return is_self(m, membership_owner(m, role, key));
}

bool membership_owns_shard(const struct membership *m, uint32_t shard)
{
	return is_self(m, membership_shard_owner(m, shard));
}

void membership_on_change(struct membership *m, void (*fn)(void *ctx), void *ctx)
{
	assert(m->listener_count < LISTENERS_MAX);
	m->listeners[m->listener_count++] = (struct listener){fn, ctx};
}

void membership_off_change(struct membership *m, void (*fn)(void *ctx), void *ctx)
{
	for (size_t i = 0; i < m->listener_count; i++) {
		if (m->listeners[i].fn != fn || m->listeners[i].ctx != ctx)
			continue;
		memmove(&m->listeners[i], &m->listeners[i + 1], (m->listener_count - i - 1) * sizeof *m->listeners);
		m->listener_count--;
		return;
	}
}

void membership_down(struct membership *m, const char *address)
{
	const struct member *b = membership_find_address(m, address);
	if (!b || !m->started || m->left || m->fenced)
		return;
	env_timer_start(m->env, &m->renew, 0);
	env_timer_start(m->env, &m->check, m->config.lease_ns + 50 * NS_PER_MS);
}

/* ------------------------------------------------------------------ for the owner of a shard */

enum member_state membership_state(const struct membership *m, const char *node_id, uint64_t incarnation,
				   int64_t *ret_renewals)
{
	if (!m->joined)
		return MEMBER_UNKNOWN;
	const struct watched *w = find_row(m, node_id);
	if (!w || w->dead || w->member.incarnation != incarnation)
		return MEMBER_GONE;
	if (ret_renewals)
		*ret_renewals = w->renewals;
	return w->live ? MEMBER_LIVE : MEMBER_EXPIRED;
}

bool membership_lease_valid(const struct membership *m)
{
	return env_mono_ns(m->env) < m->lease_ns;
}

int64_t membership_lease_until_ns(const struct membership *m)
{
	return m->lease_ns;
}

void membership_on_fenced(struct membership *m, void (*fn)(void *ctx), void *ctx)
{
	m->on_fenced = (struct listener){fn, ctx};
}
