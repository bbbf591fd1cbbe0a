/*
 * A world in which time stands still until it is moved: envs for unit tests and for the simulation.
 *
 * One fake_world has a clock, a seed and any number of fake_envs (one a simulated node). Nothing in it depends on
 * anything but the seed and the order of calls, so that the same test runs the same way each time. Single-threaded:
 * env_post() is env_defer().
 */
#ifndef TESTS_SUPPORT_FAKE_ENV_H
#define TESTS_SUPPORT_FAKE_ENV_H

#include "common/env/env.h"

struct fake_env;

struct fake_world {
	int64_t now_ns; /* true time; each env's monotonic clock is this plus its skew */
	uint64_t random[4];
	struct fake_env *envs;
};

struct fake_env {
	struct env env;
	struct fake_world *world;
	int64_t mono_offset_ns; /* added to the world's time on the monotonic clock */
	int64_t wall_offset_ns; /* … and on the wall clock */
	bool paused;		/* as by SIGSTOP: time passes, nothing runs */
	struct fake_env *next;
};

void fake_world_init(struct fake_world *w, uint64_t seed);
/* Another stream of randomness from here on. */
void fake_world_seed(struct fake_world *w, uint64_t seed);

/* For the test's own choices; the envs' env_random() draws from the same stream. */
uint64_t fake_world_random(struct fake_world *w);
/* 0 … bound-1; bound > 0. */
uint64_t fake_world_below(struct fake_world *w, uint64_t bound);
/* True with that probability. */
bool fake_world_chance(struct fake_world *w, double probability);

/* The wall clock begins at 2020-01-01, the monotonic one at 1 hour. */
void fake_env_init(struct fake_env *e, struct fake_world *w);
/* Takes it out of the world: what it still had to run never runs, as when a process dies. */
void fake_env_done(struct fake_env *e);

/*
 * Runs one turn of the env that is due next, moving the clock to it if need be, but not beyond until_ns (of the world).
 * Of several that are due together a random one goes first. False: nothing is due by then; the clock is at until_ns
 * (or where it was, when until_ns is INT64_MAX).
 */
bool fake_world_step(struct fake_world *w, int64_t until_ns);
/* Everything that is due without time passing. */
void fake_world_settle(struct fake_world *w);
/* Everything of the next `ns`. */
void fake_world_advance(struct fake_world *w, int64_t ns);
/* Until done() answers true; false when that took longer than max_ns. */
bool fake_world_until(struct fake_world *w, bool (*done)(void *ctx), void *ctx, int64_t max_ns);

#endif
