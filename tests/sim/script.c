/*
 * The simulated workflows' scripts.
 */
#include "tests/sim/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define EVENT(name)   TEMPORAL__API__ENUMS__V1__EVENT_TYPE__EVENT_TYPE_##name
#define HISTORY(name) Temporal__Api__History__V1__##name

/* ------------------------------------------------------------------ making one */

static void add(struct sim_script *s, enum sim_step step)
{
	assert(s->count < SIM_STEPS_MAX);
	s->steps[s->count++] = step;
}

void sim_script_make(struct sim_script *s, struct fake_world *w)
{
	static const enum sim_step middles[] = {STEP_ACTIVITY,	    STEP_ACTIVITY, STEP_ACTIVITY_ONCE, STEP_TIMER,
						STEP_ACTIVITY_LONG, STEP_SIGNAL,   STEP_SIGNAL,	       STEP_CONTINUE};
	static const enum sim_step ends[] = {STEP_COMPLETE, STEP_COMPLETE,   STEP_COMPLETE,  STEP_COMPLETE,
					     STEP_COMPLETE, STEP_TERMINATED, STEP_CANCELLED, STEP_TIMED_OUT};
	*s = (struct sim_script){0};
	enum sim_step end = ends[fake_world_below(w, array_len(ends))];
	int middle = 1 + (int)fake_world_below(w, SIM_STEPS_MAX - 2);
	for (int i = 0; i < middle; i++) {
		enum sim_step step = middles[fake_world_below(w, array_len(middles))];
		/* A request to cancel or to terminate is made to one run, and a run that times out may miss signals. */
		bool fits = end == STEP_COMPLETE ||
			    (step != STEP_CONTINUE && (end != STEP_TIMED_OUT || step != STEP_SIGNAL));
		add(s, fits ? step : STEP_TIMER);
	}
	add(s, end);
}

enum sim_step sim_script_end(const struct sim_script *s)
{
	return s->steps[s->count - 1];
}

bool sim_script_has(const struct sim_script *s, enum sim_step step)
{
	for (int i = 0; i < s->count; i++)
		if (s->steps[i] == step)
			return true;
	return false;
}

void sim_script_print(const struct sim_script *s, struct buf *out)
{
	static const char *const names[] = {
		[STEP_ACTIVITY] = "activity", [STEP_ACTIVITY_ONCE] = "once",  [STEP_ACTIVITY_LONG] = "long",
		[STEP_TIMER] = "timer",	      [STEP_SIGNAL] = "signal",	      [STEP_CONTINUE] = "continue",
		[STEP_COMPLETE] = "complete", [STEP_CANCELLED] = "cancelled", [STEP_TERMINATED] = "terminated",
		[STEP_TIMED_OUT] = "timeout",
	};
	for (int i = 0; i < s->count; i++)
		buf_printf(out, "%s%s", i ? " " : "", names[s->steps[i]]);
}

/* ------------------------------------------------------------------ what the events say */

/* "a3", "t3", "s3" → 3 */
static int step_of(const char *id)
{
	int step = id && *id ? atoi(id + 1) : -1;
	return step >= 0 && step < SIM_STEPS_MAX ? step : -1;
}

static int step_of_scheduled(const struct sim_tally *t, int64_t scheduled_event_id)
{
	for (int i = 0; i < SIM_STEPS_MAX; i++)
		if (t->scheduled_event[i] == scheduled_event_id)
			return i;
	return -1;
}

static void count(int *counts, int step, struct sim_tally *t)
{
	if (step < 0)
		t->gap = true;
	else
		counts[step]++;
}

static void begin(struct sim_tally *t, const HISTORY(WorkflowExecutionStartedEventAttributes) *a)
{
	char text[64] = "";
	if (a->input && a->input->n_payloads && a->input->payloads[0]->data.len < sizeof text)
		memcpy(text, a->input->payloads[0]->data.data, a->input->payloads[0]->data.len);
	if (sscanf(text, "round=%d from=%d signals=%x", &t->round, &t->from, &t->carried) != 3)
		t->gap = true;
}

static void activity_ended(struct sim_tally *t, int64_t scheduled_event_id, bool ok)
{
	int step = step_of_scheduled(t, scheduled_event_id);
	count(t->ended, step, t);
	if (step >= 0 && !ok)
		t->failed[step]++;
}

