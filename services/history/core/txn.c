/*
 * The working state of one transition: copies on first write, lookups that see them, and the delta at the end. Events
 * are in events.c.
 */
#include "services/history/core/txn.h"

#include <temporal/api/enums/v1/workflow.pb-c.h>

#include "services/history/core/core_internal.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/txn_internal.h"

void *txn_grow(struct arena *a, void *items, size_t count, size_t *cap, size_t item_size)
{
	if (count < *cap)
		return items;
	size_t wider = *cap ? *cap * 2 : 8;
	void *copy = arena_alloc(a, wider * item_size);
	if (count)
		memcpy(copy, items, count * item_size);
	*cap = wider;
	return copy;
}

void txn_begin(struct txn *t)
{
	if (t->run) {
		t->start = t->run->start;
		return;
	}
	t->start = pb_new0(t->arena, Perdure__RunStart, perdure__run_start);
	t->exec = pb_new0(t->arena, Perdure__RunExec, perdure__run_exec);
	t->exec->next_event_id = 1;
	t->workflow_task_copied = true;
}

/* What a transition was given, without anything it did. */
static struct txn given(const struct txn *t)
{
	return (struct txn){
		.run = t->run,
		.config = t->config,
		.arena = t->arena,
		.now_ns = t->now_ns,
		.random = t->random,
		.random_ctx = t->random_ctx,
		.namespace_id = t->namespace_id,
		.namespace_name = t->namespace_name,
		.retention_ns = t->retention_ns,
		.next_start_seq = t->next_start_seq,
		.shard_epoch = t->shard_epoch,
		.find_namespace = t->find_namespace,
		.find_namespace_ctx = t->find_namespace_ctx,
		.retry_id = t->retry_id,
	};
}

void txn_restart(struct txn *t)
{
	*t = given(t);
	txn_begin(t);
}

void txn_trace_token(const struct txn *t, Perdure__TaskToken *token)
{
	if (!t->trace.parent)
		return;
	token->traceparent = (char *)t->trace.parent;
	token->trace_tasks = t->trace.tasks;
}

struct txn *txn_begin_next(struct txn *t)
{
	assert(!t->next);
	t->next = arena_new0(t->arena, struct txn);
	*t->next = given(t);
	t->next->run = NULL;
	txn_begin(t->next);
	return t->next;
}

const char *txn_namespace_id(const struct txn *t, const char *name)
{
	if (str_eq(name, t->namespace_name))
		return t->namespace_id;
	return t->find_namespace ? t->find_namespace(t->find_namespace_ctx, name) : NULL;
}

/* ------------------------------------------------------------------ randomness */

void txn_uuid(struct txn *t, char out[37])
{
	static const char hex[] = "0123456789abcdef";
	uint8_t b[16];
	t->random(t->random_ctx, b, sizeof b);
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	char *p = out;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[b[i] >> 4];
		*p++ = hex[b[i] & 15];
	}
	*p = '\0';
}

uint64_t txn_random_u64(struct txn *t)
{
	uint64_t v;
	t->random(t->random_ctx, &v, sizeof v);
	return v;
}

/* ------------------------------------------------------------------ the run as a whole */

const Perdure__RunExec *txn_peek(const struct txn *t)
{
	return t->exec ? t->exec : t->run->exec;
}

Perdure__RunExec *txn_exec(struct txn *t)
{
	t->touched = true;
	if (!t->exec) {
		t->exec = arena_new0(t->arena, Perdure__RunExec);
		*t->exec = *t->run->exec;
	}
	return t->exec;
}

bool txn_open(const struct txn *t)
{
	return txn_peek(t)->status ==
	       TEMPORAL__API__ENUMS__V1__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
}

const Perdure__WorkflowTask *txn_workflow_task(const struct txn *t)
{
	return txn_peek(t)->workflow_task;
}

bool txn_workflow_task_started(const struct txn *t)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	return w && w->started_event_id != 0;
}

Perdure__WorkflowTask *txn_workflow_task_put(struct txn *t)
{
	Perdure__RunExec *exec = txn_exec(t);
	if (!exec->workflow_task) {
		exec->workflow_task = pb_new0(t->arena, Perdure__WorkflowTask, perdure__workflow_task);
	} else if (!t->workflow_task_copied) {
		Perdure__WorkflowTask *copy = arena_new0(t->arena, Perdure__WorkflowTask);
		*copy = *exec->workflow_task;
		exec->workflow_task = copy;
	}
	t->workflow_task_copied = true;
	return exec->workflow_task;
}

