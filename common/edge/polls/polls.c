/*
 * All polls of an edge: made, woken, drained, freed.
 */
#include "common/edge/polls/polls.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/edge/polls/internal.h"
#include "common/mem/mem.h"

static void on_drained(struct env_task *t)
{
	struct polls *p = container_of(t, struct polls, drained_task);
	void (*done)(void *ctx) = p->drained;
	p->drained = NULL;
	done(p->drained_ctx);
}

struct polls *polls_new(struct edge *e)
{
	struct polls *p = new0(struct polls);
	p->edge = e;
	p->env = e->env;
	do {
		env_random(p->env, &p->session, sizeof p->session);
	} while (p->session == 0);
	p->flush.fn = credits_on_flush;
	p->drained_task.fn = on_drained;
	p->tick.fn = credits_on_tick;
	env_timer_start(p->env, &p->tick, NS_PER_S);
	const struct metric_label role = {"role", e->config.service_name};
	if (e->parts.metrics)
		p->polls_gauge = metrics_gauge(e->parts.metrics, "perdure_edge_polls", "Polls that wait.", &role, 1);
	hands_serve(p);
	return p;
}

void polls_check_drained(struct polls *p)
{
	if (p->drained && p->poll_count == 0 && !p->hands)
		env_defer(p->env, &p->drained_task);
}

void polls_wake(struct polls *p)
{
	struct poll_queue *q, *tmp;
	struct poller *r, *tmp_poller;
	HASH_ITER (hh, p->queues, q, tmp) {
		credits_dirty(q, UINT32_MAX);
		HASH_ITER (hh, q->pollers, r, tmp_poller)
			r->changed = true; /* a new owner knows nobody yet */
	}
	hands_wake(p);
}

static void free_pollers(struct poll_queue *q)
{
	struct poller *r, *tmp;
	HASH_ITER (hh, q->pollers, r, tmp) {
		r->polls = 0;
		r->changed = false;
		poller_release(r);
	}
}

void polls_free(struct polls *p)
{
	if (!p)
		return;
	assert(p->poll_count == 0);
	while (p->hands)
		hand_free(p->hands);
	env_timer_stop(p->env, &p->tick);
	env_undefer(p->env, &p->flush);
	env_undefer(p->env, &p->drained_task);
	struct poll_queue *q, *tmp;
	HASH_ITER (hh, p->queues, q, tmp) {
		free_pollers(q);
		queue_free(q);
	}
	struct peer *peer, *tmp_peer;
	HASH_ITER (hh, p->peers, peer, tmp_peer) {
		HASH_DEL(p->peers, peer);
		buf_done(&peer->credits);
		buf_done(&peer->outcomes);
		free(peer);
	}
	free(p);
}
