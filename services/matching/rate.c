/*
 * How fast tasks come and go, and the limit that workers ask for.
 *
 * The limit is the queue's: each of its partitions allows its share. A queue gets no more partitions than its limit
 * gives work (scale.c), so a low limit is kept by the root alone.
 */
#include <utlist.h>

#include "services/matching/internal.h"

#define RATE_WINDOW_NS (5 * NS_PER_S)
/* A poll lasts a minute at most: a limit that nobody repeated for longer is not asked for any more. */
#define LIMIT_AGE_NS (75 * NS_PER_S)

/* Decays what was counted; good enough for people and for the number of partitions. */
static void decay(struct partition *p)
{
	int64_t now = env_mono_ns(p->m->env);
	double elapsed = (double)(now - p->rates_ns) / (double)RATE_WINDOW_NS;
	double keep = elapsed >= 1 ? 0 : 1 - elapsed;
	p->add_rate *= keep;
	p->hand_rate *= keep;
	p->rates_ns = now;
}

void rate_added(struct partition *p)
{
	decay(p);
	p->add_rate += (double)NS_PER_S / (double)RATE_WINDOW_NS;
}

void rate_handed(struct partition *p)
{
	decay(p);
	p->hand_rate += (double)NS_PER_S / (double)RATE_WINDOW_NS;
}

void rate_look(struct partition *p, double *ret_add, double *ret_hand)
{
	decay(p);
	*ret_add = p->add_rate;
	*ret_hand = p->hand_rate;
}

/* ------------------------------------------------------------------ the limit */

void rate_set_limit(struct partition *p)
{
	double rate = 0;
	int64_t now = env_wall_ns(p->m->env);
	for (struct poller *r = p->pollers; r; r = r->hh.next) {
		bool asks = r->info->rate_per_second > 0 && now - r->info->last_access_time_ns < LIMIT_AGE_NS;
		if (asks && (rate == 0 || r->info->rate_per_second < rate))
			rate = r->info->rate_per_second;
	}
	if (rate == p->rate)
		return;
	p->rate = rate;
	p->tokens = 1;
	p->tokens_ns = env_mono_ns(p->m->env);
}

bool rate_allows(struct partition *p)
{
	if (p->rate <= 0)
		return true;
	double share = p->rate / p->count;
	int64_t now = env_mono_ns(p->m->env);
	double burst = share < 1 ? 1 : share;
	p->tokens += (double)(now - p->tokens_ns) / NS_PER_S * share;
	if (p->tokens > burst)
		p->tokens = burst;
	p->tokens_ns = now;
	if (p->tokens >= 1) {
		p->tokens -= 1;
		return true;
	}
	env_timer_start(p->m->env, &p->rate_timer, (int64_t)((1 - p->tokens) / share * NS_PER_S) + NS_PER_MS);
	return false;
}