void txn_workflow_task_clear(struct txn *t)
{
	txn_exec(t)->workflow_task = NULL;
}

int64_t txn_next_stamp(struct txn *t)
{
	return ++txn_exec(t)->next_stamp;
}

/* ------------------------------------------------------------------ activities */

static size_t find_put_activity(const struct txn *t, int64_t scheduled_event_id)
{
	size_t i = 0;
	while (i < t->put_activity_count && t->put_activities[i]->scheduled_event_id != scheduled_event_id)
		i++;
	return i;
}

static bool activity_removed(const struct txn *t, int64_t scheduled_event_id)
{
	for (size_t i = 0; i < t->removed_activity_count; i++)
		if (t->removed_activities[i] == scheduled_event_id)
			return true;
	return false;
}

static const Perdure__ActivityInfo *run_activity_info(const struct txn *t, int64_t scheduled_event_id)
{
	struct run_activity *a = t->run ? run_find_activity(t->run, scheduled_event_id) : NULL;
	return a && !activity_removed(t, scheduled_event_id) ? a->info : NULL;
}

const Perdure__ActivityInfo *txn_activity(const struct txn *t, int64_t scheduled_event_id)
{
	size_t i = find_put_activity(t, scheduled_event_id);
	return i < t->put_activity_count ? t->put_activities[i] : run_activity_info(t, scheduled_event_id);
}

const Perdure__ActivityInfo *txn_activity_by_id(const struct txn *t, const char *activity_id)
{
	for (size_t i = 0; i < t->put_activity_count; i++)
		if (str_eq(t->put_activities[i]->activity_id, activity_id))
			return t->put_activities[i];
	struct run_activity *a = t->run ? run_find_activity_by_id(t->run, activity_id) : NULL;
	return a && !activity_removed(t, a->info->scheduled_event_id) ? a->info : NULL;
}

size_t txn_activity_count(const struct txn *t)
{
	size_t n = t->run ? HASH_COUNT(t->run->activities) : 0;
	for (size_t i = 0; i < t->put_activity_count; i++)
		if (!run_activity_info(t, t->put_activities[i]->scheduled_event_id))
			n++;
	return n - t->removed_activity_count;
}

static Perdure__ActivityInfo *push_activity(struct txn *t, Perdure__ActivityInfo *info)
{
	t->touched = true;
	txn_push(t, put_activities, put_activity_count, put_activity_cap, info);
	return info;
}

Perdure__ActivityInfo *txn_activity_put(struct txn *t, int64_t scheduled_event_id)
{
	size_t i = find_put_activity(t, scheduled_event_id);
	if (i < t->put_activity_count)
		return t->put_activities[i];
	const Perdure__ActivityInfo *old = run_activity_info(t, scheduled_event_id);
	assert(old);
	Perdure__ActivityInfo *copy = arena_new0(t->arena, Perdure__ActivityInfo);
	*copy = *old;
	return push_activity(t, copy);
}

Perdure__ActivityInfo *txn_activity_new(struct txn *t, int64_t scheduled_event_id, const char *activity_id)
{
	assert(!txn_activity(t, scheduled_event_id));
	Perdure__ActivityInfo *info = pb_new0(t->arena, Perdure__ActivityInfo, perdure__activity_info);
	info->scheduled_event_id = scheduled_event_id;
	info->activity_id = arena_strdup(t->arena, activity_id);
	return push_activity(t, info);
}

void txn_activity_remove(struct txn *t, int64_t scheduled_event_id)
{
	t->touched = true;
	if (run_activity_info(t, scheduled_event_id))
		txn_push(t, removed_activities, removed_activity_count, removed_activity_cap, scheduled_event_id);
	size_t i = find_put_activity(t, scheduled_event_id);
	if (i < t->put_activity_count) {
		t->put_activity_count--;
		memmove(t->put_activities + i, t->put_activities + i + 1,
			(t->put_activity_count - i) * sizeof *t->put_activities);
	}
}

