/*
 * Virtual time and seeded randomness behind `struct env`.
 */
#include "tests/support/fake_env.h"

#define WALL_START_NS (1577836800LL * NS_PER_S)
#define MONO_START_NS (3600 * NS_PER_S)
/* So many turns without time passing are a loop that feeds itself. */
#define TURNS_PER_INSTANT_MAX 1000000

/* ------------------------------------------------------------------ randomness: xoshiro256**, seeded by splitmix64 */

static uint64_t rotl(uint64_t v, int n)
{
	return v << n | v >> (64 - n);
}

uint64_t fake_world_random(struct fake_world *w)
{
	uint64_t *s = w->random;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t fake_world_below(struct fake_world *w, uint64_t bound)
{
	assert(bound > 0);
	return fake_world_random(w) % bound;
}

bool fake_world_chance(struct fake_world *w, double probability)
{
	return (double)(fake_world_random(w) >> 11) / 9007199254740992.0 < probability;
}

void fake_world_seed(struct fake_world *w, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
		w->random[i] = z ^ (z >> 31);
	}
}

void fake_world_init(struct fake_world *w, uint64_t seed)
{
	*w = (struct fake_world){0};
	fake_world_seed(w, seed);
}

/* ------------------------------------------------------------------ an env */

static struct fake_env *fake_of(struct env *e)
{
	return container_of(e, struct fake_env, env);
}

static int64_t wall_ns(struct env *e)
{
	return WALL_START_NS + fake_of(e)->world->now_ns + fake_of(e)->wall_offset_ns;
}

static int64_t mono_ns(struct env *e)
{
	return MONO_START_NS + fake_of(e)->world->now_ns + fake_of(e)->mono_offset_ns;
}

static void random_bytes(struct env *e, void *out, size_t len)
{
	uint8_t *p = out;
	while (len > 0) {
		uint64_t v = fake_world_random(fake_of(e)->world);
		size_t n = len < sizeof v ? len : sizeof v;
		memcpy(p, &v, n);
		p += n;
		len -= n;
	}
}

static void wake_at(struct env *e, int64_t due_ns)
{
	(void)e;
	(void)due_ns; /* the world asks env_next_due() before each step */
}

static const struct env_ops ops = {
	.wall_ns = wall_ns, .mono_ns = mono_ns, .random = random_bytes, .wake_at = wake_at, .post = env_defer};

void fake_env_init(struct fake_env *e, struct fake_world *w)
{
	*e = (struct fake_env){.world = w};
	env_init(&e->env, &ops);
	/* At the end, so that the order of making decides nothing else. */
	struct fake_env **at = &w->envs;
	while (*at)
		at = &(*at)->next;
	*at = e;
}

void fake_env_done(struct fake_env *e)
{
	for (struct fake_env **at = &e->world->envs; *at; at = &(*at)->next) {
		if (*at == e) {
			*at = e->next;
			break;
		}
	}
	heap_done(&e->env.timers);
	e->env.ready_head = e->env.ready_tail = NULL;
}

/* ------------------------------------------------------------------ time */

/* In the world's time. */
static int64_t due_ns(const struct fake_env *e)
{
	if (e->paused)
		return INT64_MAX;
	int64_t due = env_next_due(&e->env);
	if (due == INT64_MAX)
		return INT64_MAX;
	return max_i64(due - MONO_START_NS - e->mono_offset_ns, e->world->now_ns);
}

bool fake_world_step(struct fake_world *w, int64_t until_ns)
{
	int64_t first = INT64_MAX;
	uint64_t ties = 0;
	struct fake_env *next = NULL;
	for (struct fake_env *e = w->envs; e; e = e->next) {
		int64_t due = due_ns(e);
		if (due == INT64_MAX || due > first)
			continue;
		ties = due < first ? 1 : ties + 1;
		first = due;
		/* Each of the n that are due together is taken with probability 1/n. */
		if (ties == 1 || fake_world_below(w, ties) == 0)
			next = e;
	}
	if (!next || first > until_ns) {
		if (until_ns != INT64_MAX)
			w->now_ns = max_i64(w->now_ns, until_ns);
		return false;
	}
	w->now_ns = first;
	env_run(&next->env);
	return true;
}

void fake_world_settle(struct fake_world *w)
{
	fake_world_advance(w, 0);
}

void fake_world_advance(struct fake_world *w, int64_t ns)
{
	int64_t until = w->now_ns + ns, at = w->now_ns;
	unsigned turns = 0;
	while (fake_world_step(w, until)) {
		turns = w->now_ns == at ? turns + 1 : 0;
		at = w->now_ns;
		assert(turns < TURNS_PER_INSTANT_MAX && "something feeds itself without time passing");
	}
}

bool fake_world_until(struct fake_world *w, bool (*done)(void *ctx), void *ctx, int64_t max_ns)
{
	int64_t until = w->now_ns + max_ns;
	while (!done(ctx)) {
		if (!fake_world_step(w, until))
			return done(ctx);
	}
	return true;
}
