/*
 * The commands that start and cancel timers.
 */
#include "services/history/core/api_names.h"
#include "services/history/core/core_internal.h"
#include "services/history/core/pbtime.h"

#define ATTRIBUTES(name) TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_##name##_COMMAND_ATTRIBUTES

/* Why the id of a timer is refused, or NULL. */
static const char *check_timer_id(struct txn *t, const char *command, const char *id)
{
	size_t len = id ? strlen(id) : 0;
	if (len == 0)
		return arena_printf(t->arena, "TimerId is not set on %s.", command);
	if (len > (size_t)t->config->id_bytes_max)
		return arena_printf(t->arena, "TimerId on %s exceeds length limit. TimerId=%s Length=%zu Limit=%d",
				    command, id, len, t->config->id_bytes_max);
	return NULL;
}

bool command_start_timer(struct command_ctx *c, const Temporal__Api__Command__V1__Command *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad = COMMAND_CAUSE(BAD_START_TIMER_ATTRIBUTES);
	struct txn *t = c->t;
	if (command->attributes_case != ATTRIBUTES(START_TIMER))
		return command_fail(c, bad, "StartTimerCommandAttributes is not set on StartTimerCommand.");
	const Temporal__Api__Command__V1__StartTimerCommandAttributes *attr = command->start_timer_command_attributes;
	const char *why = check_timer_id(t, "StartTimerCommand", attr->timer_id);
	if (why)
		return command_fail(c, bad, why);
	Google__Protobuf__Duration *timeout = NULL;
	if (attr->start_to_fire_timeout) {
		timeout = arena_new0(t->arena, Google__Protobuf__Duration);
		*timeout = *attr->start_to_fire_timeout;
		why = pb_duration_check(timeout);
	}
	if (why)
		return command_fail(
			c, bad,
			arena_printf(t->arena,
				     "An invalid StartToFireTimeout is set on StartTimerCommand: %s. TimerId=%s", why,
				     attr->timer_id));
	if (txn_timer(t, attr->timer_id))
		return command_fail(c, COMMAND_CAUSE(START_TIMER_DUPLICATE_ID),
				    arena_printf(t->arena,
						 "invalid history builder state for action: add-timer-started-event, "
						 "TimerID: %s",
						 attr->timer_id));

	Temporal__Api__History__V1__HistoryEvent *e = txn_event(t, EVENT(TIMER_STARTED));
	command_decorate(e, command);
	e->timer_started_event_attributes->timer_id = attr->timer_id;
	e->timer_started_event_attributes->start_to_fire_timeout = timeout;
	e->timer_started_event_attributes->workflow_task_completed_event_id = c->completed_event_id;
	Perdure__TimerInfo *timer = txn_timer_new(t, attr->timer_id);
	timer->started_event_id = e->event_id;
	timer->fire_time_ns = time_add_ns(t->now_ns, pb_duration_ns(timeout));
	return true;
}

/* It fired, but the worker could not know: takes the event back. Returns its started event's id, 0: there is none. */
static int64_t take_back_fired(struct txn *t, const char *timer_id)
{
	for (size_t i = 0; i < txn_buffered_count(t); i++) {
		const Temporal__Api__History__V1__HistoryEvent *e = txn_buffered_event(t, i);
		if (e->event_type != EVENT(TIMER_FIRED) || !str_eq(e->timer_fired_event_attributes->timer_id, timer_id))
			continue;
		int64_t started = e->timer_fired_event_attributes->started_event_id;
		txn_buffered_remove(t, i);
		return started;
	}
	return 0;
}

bool command_cancel_timer(struct command_ctx *c, const Temporal__Api__Command__V1__Command *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad = COMMAND_CAUSE(BAD_CANCEL_TIMER_ATTRIBUTES);
	struct txn *t = c->t;
	if (command->attributes_case != ATTRIBUTES(CANCEL_TIMER))
		return command_fail(c, bad, "CancelTimerCommandAttributes is not set on CancelTimerCommand.");
	char *id = command->cancel_timer_command_attributes->timer_id;
	const char *why = check_timer_id(t, "CancelTimerCommand", id);
	if (why)
		return command_fail(c, bad, why);
	const Perdure__TimerInfo *timer = txn_timer(t, id);
	int64_t started = timer ? timer->started_event_id : take_back_fired(t, id);
	if (!started)
		return command_fail(c, bad,
				    arena_printf(t->arena,
						 "invalid history builder state for action: add-timer-canceled-event, "
						 "TimerID: %s",
						 id));

	Temporal__Api__History__V1__HistoryEvent *e = txn_event(t, EVENT(TIMER_CANCELED));
	command_decorate(e, command);
	e->timer_canceled_event_attributes->timer_id = id;
	e->timer_canceled_event_attributes->started_event_id = started;
	e->timer_canceled_event_attributes->workflow_task_completed_event_id = c->completed_event_id;
	e->timer_canceled_event_attributes->identity = (char *)c->identity;
	if (timer)
		txn_timer_remove(t, id);
	else
		c->has_buffered = c->has_buffered && txn_buffered_count(t) > 0;
	return true;
}
