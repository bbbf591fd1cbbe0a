/*
 * Events: which get their id at once and which are held, and how held ones get theirs.
 *
 * While a worker works on a workflow task it must not find events in the middle of it that it was not shown, so what
 * happens to the run meanwhile is buffered and numbered when the task ends. The same holding back applies within a
 * transition: what happens to the run follows what the transition's commands wrote.
 */
#include <temporal/api/enums/v1/event_type.pb-c.h>

#include "services/history/core/core_internal.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/txn_internal.h"

typedef Temporal__Api__History__V1__HistoryEvent event_t;

#define TYPE(name)  TEMPORAL__API__ENUMS__V1__EVENT_TYPE__EVENT_TYPE_##name
#define FIELD(name) TEMPORAL__API__HISTORY__V1__HISTORY_EVENT__ATTRIBUTES_##name##_EVENT_ATTRIBUTES

enum event_class {
	HELD = 0, /* happens to the run */
	AT_ONCE,  /* decided by the workflow, or about its workflow task */
	CLOSE,	  /* at once, and nothing follows */
	LATE,	  /* held, and numbered after the others: the end of something whose start may be held too */
};

/* By event type: the member of the attributes union, and when it is written. */
#define KIND(name, class_) [TYPE(name)] = {FIELD(name), class_}
static const struct {
	int field;
	enum event_class class;
} kinds[] = {
	KIND(WORKFLOW_EXECUTION_STARTED, AT_ONCE),
	KIND(WORKFLOW_EXECUTION_COMPLETED, CLOSE),
	KIND(WORKFLOW_EXECUTION_FAILED, CLOSE),
	KIND(WORKFLOW_EXECUTION_TIMED_OUT, CLOSE),
	KIND(WORKFLOW_EXECUTION_TERMINATED, CLOSE),
	KIND(WORKFLOW_EXECUTION_CONTINUED_AS_NEW, CLOSE),
	KIND(WORKFLOW_EXECUTION_CANCELED, CLOSE),
	KIND(WORKFLOW_EXECUTION_SIGNALED, HELD),
	KIND(WORKFLOW_EXECUTION_CANCEL_REQUESTED, HELD),
	KIND(WORKFLOW_EXECUTION_OPTIONS_UPDATED, HELD),
	KIND(WORKFLOW_EXECUTION_PAUSED, HELD),
	KIND(WORKFLOW_EXECUTION_UNPAUSED, HELD),
	KIND(WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED, HELD),
	KIND(WORKFLOW_EXECUTION_UPDATE_ADMITTED, HELD),
	KIND(WORKFLOW_EXECUTION_UPDATE_ACCEPTED, AT_ONCE),
	KIND(WORKFLOW_EXECUTION_UPDATE_REJECTED, HELD),
	KIND(WORKFLOW_EXECUTION_UPDATE_COMPLETED, AT_ONCE),
	KIND(WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY, HELD),
	KIND(WORKFLOW_PROPERTIES_MODIFIED, AT_ONCE),
	KIND(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES, AT_ONCE),
	KIND(MARKER_RECORDED, AT_ONCE),
	KIND(WORKFLOW_TASK_SCHEDULED, AT_ONCE),
	KIND(WORKFLOW_TASK_STARTED, AT_ONCE),
	KIND(WORKFLOW_TASK_COMPLETED, AT_ONCE),
	KIND(WORKFLOW_TASK_TIMED_OUT, AT_ONCE),
	KIND(WORKFLOW_TASK_FAILED, AT_ONCE),
	KIND(ACTIVITY_TASK_SCHEDULED, AT_ONCE),
	KIND(ACTIVITY_TASK_STARTED, HELD),
	KIND(ACTIVITY_TASK_COMPLETED, LATE),
	KIND(ACTIVITY_TASK_FAILED, LATE),
	KIND(ACTIVITY_TASK_TIMED_OUT, LATE),
	KIND(ACTIVITY_TASK_CANCEL_REQUESTED, AT_ONCE),
	KIND(ACTIVITY_TASK_CANCELED, LATE),
	KIND(ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY, HELD),
	KIND(TIMER_STARTED, AT_ONCE),
	KIND(TIMER_FIRED, HELD),
	KIND(TIMER_CANCELED, AT_ONCE),
	KIND(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, AT_ONCE),
	KIND(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED, HELD),
	KIND(EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED, HELD),
	KIND(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED, AT_ONCE),
	KIND(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED, HELD),
	KIND(EXTERNAL_WORKFLOW_EXECUTION_SIGNALED, HELD),
	KIND(START_CHILD_WORKFLOW_EXECUTION_INITIATED, AT_ONCE),
	KIND(START_CHILD_WORKFLOW_EXECUTION_FAILED, HELD),
	KIND(CHILD_WORKFLOW_EXECUTION_STARTED, HELD),
	KIND(CHILD_WORKFLOW_EXECUTION_COMPLETED, LATE),
	KIND(CHILD_WORKFLOW_EXECUTION_FAILED, LATE),
	KIND(CHILD_WORKFLOW_EXECUTION_CANCELED, LATE),
	KIND(CHILD_WORKFLOW_EXECUTION_TIMED_OUT, LATE),
	KIND(CHILD_WORKFLOW_EXECUTION_TERMINATED, LATE),
	KIND(NEXUS_OPERATION_SCHEDULED, AT_ONCE),
	KIND(NEXUS_OPERATION_STARTED, HELD),
	KIND(NEXUS_OPERATION_COMPLETED, LATE),
	KIND(NEXUS_OPERATION_FAILED, LATE),
	KIND(NEXUS_OPERATION_CANCELED, LATE),
	KIND(NEXUS_OPERATION_TIMED_OUT, LATE),
	KIND(NEXUS_OPERATION_CANCEL_REQUESTED, AT_ONCE),
	KIND(NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED, HELD),
	KIND(NEXUS_OPERATION_CANCEL_REQUEST_FAILED, HELD),
};