/* "s3.1": of step 3, meant for round 1. One of the round before may come late. */
static void signalled(struct sim_tally *t, const char *name)
{
	const char *dot = strchr(name, '.');
	if (!dot)
		t->gap = true;
	else if (atoi(dot + 1) == t->round)
		count(t->signals, step_of(name), t);
}

static bool is_close(int type)
{
	return type == EVENT(WORKFLOW_EXECUTION_COMPLETED) || type == EVENT(WORKFLOW_EXECUTION_FAILED) ||
	       type == EVENT(WORKFLOW_EXECUTION_TIMED_OUT) || type == EVENT(WORKFLOW_EXECUTION_CANCELED) ||
	       type == EVENT(WORKFLOW_EXECUTION_TERMINATED) || type == EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW);
}

static void take(struct sim_tally *t, const HISTORY(HistoryEvent) *e)
{
	int type = (int)e->event_type;
	if (type == EVENT(WORKFLOW_EXECUTION_STARTED)) {
		begin(t, e->workflow_execution_started_event_attributes);
	} else if (type == EVENT(ACTIVITY_TASK_SCHEDULED)) {
		int step = step_of(e->activity_task_scheduled_event_attributes->activity_id);
		count(t->begun, step, t);
		if (step >= 0)
			t->scheduled_event[step] = e->event_id;
	} else if (type == EVENT(ACTIVITY_TASK_COMPLETED)) {
		activity_ended(t, e->activity_task_completed_event_attributes->scheduled_event_id, true);
	} else if (type == EVENT(ACTIVITY_TASK_FAILED)) {
		activity_ended(t, e->activity_task_failed_event_attributes->scheduled_event_id, false);
	} else if (type == EVENT(ACTIVITY_TASK_TIMED_OUT)) {
		activity_ended(t, e->activity_task_timed_out_event_attributes->scheduled_event_id, false);
	} else if (type == EVENT(TIMER_STARTED)) {
		count(t->begun, step_of(e->timer_started_event_attributes->timer_id), t);
	} else if (type == EVENT(TIMER_FIRED)) {
		count(t->ended, step_of(e->timer_fired_event_attributes->timer_id), t);
	} else if (type == EVENT(WORKFLOW_EXECUTION_SIGNALED)) {
		signalled(t, e->workflow_execution_signaled_event_attributes->signal_name);
	} else if (type == EVENT(WORKFLOW_EXECUTION_CANCEL_REQUESTED)) {
		t->cancel_requests++;
	}
}

static void tally_one(struct sim_tally *t, const HISTORY(HistoryEvent) *e)
{
	t->gap = t->gap || e->event_id != t->events + 1 || t->closed;
	t->events++;
	bool repeated = e->event_type == EVENT(WORKFLOW_TASK_SCHEDULED) &&
			e->workflow_task_scheduled_event_attributes->attempt > 1;
	bool repeated_start = e->event_type == EVENT(WORKFLOW_TASK_STARTED) && t->kept < t->events - 1;
	if (!repeated && !repeated_start)
		t->kept = t->events;
	take(t, e);
	if (is_close((int)e->event_type))
		t->closed = (int)e->event_type;
	if (e->event_type == EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW))
		snprintf(t->next_run, sizeof t->next_run, "%s",
			 e->workflow_execution_continued_as_new_event_attributes->new_execution_run_id);
}

void sim_tally_add(struct sim_tally *t, const HISTORY(History) *h)
{
	for (size_t i = 0; h && i < h->n_events; i++)
		tally_one(t, h->events[i]);
}

unsigned sim_tally_signals(const struct sim_tally *t)
{
	unsigned all = t->carried;
	for (int i = 0; i < SIM_STEPS_MAX; i++)
		all |= t->signals[i] ? 1u << i : 0;
	return all;
}

/* ------------------------------------------------------------------ what is next */