/* ------------------------------------------------------------------ timers */

static size_t find_put_timer(const struct txn *t, const char *timer_id)
{
	size_t i = 0;
	while (i < t->put_timer_count && !str_eq(t->put_timers[i]->timer_id, timer_id))
		i++;
	return i;
}

static const Perdure__TimerInfo *run_timer_info(const struct txn *t, const char *timer_id)
{
	for (size_t i = 0; i < t->removed_timer_count; i++)
		if (str_eq(t->removed_timers[i], timer_id))
			return NULL;
	struct run_timer *timer = t->run ? run_find_timer(t->run, timer_id) : NULL;
	return timer ? timer->info : NULL;
}

const Perdure__TimerInfo *txn_timer(const struct txn *t, const char *timer_id)
{
	size_t i = find_put_timer(t, timer_id);
	return i < t->put_timer_count ? t->put_timers[i] : run_timer_info(t, timer_id);
}

size_t txn_timer_count(const struct txn *t)
{
	return (t->run ? HASH_COUNT(t->run->timers) : 0) - t->removed_timer_count + t->put_timer_count;
}

Perdure__TimerInfo *txn_timer_new(struct txn *t, const char *timer_id)
{
	assert(!txn_timer(t, timer_id));
	Perdure__TimerInfo *info = pb_new0(t->arena, Perdure__TimerInfo, perdure__timer_info);
	info->timer_id = arena_strdup(t->arena, timer_id);
	t->touched = true;
	txn_push(t, put_timers, put_timer_count, put_timer_cap, info);
	return info;
}

void txn_timer_remove(struct txn *t, const char *timer_id)
{
	t->touched = true;
	char *id = arena_strdup(t->arena, timer_id);
	if (run_timer_info(t, id))
		txn_push(t, removed_timers, removed_timer_count, removed_timer_cap, id);
	size_t i = find_put_timer(t, id);
	if (i < t->put_timer_count) {
		t->put_timer_count--;
		memmove(t->put_timers + i, t->put_timers + i + 1, (t->put_timer_count - i) * sizeof *t->put_timers);
	}
}

/* ------------------------------------------------------------------ request ids */

bool txn_signal_seen(const struct txn *t, const char *request_id)
{
	if (str_empty(request_id))
		return false;
	for (size_t i = 0; i < t->put_signal_request_id_count; i++)
		if (str_eq(t->put_signal_request_ids[i], request_id))
			return true;
	struct run_id_seen *seen = NULL;
	if (t->run)
		HASH_FIND_STR(t->run->signal_request_ids, request_id, seen);
	return seen != NULL;
}

const Perdure__RequestIdInfo *txn_request_id(const struct txn *t, const char *request_id)
{
	if (str_empty(request_id))
		return NULL;
	for (size_t i = 0; i < t->put_request_id_count; i++)
		if (str_eq(t->put_request_ids[i]->request_id, request_id))
			return t->put_request_ids[i];
	struct run_id_seen *seen = NULL;
	if (t->run)
		HASH_FIND_STR(t->run->request_ids, request_id, seen);
	return seen ? seen->info : NULL;
}

void txn_signal_seen_put(struct txn *t, const char *request_id)
{
	t->touched = true;
	txn_push(t, put_signal_request_ids, put_signal_request_id_count, put_signal_request_id_cap,
		 arena_strdup(t->arena, request_id));
}

void txn_request_id_put(struct txn *t, const char *request_id, int event_type, int64_t event_id)
{
	size_t i = 0;
	while (i < t->put_request_id_count && !str_eq(t->put_request_ids[i]->request_id, request_id))
		i++;
	if (i == t->put_request_id_count) {
		Perdure__RequestIdInfo *info = pb_new0(t->arena, Perdure__RequestIdInfo, perdure__request_id_info);
		info->request_id = arena_strdup(t->arena, request_id);
		txn_push(t, put_request_ids, put_request_id_count, put_request_id_cap, info);
	}
	t->put_request_ids[i]->event_type = event_type;
	t->put_request_ids[i]->event_id = event_id;
	t->touched = true;
}

/* ------------------------------------------------------------------ the end */

