/*
 * Forgets peers some time after they are no longer live: a node that said goodbye may still have replies on their way.
 */
#include "common/node/departed.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"

#define PATIENCE_NS (300 * NS_PER_MS)

struct peer_seen {
	char *address;
	uint64_t incarnation;
	bool live;
	int64_t gone_ns; /* monotonic; 0: live */
	struct peer_seen *next;
};

struct departed {
	struct env *env;
	struct rpc *rpc;
	struct membership *membership;
	struct peer_seen *peers;
	struct env_timer timer;
};

static struct peer_seen *find(struct departed *d, const struct member *m)
{
	struct peer_seen *p;
	LL_FOREACH (d->peers, p)
		if (p->incarnation == m->incarnation && str_eq(p->address, m->address))
			return p;
	p = new0(struct peer_seen);
	p->address = mem_strdup(m->address);
	p->incarnation = m->incarnation;
	LL_PREPEND(d->peers, p);
	return p;
}

static void mark_live(struct departed *d)
{
	struct peer_seen *p;
	LL_FOREACH (d->peers, p)
		p->live = false;
	for (int role = 0; role < MEMBER_ROLE_COUNT; role++) {
		size_t count;
		const struct member *const *list = membership_live(d->membership, (enum member_role)role, &count);
		for (size_t i = 0; i < count; i++)
			find(d, list[i])->live = true;
	}
}

static void on_change(void *ctx)
{
	struct departed *d = ctx;
	struct peer_seen *p;
	int64_t now = env_mono_ns(d->env);
	bool waiting = false;
	mark_live(d);
	LL_FOREACH (d->peers, p) {
		if (p->live)
			p->gone_ns = 0;
		else if (!p->gone_ns)
			p->gone_ns = now;
		waiting = waiting || !p->live;
	}
	if (waiting && !d->timer.armed)
		env_timer_start(d->env, &d->timer, PATIENCE_NS);
}

static bool address_is_live(struct departed *d, const char *address)
{
	struct peer_seen *p;
	LL_FOREACH (d->peers, p)
		if (p->live && str_eq(p->address, address))
			return true;
	return false;
}

static void on_timer(struct env_timer *t)
{
	struct departed *d = container_of(t, struct departed, timer);
	struct peer_seen *p, *tmp;
	int64_t now = env_mono_ns(d->env);
	bool waiting = false;
	LL_FOREACH_SAFE (d->peers, p, tmp) {
		if (p->live)
			continue;
		if (now - p->gone_ns < PATIENCE_NS) {
			waiting = true;
			continue;
		}
		LL_DELETE(d->peers, p);
		if (!address_is_live(d, p->address)) /* not its next start */
			rpc_forget(d->rpc, p->address);
		free(p->address);
		free(p);
	}
	if (waiting)
		env_timer_start(d->env, &d->timer, PATIENCE_NS);
}

struct departed *departed_new(struct env *env, struct rpc *rpc, struct membership *membership)
{
	struct departed *d = new0(struct departed);
	d->env = env;
	d->rpc = rpc;
	d->membership = membership;
	d->timer.fn = on_timer;
	membership_on_change(membership, on_change, d);
	return d;
}

void departed_free(struct departed *d)
{
	if (!d)
		return;
	membership_off_change(d->membership, on_change, d);
	env_timer_stop(d->env, &d->timer);
	while (d->peers) {
		struct peer_seen *next = d->peers->next;
		free(d->peers->address);
		free(d->peers);
		d->peers = next;
	}
	free(d);
}
