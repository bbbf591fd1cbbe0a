/*
 * Our own row: registered, renewed, removed; and the lease that it is.
 */
#include "common/membership/internal.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define RETRY_NS (200 * NS_PER_MS)
/* Announcements come in bursts; one renewal answers them all. */
#define SPACING_NS (20 * NS_PER_MS)

/* ------------------------------------------------------------------ renewing */

static void renew(struct membership *m);

static bool active(const struct membership *m)
{
	return m->started && !m->left && !m->fenced;
}

/* A renewal at that time, or as soon after the last one as is reasonable. */
static void renew_at(struct membership *m, int64_t due_ns)
{
	due_ns = max_i64(due_ns, m->sent_ns + SPACING_NS);
	env_timer_start(m->env, &m->renew, due_ns - env_mono_ns(m->env));
}

/* In an interval, or when the lease of a node that has fallen silent runs out. */
static int64_t next_renewal_ns(const struct membership *m)
{
	int64_t due_ns = m->sent_ns + m->config.renew_ns;
	for (struct watched *w = m->rows; w; w = w->hh.next)
		if (w->live && !membership_is_self(m, &w->member))
			due_ns = min_i64(due_ns, w->still_since_ns + m->config.lease_ns);
	return due_ns;
}

static void on_fenced(struct membership *m)
{
	m->fenced = true;
	m->lease_until_ns = 0;
	if (m->on_fenced.fn)
		m->on_fenced.fn(m->on_fenced.ctx);
}

static void on_renewed(void *ctx, struct err e, const struct store_nodes *nodes)
{
	struct membership *m = ctx;
	m->under_way = false;
	if (m->left)
		return;
	if (err_is(e) && e.code == ERR_ABORTED && e.reason == ERR_REASON_FENCED) {
		on_fenced(m);
		return;
	}
	if (err_is(e)) {
		renew_at(m, env_mono_ns(m->env) + RETRY_NS);
		return;
	}
	m->lease_until_ns = m->sent_ns + m->config.lease_ns / 10 * 9;
	membership_take_rows(m, nodes);
	membership_forget_old(m);
	if (!active(m))
		return;
	renew_at(m, m->again ? 0 : next_renewal_ns(m));
	m->again = false;
}

static void renew(struct membership *m)
{
	if (m->under_way) {
		m->again = true;
		return;
	}
	struct store_node self = {
		.node_id = m->node_id,
		.role = member_role_name(m->config.role),
		.address = m->address,
		.http_address = m->http_address,
		.version = m->version,
		.incarnation = m->config.incarnation,
		.draining = m->draining,
	};
	m->under_way = true;
	m->sent_ns = env_mono_ns(m->env);
	m->self = self;
	store_node_renew(m->store, &m->self, on_renewed, m);
}

static void on_renew(struct env_timer *t)
{
	renew(container_of(t, struct membership, renew));
}

static void on_notify(void *ctx, const char *topic)
{
	struct membership *m = ctx;
	if (!active(m) || !str_eq(topic, "nodes"))
		return;
	if (m->under_way)
		m->again = true;
	else
		renew_at(m, 0);
}

static void on_doubts_changed(struct env_task *t)
{
	membership_tell(container_of(t, struct membership, doubts_changed));
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
	m->doubts_changed.fn = on_doubts_changed;
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
	if (active(m))
		renew(m);
}

bool membership_told_to_drain(const struct membership *m)
{
	return m->told;
}

static void on_left(void *ctx, struct err e)
{
	struct membership *m = ctx;
	m->left_fn(m->left_ctx, e);
}

void membership_leave(struct membership *m, store_done_fn *done, void *ctx)
{
	m->left = true;
	m->lease_until_ns = 0;
	m->left_fn = done;
	m->left_ctx = ctx;
	env_timer_stop(m->env, &m->renew);
	store_node_leave(m->store, m->node_id, m->config.incarnation, on_left, m);
}

void membership_free(struct membership *m)
{
	if (!m)
		return;
	env_timer_stop(m->env, &m->renew);
	env_undefer(m->env, &m->doubts_changed);
	membership_free_rows(m);
	membership_free_pins(m);
	free(m->node_id);
	free(m->address);
	free(m->http_address);
	free(m->version);
	free(m);
}

void membership_on_change(struct membership *m, void (*fn)(void *ctx), void *ctx)
{
	assert(m->listener_count < MEMBERSHIP_LISTENERS_MAX);
	m->listeners[m->listener_count++] = (struct listener){fn, ctx};
}

void membership_off_change(struct membership *m, void (*fn)(void *ctx), void *ctx)
{
	for (size_t i = 0; i < m->listener_count; i++) {
		if (m->listeners[i].fn != fn || m->listeners[i].ctx != ctx)
			continue;
		m->listeners[i].fn = NULL; /* tell() closes the gap */
		if (m->telling)
			return;
		memmove(&m->listeners[i], &m->listeners[i + 1], (m->listener_count - i - 1) * sizeof *m->listeners);
		m->listener_count--;
		return;
	}
}

void membership_on_gone(struct membership *m, void (*fn)(void *ctx, const char *address), void *ctx)
{
	m->on_gone = fn;
	m->on_gone_ctx = ctx;
}

/* Nothing but placement rests on who has a partition of a queue: it need not wait for the lease. */
static void doubt(struct membership *m, struct watched *w)
{
	if (w->member.role != MEMBER_MATCHING || w->doubted || membership_is_self(m, &w->member))
		return;
	w->doubted = true;
	w->doubted_at = w->renewals;
	w->doubted_incarnation = w->member.incarnation;
	m->generation++;
	env_defer(m->env, &m->doubts_changed);
}

void membership_down(struct membership *m, const char *address)
{
	const struct member *b = membership_find_address(m, address);
	if (!b || !active(m))
		return;
	doubt(m, container_of((struct member *)b, struct watched, member));
	/* Has it left, or restarted? If it is silent, next_renewal_ns() looks again when its lease runs out. */
	if (!m->under_way)
		renew_at(m, 0);
}

bool membership_lease_valid(const struct membership *m)
{
	return env_mono_ns(m->env) < m->lease_until_ns;
}

int64_t membership_lease_until_ns(const struct membership *m)
{
	return m->lease_until_ns;
}

void membership_on_fenced(struct membership *m, void (*fn)(void *ctx), void *ctx)
{
	m->on_fenced = (struct listener){fn, ctx};
}
