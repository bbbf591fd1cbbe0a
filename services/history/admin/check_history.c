/*
 * A run's history, event by event (invariants 4, 8, 9): numbered without gaps, each cause there and able to be one,
 * nothing started or ended twice, and what is left open at its end is what the run has pending.
 *
 * Which event refers to which is read off the messages' descriptors: a field of that name in the attributes of an event
 * whose message's name begins so refers to an event of that type.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <temporal/api/enums/v1/event_type.pb-c.h>
#include <temporal/api/history/v1/message.pb-c.h>

#include "common/mem/arena.h"
#include "common/mem/mem.h"
#include "services/history/admin/check.h"

#define EVENT(name) TEMPORAL__API__ENUMS__V1__EVENT_TYPE__EVENT_TYPE_##name

struct audit_event {
	int32_t type;
	bool started, ended;
};

struct cause {
	const char *message; /* the attributes' name begins with it */
	const char *field;
	int32_t type;
	bool needed; /* else 0 says that there is none */
};

/* The first that fits. */
static const struct cause causes[] = {
	{"ActivityTask", "scheduled_event_id", EVENT(ACTIVITY_TASK_SCHEDULED), true},
	{"ActivityTaskCompleted", "started_event_id", EVENT(ACTIVITY_TASK_STARTED), true},
	{"ActivityTask", "started_event_id", EVENT(ACTIVITY_TASK_STARTED), false},
	{"ActivityTaskCanceled", "latest_cancel_requested_event_id", EVENT(ACTIVITY_TASK_CANCEL_REQUESTED), false},
	{"WorkflowTask", "scheduled_event_id", EVENT(WORKFLOW_TASK_SCHEDULED), true},
	{"WorkflowTaskCompleted", "started_event_id", EVENT(WORKFLOW_TASK_STARTED), true},
	{"WorkflowTask", "started_event_id", EVENT(WORKFLOW_TASK_STARTED), false},
	{"Timer", "started_event_id", EVENT(TIMER_STARTED), true},
	{"StartChild", "initiated_event_id", EVENT(START_CHILD_WORKFLOW_EXECUTION_INITIATED), true},
	{"ChildWorkflow", "initiated_event_id", EVENT(START_CHILD_WORKFLOW_EXECUTION_INITIATED), true},
	{"ChildWorkflow", "started_event_id", EVENT(CHILD_WORKFLOW_EXECUTION_STARTED), true},
	{"SignalExternal", "initiated_event_id", EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED), true},
	{"ExternalWorkflowExecutionSignaled", "initiated_event_id", EVENT(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED),
	 true},
	{"RequestCancelExternal", "initiated_event_id", EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED),
	 true},
	{"ExternalWorkflowExecutionCancelRequested", "initiated_event_id",
	 EVENT(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED), true},
	{"NexusOperation", "scheduled_event_id", EVENT(NEXUS_OPERATION_SCHEDULED), true},
	{"WorkflowExecutionUpdateCompleted", "accepted_event_id", EVENT(WORKFLOW_EXECUTION_UPDATE_ACCEPTED), true},
	{"", "workflow_task_completed_event_id", EVENT(WORKFLOW_TASK_COMPLETED), false},
};

/* What an event does to the one it names in that field. */
static const struct effect {
	int32_t type;
	const char *field;
	bool ends; /* else starts */
} effects[] = {
	{EVENT(ACTIVITY_TASK_STARTED), "scheduled_event_id", false},
	{EVENT(ACTIVITY_TASK_COMPLETED), "scheduled_event_id", true},
	{EVENT(ACTIVITY_TASK_FAILED), "scheduled_event_id", true},
	{EVENT(ACTIVITY_TASK_TIMED_OUT), "scheduled_event_id", true},
	{EVENT(ACTIVITY_TASK_CANCELED), "scheduled_event_id", true},
	{EVENT(WORKFLOW_TASK_STARTED), "scheduled_event_id", false},
	{EVENT(WORKFLOW_TASK_COMPLETED), "scheduled_event_id", true},
	{EVENT(WORKFLOW_TASK_FAILED), "scheduled_event_id", true},
	{EVENT(WORKFLOW_TASK_TIMED_OUT), "scheduled_event_id", true},
	{EVENT(TIMER_FIRED), "started_event_id", true},
	{EVENT(TIMER_CANCELED), "started_event_id", true},
};

static const struct {
	int32_t type, status;
} ends[] = {
	{EVENT(WORKFLOW_EXECUTION_COMPLETED), 2},	 {EVENT(WORKFLOW_EXECUTION_FAILED), 3},
	{EVENT(WORKFLOW_EXECUTION_CANCELED), 4},	 {EVENT(WORKFLOW_EXECUTION_TERMINATED), 5},
	{EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW), 6}, {EVENT(WORKFLOW_EXECUTION_TIMED_OUT), 7},
};

static void found(const struct audit_history *h, const struct audit_sink *sink, enum audit_kind kind, const char *fmt,
		  ...) printf_like(4, 5);