/* Appends the delta's `events` field: the encoding of a History message. */
static void append_events(struct txn *t, struct buf *out, const size_t *sizes, size_t total)
{
	const uint32_t delta_events_field = 14, history_events_field = 1;
	buf_put_varint(out, delta_events_field << 3 | 2);
	buf_put_varint(out, total);
	for (size_t i = 0; i < t->event_count; i++) {
		buf_put_varint(out, history_events_field << 3 | 2);
		buf_put_varint(out, sizes[i]);
		protobuf_c_message_pack(&t->events[i]->base, buf_reserve(out, sizes[i]));
		out->len += sizes[i];
	}
}

static size_t varint_size(uint64_t v)
{
	size_t n = 1;
	while (v >>= 7)
		n++;
	return n;
}

/* Numbers the events and measures them: each one's size, and all of them as a History. */
static size_t measure_events(struct txn *t, size_t *sizes)
{
	size_t total = 0;
	for (size_t i = 0; i < t->event_count; i++) {
		t->events[i]->task_id = ++t->exec->last_event_task_id;
		sizes[i] = protobuf_c_message_get_packed_size(&t->events[i]->base);
		total += 1 + varint_size(sizes[i]) + sizes[i];
	}
	return total;
}

static void keep_close_event(struct txn *t)
{
	for (size_t i = 0; i < t->event_count; i++)
		if (txn_event_is_close(t->events[i]->event_type))
			t->exec->close_event = pb_pack(t->arena, &t->events[i]->base);
}

static void fill_delta(struct txn *t, Perdure__RunDelta *d)
{
	d->namespace_id = t->start->namespace_id;
	d->workflow_id = t->start->workflow_id;
	d->run_id = t->start->run_id;
	d->start = t->run ? NULL : t->start;
	d->exec = t->exec;
	d->put_activities = t->put_activities;
	d->n_put_activities = t->put_activity_count;
	d->removed_activities = t->removed_activities;
	d->n_removed_activities = t->removed_activity_count;
	d->put_timers = t->put_timers;
	d->n_put_timers = t->put_timer_count;
	d->removed_timers = t->removed_timers;
	d->n_removed_timers = t->removed_timer_count;
	d->put_signal_request_ids = t->put_signal_request_ids;
	d->n_put_signal_request_ids = t->put_signal_request_id_count;
	d->put_request_ids = t->put_request_ids;
	d->n_put_request_ids = t->put_request_id_count;
	d->buffered_changed = t->buffered_changed;
	if (t->buffered_changed)
		d->buffered = txn_pack_held(t, &d->n_buffered);
	d->deleted = t->deleted;
	d->event_count = (int32_t)t->event_count;
	d->first_event_id = t->event_count ? t->events[0]->event_id : 0;
}

/* Of a run that had closed before: nothing changes but that it is gone. */
static void put_tombstone(const struct txn *t, struct buf *out)
{
	Perdure__RunDelta d = PERDURE__RUN_DELTA__INIT;
	d.namespace_id = t->start->namespace_id;
	d.workflow_id = t->start->workflow_id;
	d.run_id = t->start->run_id;
	d.deleted = true;
	size_t len = perdure__run_delta__get_packed_size(&d);
	buf_reserve(out, len);
	perdure__run_delta__pack(&d, out->data + out->len);
	out->len += len;
}

void txn_finish(struct txn *t, struct buf *out)
{
	if (!t->touched)
		return;
	if (t->deleted && !t->event_count) {
		put_tombstone(t, out);
		return;
	}
	core_enforce_limits(t);
	if (t->closed)
		txn_drop_held(t);
	else if (!txn_workflow_task_started(t))
		txn_flush(t);

	Perdure__RunExec *exec = txn_exec(t);
	size_t *sizes = arena_array(t->arena, size_t, t->event_count);
	size_t total = measure_events(t, sizes);
	exec->state_transition_count++;
	exec->history_size_bytes += (int64_t)total;
	if (t->closed)
		keep_close_event(t);

	Perdure__RunDelta d = PERDURE__RUN_DELTA__INIT;
	fill_delta(t, &d);
	size_t len = perdure__run_delta__get_packed_size(&d);
	buf_reserve(out, len + total + 16);
	perdure__run_delta__pack(&d, out->data + out->len);
	out->len += len;
	if (t->event_count)
		append_events(t, out, sizes, total);
}