static enum event_class class_of(int type)
{
	assert(type > 0 && (size_t)type < array_len(kinds) && kinds[type].field);
	return kinds[type].class;
}

bool txn_event_is_close(Temporal__Api__Enums__V1__EventType type)
{
	return class_of((int)type) == CLOSE;
}

/* ------------------------------------------------------------------ making */

event_t *txn_event_new(struct txn *t, Temporal__Api__Enums__V1__EventType type)
{
	assert((size_t)type < array_len(kinds) && kinds[type].field);
	event_t *e = pb_new0(t->arena, event_t, temporal__api__history__v1__history_event);
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field(e->base.descriptor, (unsigned)kinds[type].field);
	e->event_type = type;
	e->event_time = pb_timestamp(t->arena, t->now_ns);
	e->attributes_case = (Temporal__Api__History__V1__HistoryEvent__AttributesCase)kinds[type].field;
	/* All members of the union are pointers to messages. */
	*(void **)((char *)e + field->offset) = pb_new(t->arena, field->descriptor);
	return e;
}

static void append(struct txn *t, event_t *e)
{
	e->event_id = txn_exec(t)->next_event_id++;
	txn_push(t, events, event_count, event_cap, e);
}

event_t *txn_event(struct txn *t, Temporal__Api__Enums__V1__EventType type)
{
	assert(!t->closed);
	t->touched = true;
	event_t *e = txn_event_new(t, type);
	switch (class_of((int)type)) {
	case HELD:
	case LATE:
		txn_push(t, held, held_count, held_cap, e);
		t->buffered_changed = true;
		break;
	case CLOSE:
		t->closed = true;
		append(t, e);
		t->exec->close_event_id = e->event_id;
		break;
	case AT_ONCE:
		append(t, e);
		break;
	}
	return e;
}

int64_t txn_next_event_id(const struct txn *t)
{
	return txn_peek(t)->next_event_id;
}

/* ------------------------------------------------------------------ held events */

/* Puts the run's buffered events before this transition's. */
static void load_held(struct txn *t)
{
	if (t->held_loaded)
		return;
	t->held_loaded = true;
	size_t before = t->run ? t->run->buffered_count : 0;
	if (!before)
		return;
	event_t **all = arena_array(t->arena, event_t *, before + t->held_count);
	for (size_t i = 0; i < before; i++) {
		all[i] = pb_unpack(t->arena, &temporal__api__history__v1__history_event__descriptor,
				   t->run->buffered[i]->event);
		assert(all[i]);
	}
	if (t->held_count)
		memcpy(all + before, t->held, t->held_count * sizeof *all);
	t->held = all;
	t->held_count = t->held_cap = before + t->held_count;
}

size_t txn_buffered_count(const struct txn *t)
{
	return t->held_count + (t->run && !t->held_loaded ? t->run->buffered_count : 0);
}

size_t txn_held_bytes(struct txn *t)
{
	size_t total = 0;
	for (size_t i = 0; i < t->held_count; i++)
		total += protobuf_c_message_get_packed_size(&t->held[i]->base);
	if (t->run && !t->held_loaded)
		for (size_t i = 0; i < t->run->buffered_count; i++)
			total += t->run->buffered[i]->event.len;
	return total;
}

Perdure__BufferedEvent **txn_pack_held(struct txn *t, size_t *ret_count)
{
	size_t before = t->run && !t->held_loaded ? t->run->buffered_count : 0;
	Perdure__BufferedEvent **all = arena_array(t->arena, Perdure__BufferedEvent *, before + t->held_count);
	for (size_t i = 0; i < before; i++)
		all[i] = t->run->buffered[i];
	for (size_t i = 0; i < t->held_count; i++) {
		all[before + i] = pb_new0(t->arena, Perdure__BufferedEvent, perdure__buffered_event);
		all[before + i]->event = pb_pack(t->arena, &t->held[i]->base);
	}
	*ret_count = before + t->held_count;
	return all;
}