static void found(const struct audit_history *h, const struct audit_sink *sink, enum audit_kind kind, const char *fmt,
		  ...)
{
	char text[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	sink->found(sink->ctx, kind, h->workflow_id, h->run_id, text);
}

void audit_history_init(struct audit_history *h, const char *workflow_id, const char *run_id, int64_t until)
{
	*h = (struct audit_history){.workflow_id = workflow_id, .run_id = run_id, .next_event = 1, .until = until};
}

void audit_history_done(struct audit_history *h)
{
	free(h->events);
	*h = (struct audit_history){0};
}

/* ------------------------------------------------------------------ one event */

static const ProtobufCMessage *attributes_of(const Temporal__Api__History__V1__HistoryEvent *e)
{
	const ProtobufCMessageDescriptor *d = e->base.descriptor;
	const ProtobufCFieldDescriptor *f =
		e->attributes_case ? protobuf_c_message_descriptor_get_field(d, (unsigned)e->attributes_case) : NULL;
	return f ? *(ProtobufCMessage *const *)((const char *)e + f->offset) : NULL;
}

/* 0: it has no such field, or nothing in it. */
static int64_t field_of(const ProtobufCMessage *m, const char *name)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
	return f && f->type == PROTOBUF_C_TYPE_INT64 ? *(const int64_t *)((const char *)m + f->offset) : 0;
}

static const char *type_name(int32_t type)
{
	const ProtobufCEnumValue *v =
		protobuf_c_enum_descriptor_get_value(&temporal__api__enums__v1__event_type__descriptor, type);
	return v ? v->name + strlen("EVENT_TYPE_") : "unknown";
}

static bool begins_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* id: of the event whose attributes they are. Whether the rules know the field for that message. */
static void check_cause(struct audit_history *h, int64_t id, const struct cause *c, const ProtobufCMessage *attributes,
			const struct audit_sink *sink)
{
	int64_t to = field_of(attributes, c->field);
	if (to == 0 && !c->needed)
		return;
	if (to <= 0 || to >= id)
		found(h, sink, AUDIT_CAUSE, "event %" PRId64 " (%s) names %" PRId64 " as its %s", id,
		      attributes->descriptor->short_name, to, c->field);
	else if (h->events[to].type != c->type)
		found(h, sink, AUDIT_CAUSE, "event %" PRId64 " (%s) names %" PRId64 " as its %s, which is %s", id,
		      attributes->descriptor->short_name, to, c->field, type_name(h->events[to].type));
}

static bool has_field(const ProtobufCMessage *m, const char *name)
{
	return protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name) != NULL;
}

static void check_causes(struct audit_history *h, int64_t id, const ProtobufCMessage *attributes,
			 const struct audit_sink *sink)
{
	const char *told = "";
	for (size_t i = 0; i < array_len(causes); i++) {
		const struct cause *c = &causes[i];
		if (!begins_with(attributes->descriptor->short_name, c->message) || str_eq(c->field, told) ||
		    !has_field(attributes, c->field))
			continue;
		check_cause(h, id, c, attributes, sink);
		told = c->field; /* a later, less special rule for the same field says nothing more */
	}
}

static void apply_effect(struct audit_history *h, int32_t type, const ProtobufCMessage *attributes,
			 const struct audit_sink *sink)
{
	for (size_t i = 0; i < array_len(effects); i++) {
		if (effects[i].type != type)
			continue;
		int64_t to = field_of(attributes, effects[i].field);
		if (to <= 0 || to >= h->next_event)
			return; /* told as a cause */
		bool *done = effects[i].ends ? &h->events[to].ended : &h->events[to].started;
		if (*done)
			found(h, sink, AUDIT_TWICE, "event %" PRId64 " (%s) %s a second time, with %s", to,
			      type_name(h->events[to].type), effects[i].ends ? "ended" : "was started",
			      type_name(type));
		*done = true;
		return;
	}
}

static void put_event(struct audit_history *h, int32_t type)
{
	if ((size_t)h->next_event >= h->cap) {
		h->cap = h->cap ? 2 * h->cap : 64;
		h->events = mem_realloc(h->events, h->cap * sizeof *h->events);
	}
	h->events[h->next_event] = (struct audit_event){.type = type};
}

static bool one_event(struct audit_history *h, struct bytes bytes, struct arena *a, const struct audit_sink *sink)
{
	arena_reset(a);
	Temporal__Api__History__V1__HistoryEvent *e =
		temporal__api__history__v1__history_event__unpack(arena_pb(a), bytes.len, bytes.data);
	int64_t id = h->next_event;
	if (!e || e->event_id != id) {
		found(h, sink, AUDIT_EVENTS,
		      e ? "the event after %" PRId64 " has another number"
			: "the event after %" PRId64 " cannot be read",
		      id - 1);
		h->broken = true;
		return false;
	}
	put_event(h, (int32_t)e->event_type);
	const ProtobufCMessage *attributes = attributes_of(e);
	if (attributes) {
		check_causes(h, id, attributes, sink);
		apply_effect(h, (int32_t)e->event_type, attributes, sink);
	}
	h->next_event++;
	return true;
}

