/*
 * Peers that have fallen silent: a connection whose other end is gone without a word (a cut cable, a proxy or a
 * firewall that forgot it, a host that vanished) takes what is sent and answers nothing.
 *
 * What proves that a peer still hears us is its answer to a call of ours; what it sends by itself travels over another
 * connection and proves nothing. So while something that we sent is unproven, and no answer comes for a while, a ping
 * goes out: a call that nobody serves, which any version answers with an error. If that isn't answered either, the
 * connection is given up, the next message makes a new one, and the peer is told, over that, to make its own anew as
 * well (a one-way ping): the answers may be what was lost. An idle pair of peers sends nothing.
 *
 * Time is counted in ticks of our own loop: while we stand still ourselves (SIGSTOP, a suspended machine), nobody else
 * grows silent.
 */
#include "common/rpc/internal.h"

#define TICK_NS		 (500 * NS_PER_MS)
#define PING_TICKS	 2 /* unproven for so long: ask */
#define SILENT_TICKS	 6 /* and for so long: gone */
#define PING_DEADLINE_NS (60 * NS_PER_S)

static void on_pong(void *ctx, struct err e, struct bytes body)
{
	struct peer *p = ctx;
	(void)e; /* any answer proves it: silence_proved() was called; a lost connection ends the ping as well */
	(void)body;
	p->ping = NULL;
}

static void ping(struct peer *p)
{
	struct rpc *r = p->rpc;
	p->ping = rpc_call(r, &(struct rpc_call){
				      .address = p->address,
				      .method = RPC_PING,
				      .deadline_ns = env_mono_ns(r->env) + PING_DEADLINE_NS,
				      .fn = on_pong,
				      .ctx = p,
			      });
	r->stats.pings++;
}

static struct peer *find_silent(struct rpc *r)
{
	for (struct peer *p = r->peers; p; p = p->hh.next)
		if (p->unproven && p->unproven_ticks >= SILENT_TICKS)
			return p;
	return NULL;
}

/* Perhaps it hears us well, and it is its own connection to us that is dead: it can't know unless we say so. */
static void give_up(struct peer *p)
{
	p->rpc->stats.peers_silent++;
	peer_ref(p);
	peer_renew(p);
	peer_put(p, &(struct envelope_frame){.kind = ENVELOPE_ONE_WAY, .method = RPC_PING}, NULL, 0);
	peer_unref(p);
}

void silence_heard(struct peer *p)
{
	peer_ref(p);
	peer_renew(p);
	peer_unref(p);
}

static void on_tick(struct env_timer *t)
{
	struct rpc *r = container_of(t, struct rpc, silence_timer);
	for (struct peer *p = r->peers; p; p = p->hh.next) {
		p->unproven_ticks += p->unproven;
		if (p->unproven_ticks >= PING_TICKS && !p->ping && peer_has_room(p, 0))
			ping(p);
	}
	/* Who listens may forget any of them, or make new ones. */
	for (struct peer *p = find_silent(r); p; p = find_silent(r))
		give_up(p);
	bool more = false;
	for (struct peer *p = r->peers; p; p = p->hh.next)
		more = more || p->unproven;
	if (more && !t->armed)
		env_timer_start(r->env, t, TICK_NS);
}

void silence_init(struct rpc *r)
{
	r->silence_timer.fn = on_tick;
}

void silence_sent(struct peer *p)
{
	if (p->unproven || p->self)
		return;
	p->unproven = true;
	p->unproven_ticks = 0;
	if (!p->rpc->silence_timer.armed)
		env_timer_start(p->rpc->env, &p->rpc->silence_timer, TICK_NS);
}

/* Calls that are still under way may have been sent after the one that was answered. */
void silence_proved(struct peer *p)
{
	p->unproven = p->calls != NULL;
	p->unproven_ticks = 0;
}

void silence_over(struct peer *p)
{
	p->unproven = false;
	p->unproven_ticks = 0;
}