void txn_drop_held(struct txn *t)
{
	if (!txn_buffered_count(t))
		return;
	t->held_loaded = true;
	t->held_count = 0;
	t->buffered_changed = true;
}

const event_t *txn_buffered_event(struct txn *t, size_t i)
{
	load_held(t);
	assert(i < t->held_count);
	return t->held[i];
}

void txn_buffered_remove(struct txn *t, size_t i)
{
	load_held(t);
	assert(i < t->held_count);
	t->held_count--;
	memmove(t->held + i, t->held + i + 1, (t->held_count - i) * sizeof *t->held);
	t->touched = t->buffered_changed = true;
}

/* ------------------------------------------------------------------ references between events */

/*
 * The scheduled (or initiated) event id that an activity's or child's start or end refers to, and where the id of the
 * start goes. Returns false for other events.
 */
struct reference {
	int64_t scheduled;
	int64_t *started; /* NULL: the event is the start itself */
};

static bool reference_of(event_t *e, struct reference *ret)
{
#define END(TYPE_, member, scheduled_)                                                                                 \
	case TYPE(TYPE_):                                                                                              \
		*ret = (struct reference){e->member##_event_attributes->scheduled_,                                    \
					  &e->member##_event_attributes->started_event_id};                            \
		return true
#define START(TYPE_, member, scheduled_)                                                                               \
	case TYPE(TYPE_):                                                                                              \
		*ret = (struct reference){e->member##_event_attributes->scheduled_, NULL};                             \
		return true
	switch ((int)e->event_type) {
		START(ACTIVITY_TASK_STARTED, activity_task_started, scheduled_event_id);
		END(ACTIVITY_TASK_COMPLETED, activity_task_completed, scheduled_event_id);
		END(ACTIVITY_TASK_FAILED, activity_task_failed, scheduled_event_id);
		END(ACTIVITY_TASK_TIMED_OUT, activity_task_timed_out, scheduled_event_id);
		END(ACTIVITY_TASK_CANCELED, activity_task_canceled, scheduled_event_id);
		START(CHILD_WORKFLOW_EXECUTION_STARTED, child_workflow_execution_started, initiated_event_id);
		END(CHILD_WORKFLOW_EXECUTION_COMPLETED, child_workflow_execution_completed, initiated_event_id);
		END(CHILD_WORKFLOW_EXECUTION_FAILED, child_workflow_execution_failed, initiated_event_id);
		END(CHILD_WORKFLOW_EXECUTION_TIMED_OUT, child_workflow_execution_timed_out, initiated_event_id);
		END(CHILD_WORKFLOW_EXECUTION_CANCELED, child_workflow_execution_canceled, initiated_event_id);
		END(CHILD_WORKFLOW_EXECUTION_TERMINATED, child_workflow_execution_terminated, initiated_event_id);
	default:
		return false;
	}
#undef START
#undef END
}

/* ------------------------------------------------------------------ the flush */

/* A start that just got its id: events that end it and what the run remembers of it learn it. */
static void wire_start(struct txn *t, int64_t scheduled, int64_t started, event_t **batch, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct reference ref;
		if (reference_of(batch[i], &ref) && ref.started && ref.scheduled == scheduled)
			*ref.started = started;
	}
	if (txn_activity(t, scheduled))
		txn_activity_put(t, scheduled)->started_event_id = started;
}

static const char *request_id_of(const event_t *e)
{
	if (e->event_type == TYPE(WORKFLOW_EXECUTION_OPTIONS_UPDATED))
		return e->workflow_execution_options_updated_event_attributes->attached_request_id;
	if (e->event_type == TYPE(WORKFLOW_EXECUTION_SIGNALED))
		return e->workflow_execution_signaled_event_attributes->request_id;
	return NULL;
}

static void wire(struct txn *t, event_t **batch, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct reference ref;
		if (reference_of(batch[i], &ref) && !ref.started)
			wire_start(t, ref.scheduled, batch[i]->event_id, batch, n);
		const char *request_id = request_id_of(batch[i]);
		if (txn_request_id(t, request_id))
			txn_request_id_put(t, request_id, (int)batch[i]->event_type, batch[i]->event_id);
	}
}

bool txn_flush(struct txn *t)
{
	if (!txn_buffered_count(t) || t->closed)
		return false;
	/* Events that never left this transition need not be written as buffered ones. */
	bool stored = t->run && t->run->buffered_count > 0;
	load_held(t);
	size_t n = t->held_count, first = t->event_count;
	for (int late = 0; late <= 1; late++)
		for (size_t i = 0; i < n; i++)
			if ((class_of((int)t->held[i]->event_type) == LATE) == late)
				append(t, t->held[i]);
	t->held_count = 0;
	t->buffered_changed = stored;
	wire(t, t->events + first, n);
	return true;
}