/* ------------------------------------------------------------------ chunks */

void audit_history_chunk(struct audit_history *h, const struct store_history_chunk *chunk,
			 const struct audit_sink *sink)
{
	struct bytes rest = chunk->events, one;
	if (h->broken || h->next_event > h->until || chunk->last_event_id < h->next_event)
		return;
	if (chunk->first_event_id > h->next_event) {
		found(h, sink, AUDIT_EVENTS, "a chunk begins with event %" PRId64 ", expected %" PRId64,
		      chunk->first_event_id, h->next_event);
		h->broken = true;
		return;
	}
	struct arena *a = arena_new(SIZE_MAX);
	int64_t id = chunk->first_event_id;
	for (; id <= chunk->last_event_id && !h->broken && h->next_event <= h->until; id++) {
		if (!events_next(&rest, &one)) {
			found(h, sink, AUDIT_EVENTS,
			      "a chunk of events %" PRId64 " to %" PRId64 " ends before %" PRId64,
			      chunk->first_event_id, chunk->last_event_id, id);
			h->broken = true;
		} else if (id == h->next_event) {
			one_event(h, one, a, sink);
		}
	}
	arena_free(a);
}

/* ------------------------------------------------------------------ the end */

/* What happened during a workflow task waits to become events: those things have ended, too. */
static void apply_buffered(struct audit_history *h, const struct run *run, const struct audit_sink *sink)
{
	struct arena *a = arena_new(SIZE_MAX);
	for (size_t i = 0; i < run->buffered_count; i++) {
		Temporal__Api__History__V1__HistoryEvent *e = temporal__api__history__v1__history_event__unpack(
			arena_pb(a), run->buffered[i]->event.len, run->buffered[i]->event.data);
		const ProtobufCMessage *attributes = e ? attributes_of(e) : NULL;
		if (attributes)
			apply_effect(h, (int32_t)e->event_type, attributes, sink);
	}
	arena_free(a);
}

static bool left_open(const struct audit_history *h, int64_t id, int32_t type)
{
	return id > 0 && id < h->next_event && h->events[id].type == type && !h->events[id].ended;
}

static void check_pending(struct audit_history *h, const struct run *run, const struct audit_sink *sink)
{
	int64_t activities = 0, timers = 0, tasks = 0;
	for (int64_t id = 1; id < h->next_event; id++) {
		activities += left_open(h, id, EVENT(ACTIVITY_TASK_SCHEDULED));
		timers += left_open(h, id, EVENT(TIMER_STARTED));
		tasks += left_open(h, id, EVENT(WORKFLOW_TASK_SCHEDULED));
	}
	int64_t known = 0;
	for (const struct run_activity *a = run->activities; a; a = a->hh.next)
		known += left_open(h, a->info->scheduled_event_id, EVENT(ACTIVITY_TASK_SCHEDULED));
	if (known != activities || HASH_COUNT(run->activities) != known)
		found(h, sink, AUDIT_PENDING,
		      "its history leaves %" PRId64 " activities open, it has %u pending, of which %" PRId64 " agree",
		      activities, HASH_COUNT(run->activities), known);
	known = 0;
	for (const struct run_timer *t = run->timers; t; t = t->hh.next)
		known += left_open(h, t->info->started_event_id, EVENT(TIMER_STARTED));
	if (known != timers || HASH_COUNT(run->timers) != known)
		found(h, sink, AUDIT_PENDING,
		      "its history leaves %" PRId64 " timers open, it has %u pending, of which %" PRId64 " agree",
		      timers, HASH_COUNT(run->timers), known);
	const Perdure__WorkflowTask *w = run->exec->workflow_task;
	bool written = w && w->kind == PERDURE__WORKFLOW_TASK__KIND__NORMAL && w->scheduled_event_id;
	if (tasks != (written ? 1 : 0) ||
	    (written && !left_open(h, w->scheduled_event_id, EVENT(WORKFLOW_TASK_SCHEDULED))))
		found(h, sink, AUDIT_PENDING, "its history leaves %" PRId64 " workflow tasks open, it has %s", tasks,
		      written ? "another" : "none");
}

static int32_t status_after(int32_t last_type)
{
	for (size_t i = 0; i < array_len(ends); i++)
		if (ends[i].type == last_type)
			return ends[i].status;
	return 1;
}

void audit_history_end(struct audit_history *h, const struct run *run, const struct audit_sink *sink)
{
	int64_t last = run->exec->next_event_id - 1;
	if (h->broken)
		return;
	if (h->next_event <= h->until) {
		found(h, sink, AUDIT_EVENTS,
		      "the stored history ends with event %" PRId64 ", the snapshot with %" PRId64, h->next_event - 1,
		      last);
		return;
	}
	if (h->until != last || last < 1)
		return;
	if (status_after(h->events[last].type) != run->exec->status)
		found(h, sink, AUDIT_CLOSED, "its last event is %s, which is not its status",
		      type_name(h->events[last].type));
	if (!run_open(run))
		return;
	apply_buffered(h, run, sink);
	check_pending(h, run, sink);
}