enum sim_command sim_decide(const struct sim_script *s, const struct sim_tally *t, int *ret_step)
{
	for (int i = t->from; i < s->count; i++) {
		*ret_step = i;
		switch (s->steps[i]) {
		case STEP_ACTIVITY:
		case STEP_ACTIVITY_ONCE:
		case STEP_ACTIVITY_LONG:
			if (!t->begun[i])
				return COMMAND_ACTIVITY;
			break;
		case STEP_TIMER:
			if (!t->begun[i])
				return COMMAND_TIMER;
			break;
		case STEP_SIGNAL:
			if (!(sim_tally_signals(t) & 1u << i))
				return COMMAND_NONE;
			continue;
		case STEP_CONTINUE:
			return COMMAND_CONTINUE;
		case STEP_COMPLETE:
			return COMMAND_COMPLETE;
		case STEP_CANCELLED:
			return t->cancel_requests ? COMMAND_CANCEL : COMMAND_NONE;
		case STEP_TERMINATED:
		case STEP_TIMED_OUT:
			return COMMAND_NONE;
		}
		if (!t->ended[i])
			return COMMAND_NONE;
	}
	return COMMAND_NONE;
}

/* ------------------------------------------------------------------ the verdict */

void sim_chain_add(struct sim_chain *c, const struct sim_tally *t)
{
	for (int i = 0; i < SIM_STEPS_MAX; i++) {
		c->begun[i] += t->begun[i];
		c->ended[i] += t->ended[i];
		c->signals[i] += t->signals[i];
		c->failed[i] += t->failed[i];
	}
	c->cancel_requests += t->cancel_requests;
	c->gap = c->gap || t->gap;
}

static int expected_close(const struct sim_script *s)
{
	switch (sim_script_end(s)) {
	case STEP_CANCELLED:
		return EVENT(WORKFLOW_EXECUTION_CANCELED);
	case STEP_TERMINATED:
		return EVENT(WORKFLOW_EXECUTION_TERMINATED);
	case STEP_TIMED_OUT:
		return EVENT(WORKFLOW_EXECUTION_TIMED_OUT);
	case STEP_COMPLETE:
	case STEP_ACTIVITY:
	case STEP_ACTIVITY_ONCE:
	case STEP_ACTIVITY_LONG:
	case STEP_TIMER:
	case STEP_SIGNAL:
	case STEP_CONTINUE:
		break;
	}
	return EVENT(WORKFLOW_EXECUTION_COMPLETED);
}

/* Was each step done once? Runs that are ended from outside may miss their last steps. */
static bool judge_step(const struct sim_chain *c, const struct sim_script *s, int i, unsigned acked, unsigned repeated,
		       struct buf *why)
{
	bool cut_short = sim_script_end(s) == STEP_TERMINATED || sim_script_end(s) == STEP_TIMED_OUT;
	enum sim_step step = s->steps[i];
	if (step == STEP_SIGNAL) {
		int most = repeated & 1u << i ? INT32_MAX : 1, least = cut_short && !(acked & 1u << i) ? 0 : 1;
		if (c->signals[i] >= least && c->signals[i] <= most)
			return true;
		buf_printf(why, "signal %d is there %d times", i, c->signals[i]);
		return false;
	}
	bool work =
		step == STEP_ACTIVITY || step == STEP_ACTIVITY_ONCE || step == STEP_ACTIVITY_LONG || step == STEP_TIMER;
	int once = work ? 1 : 0;
	bool good = cut_short ? c->begun[i] <= once && c->ended[i] <= c->begun[i]
			      : c->begun[i] == once && c->ended[i] == once;
	if (!good)
		buf_printf(why, "step %d began %d times and ended %d times", i, c->begun[i], c->ended[i]);
	return good;
}

bool sim_chain_judge(const struct sim_chain *c, const struct sim_script *s, const struct sim_tally *last,
		     unsigned acked, unsigned repeated, struct buf *why)
{
	if (c->gap) {
		buf_printf(why, "its events are not numbered 1..n, or make no sense");
		return false;
	}
	if (last->closed != expected_close(s)) {
		buf_printf(why, "it ended with event type %d", last->closed);
		return false;
	}
	if (c->cancel_requests != (sim_script_end(s) == STEP_CANCELLED)) {
		buf_printf(why, "it was cancelled %d times", c->cancel_requests);
		return false;
	}
	for (int i = 0; i < s->count; i++) {
		if (!judge_step(c, s, i, acked, repeated, why))
			return false;
		/* A run that will time out has no time for another attempt. */
		if (c->failed[i] && s->steps[i] != STEP_ACTIVITY_ONCE && sim_script_end(s) != STEP_TIMED_OUT) {
			buf_printf(why, "the activity of step %d failed for good", i);
			return false;
		}
	}
	return true;
}
