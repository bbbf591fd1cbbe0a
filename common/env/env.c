/*
 * The ready queue and the timers of a loop, whatever drives it.
 */
#include "common/env/env.h"

#include <stdio.h>

static bool timer_before(const struct heap_node *a, const struct heap_node *b)
{
	return container_of(a, struct env_timer, node)->due_ns < container_of(b, struct env_timer, node)->due_ns;
}

void env_init(struct env *e, const struct env_ops *ops)
{
	*e = (struct env){.ops = ops};
	heap_init(&e->timers, timer_before);
}

void env_uuid(struct env *e, char out[37])
{
	uint8_t b[16];
	env_random(e, b, sizeof b);
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
		 b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void env_timer_start(struct env *e, struct env_timer *t, int64_t delay_ns)
{
	assert(t->fn);
	if (t->armed)
		heap_remove(&e->timers, &t->node);
	int64_t now = env_mono_ns(e);
	t->due_ns = delay_ns <= 0 ? now : (delay_ns > INT64_MAX - now ? INT64_MAX : now + delay_ns);
	t->armed = true;
	heap_insert(&e->timers, &t->node);
	e->ops->wake_at(e, env_next_due(e));
}

void env_timer_stop(struct env *e, struct env_timer *t)
{
	if (!t->armed)
		return;
	heap_remove(&e->timers, &t->node);
	t->armed = false;
}

void env_defer(struct env *e, struct env_task *t)
{
	assert(t->fn);
	if (t->queued)
		return;
	t->queued = true;
	t->next = NULL;
	if (e->ready_tail)
		e->ready_tail->next = t;
	else
		e->ready_head = t;
	e->ready_tail = t;
	e->ops->wake_at(e, 0);
}

void env_undefer(struct env *e, struct env_task *t)
{
	if (!t->queued)
		return;
	struct env_task *prev = NULL;
	for (struct env_task *i = e->ready_head; i; prev = i, i = i->next) {
		if (i != t)
			continue;
		if (prev)
			prev->next = t->next;
		else
			e->ready_head = t->next;
		if (e->ready_tail == t)
			e->ready_tail = prev;
		break;
	}
	t->queued = false;
	t->next = NULL;
}

bool env_run(struct env *e)
{
	int64_t now = env_mono_ns(e);
	for (struct heap_node *n = heap_min(&e->timers); n; n = heap_min(&e->timers)) {
		struct env_timer *t = container_of(n, struct env_timer, node);
		if (t->due_ns > now)
			break;
		heap_remove(&e->timers, n);
		t->armed = false;
		t->fn(t);
	}
	/* What is deferred from here on waits for the next turn, so that I/O gets its share. */
	struct env_task *last = e->ready_tail;
	while (e->ready_head) {
		struct env_task *t = e->ready_head;
		bool stop = t == last;
		e->ready_head = t->next;
		if (!e->ready_head)
			e->ready_tail = NULL;
		t->next = NULL;
		t->queued = false;
		t->fn(t);
		if (stop)
			break;
	}
	return env_next_due(e) <= now;
}

int64_t env_next_due(const struct env *e)
{
	if (e->ready_head)
		return 0;
	struct heap_node *n = heap_min(&e->timers);
	return n ? container_of(n, struct env_timer, node)->due_ns : INT64_MAX;
}
