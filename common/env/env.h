/*
 * The outside world as an argument: clocks, randomness, timers and the ready queue of one loop.
 *
 * Everything that runs on a loop takes a `struct env *`. common/loop implements it with libuv; the simulation
 * implements it with virtual time. All calls but env_post() are made on the env's own loop.
 */
#ifndef COMMON_ENV_ENV_H
#define COMMON_ENV_ENV_H

#include "common/base/base.h"
#include "common/base/heap.h"

struct env;

/* Embedded in the object that wants to be called; container_of() gives the object. */
struct env_task {
	void (*fn)(struct env_task *t);
	struct env_task *next;
	bool queued;
};

struct env_timer {
	void (*fn)(struct env_timer *t);
	struct heap_node node;
	int64_t due_ns; /* on the monotonic clock */
	bool armed;
};

struct env_ops {
	int64_t (*wall_ns)(struct env *e); /* since the Unix epoch */
	int64_t (*mono_ns)(struct env *e); /* CLOCK_BOOTTIME: goes on while the machine sleeps */
	void (*random)(struct env *e, void *out, size_t len);
	/* The loop must call env_run() at `due_ns` at the latest (INT64_MAX: nothing armed; 0: at once). */
	void (*wake_at)(struct env *e, int64_t due_ns);
	/* Thread-safe: queue t to run on the loop. */
	void (*post)(struct env *e, struct env_task *t);
};

struct env {
	const struct env_ops *ops;
	struct heap timers;
	struct env_task *ready_head, *ready_tail;
};

void env_init(struct env *e, const struct env_ops *ops);

static inline int64_t env_wall_ns(struct env *e)
{
	return e->ops->wall_ns(e);
}

static inline int64_t env_mono_ns(struct env *e)
{
	return e->ops->mono_ns(e);
}

static inline void env_random(struct env *e, void *out, size_t len)
{
	e->ops->random(e, out, len);
}

/* A random (version 4) UUID, lower case, NUL-terminated. */
void env_uuid(struct env *e, char out[37]);

/* Arms or re-arms; fires once. t->fn must be set. A delay at or below 0 fires on the next turn, never inline. */
void env_timer_start(struct env *e, struct env_timer *t, int64_t delay_ns);
/* Harmless when not armed. */
void env_timer_stop(struct env *e, struct env_timer *t);

/* Runs t on this loop's next turn, never inline; once if it is already queued. Completions go through here. */
void env_defer(struct env *e, struct env_task *t);
/* Takes a deferred task back; harmless when it is not queued. */
void env_undefer(struct env *e, struct env_task *t);
/* The same from any thread. The task must not be queued elsewhere. */
static inline void env_post(struct env *e, struct env_task *t)
{
	e->ops->post(e, t);
}

/* For the implementations: runs the ready tasks and due timers once; returns whether there may be more at once. */
bool env_run(struct env *e);
/* When env_run() is due next: 0 at once, INT64_MAX never. */
int64_t env_next_due(const struct env *e);

#endif
