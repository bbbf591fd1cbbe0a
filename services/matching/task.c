/*
 * A task's way: waiting, handed out, ended or back.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

static void task_free(struct task *t)
{
	task_measure_ended(t);
	perdure__dispatch_task__free_unpacked(t->msg, NULL);
	free(t->lost);
	free(t->id);
	free(t);
}

void task_wait(struct task *t)
{
	t->state = TASK_WAITING;
	heap_insert(&t->partition->waiting, &t->order);
	t->partition->waiting_count++;
	t->partition->m->counts.waiting++;
}

static void leave_waiting(struct task *t)
{
	heap_remove(&t->partition->waiting, &t->order);
	t->partition->waiting_count--;
	t->partition->m->counts.waiting--;
}

void task_hand(struct task *t, struct gateway *g)
{
	struct matching *m = t->partition->m;
	leave_waiting(t);
	t->state = TASK_HANDED;
	t->hand_id = ++m->next_hand_id;
	env_uuid(m->env, t->request_id);
	t->gateway = g;
	t->handed_ns = env_mono_ns(m->env);
	task_measure_handed(t);
	HASH_ADD(hh_hand, m->handed, hand_id, sizeof t->hand_id, t);
	DL_APPEND2(m->handed_order, t, handed_prev, handed_next);
	m->counts.handed++;
	m->counts.handed_total++;
	gateway_send(g, t);
}

static void leave_handed(struct task *t)
{
	struct matching *m = t->partition->m;
	HASH_DELETE(hh_hand, m->handed, t);
	DL_DELETE2(m->handed_order, t, handed_prev, handed_next);
	t->gateway = NULL;
	m->counts.handed--;
}

void task_end(struct task *t)
{
	struct partition *p = t->partition;
	if (t->state == TASK_WAITING)
		leave_waiting(t);
	else
		leave_handed(t);
	HASH_DEL(p->tasks, t);
	p->bytes -= (int64_t)t->bytes;
	p->m->counts.bytes -= (int64_t)t->bytes;
	task_free(t);
}

void task_back(struct task *t)
{
	task_measure_back(t);
	leave_handed(t);
	task_wait(t);
}
