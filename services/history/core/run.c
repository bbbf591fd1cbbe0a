/*
 * The mutable state of a run: how deltas change it, and what can be looked up in it. Snapshots are in run_snapshot.c,
 * what it waits for is in run_time.c.
 */
#include "services/history/core/run.h"

#include <stdlib.h>
#include <temporal/api/enums/v1/workflow.pb-c.h>

#include "common/mem/mem.h"
#include "services/history/core/run_internal.h"

struct run *run_new(void)
{
	struct run *r = new0(struct run);
	r->bytes = sizeof *r;
	return r;
}

/* What an entry adds to run.bytes: its struct, its strings and its payloads. */
static size_t message_bytes(const ProtobufCMessage *m)
{
	return m ? m->descriptor->sizeof_message + protobuf_c_message_get_packed_size(m) : 0;
}

static void count(struct run *r, const ProtobufCMessage *removed, const ProtobufCMessage *added)
{
	r->bytes += message_bytes(added);
	r->bytes -= message_bytes(removed);
}

/* ------------------------------------------------------------------ entries */

void run_put_activity(struct run *r, Perdure__ActivityInfo *info)
{
	struct run_activity *a = run_find_activity(r, info->scheduled_event_id);
	if (a) {
		HASH_DEL(r->activities, a);
		HASH_DELETE(hh_id, r->activities_by_id, a);
		count(r, &a->info->base, NULL);
		perdure__activity_info__free_unpacked(a->info, NULL);
		a->details_dirty = false;
	} else {
		a = new0(struct run_activity);
		r->bytes += sizeof *a;
	}
	a->info = info;
	count(r, NULL, &info->base);
	HASH_ADD_KEYPTR(hh, r->activities, &info->scheduled_event_id, sizeof info->scheduled_event_id, a);
	HASH_ADD_KEYPTR(hh_id, r->activities_by_id, info->activity_id, strlen(info->activity_id), a);
}

static void remove_activity(struct run *r, struct run_activity *a)
{
	HASH_DEL(r->activities, a);
	HASH_DELETE(hh_id, r->activities_by_id, a);
	count(r, &a->info->base, NULL);
	r->bytes -= sizeof *a;
	perdure__activity_info__free_unpacked(a->info, NULL);
	free(a);
}

static void remove_timer(struct run *r, struct run_timer *t)
{
	HASH_DEL(r->timers, t);
	count(r, &t->info->base, NULL);
	r->bytes -= sizeof *t;
	perdure__timer_info__free_unpacked(t->info, NULL);
	free(t);
}

void run_put_timer(struct run *r, Perdure__TimerInfo *info)
{
	struct run_timer *t = run_find_timer(r, info->timer_id);
	if (t)
		remove_timer(r, t);
	t = new0(struct run_timer);
	t->info = info;
	r->bytes += sizeof *t;
	count(r, NULL, &info->base);
	HASH_ADD_KEYPTR(hh, r->timers, info->timer_id, strlen(info->timer_id), t);
}

static void remove_id(struct run *r, struct run_id_seen **set, struct run_id_seen *s)
{
	HASH_DEL(*set, s);
	r->bytes -= sizeof *s + strlen(s->id);
	count(r, s->info ? &s->info->base : NULL, NULL);
	if (s->info)
		perdure__request_id_info__free_unpacked(s->info, NULL);
	else
		free(s->id);
	free(s);
}

/* Takes `id` (or info, whose string it then is). */
static void put_id(struct run *r, struct run_id_seen **set, char *id, Perdure__RequestIdInfo *info)
{
	struct run_id_seen *s;
	HASH_FIND_STR(*set, id, s);
	if (s)
		remove_id(r, set, s);
	s = new0(struct run_id_seen);
	s->id = id;
	s->info = info;
	r->bytes += sizeof *s + strlen(id);
	count(r, NULL, info ? &info->base : NULL);
	HASH_ADD_KEYPTR(hh, *set, s->id, strlen(s->id), s);
}

void run_put_signal_request_id(struct run *r, char *id)
{
	put_id(r, &r->signal_request_ids, id, NULL);
}

void run_put_request_id(struct run *r, Perdure__RequestIdInfo *info)
{
	put_id(r, &r->request_ids, info->request_id, info);
}

void run_set_start(struct run *r, Perdure__RunStart *start)
{
	count(r, r->start ? &r->start->base : NULL, &start->base);
	if (r->start)
		perdure__run_start__free_unpacked(r->start, NULL);
	r->start = start;
}

void run_set_exec(struct run *r, Perdure__RunExec *exec)
{
	count(r, r->exec ? &r->exec->base : NULL, &exec->base);
	if (r->exec)
		perdure__run_exec__free_unpacked(r->exec, NULL);
	r->exec = exec;
}

void run_set_buffered(struct run *r, Perdure__BufferedEvent **events, size_t n)
{
	for (size_t i = 0; i < r->buffered_count; i++) {
		count(r, &r->buffered[i]->base, NULL);
		perdure__buffered_event__free_unpacked(r->buffered[i], NULL);
	}
	free(r->buffered);
	for (size_t i = 0; i < n; i++)
		count(r, NULL, &events[i]->base);
	r->buffered = events;
	r->buffered_count = n;
}

void run_free(struct run *r)
{
	if (!r)
		return;
	struct run_activity *a, *next_a;
	HASH_ITER (hh, r->activities, a, next_a)
		remove_activity(r, a);
	struct run_timer *t, *next_t;
	HASH_ITER (hh, r->timers, t, next_t)
		remove_timer(r, t);
	struct run_id_seen *s, *next_s;
	HASH_ITER (hh, r->signal_request_ids, s, next_s)
		remove_id(r, &r->signal_request_ids, s);
	HASH_ITER (hh, r->request_ids, s, next_s)
		remove_id(r, &r->request_ids, s);
	run_set_buffered(r, NULL, 0);
	if (r->start)
		perdure__run_start__free_unpacked(r->start, NULL);
	if (r->exec)
		perdure__run_exec__free_unpacked(r->exec, NULL);
	free(r);
}

/* ------------------------------------------------------------------ deltas */

static void apply_removals(struct run *r, const Perdure__RunDelta *d)
{
	for (size_t i = 0; i < d->n_removed_activities; i++) {
		struct run_activity *a = run_find_activity(r, d->removed_activities[i]);
		if (a)
			remove_activity(r, a);
	}
	for (size_t i = 0; i < d->n_removed_timers; i++) {
		struct run_timer *t = run_find_timer(r, d->removed_timers[i]);
		if (t)
			remove_timer(r, t);
	}
}

/* What is moved into the run is set to NULL in the delta, which its owner then frees without it. */
static void apply_puts(struct run *r, Perdure__RunDelta *d)
{
	for (size_t i = 0; i < d->n_put_activities; i++) {
		run_put_activity(r, d->put_activities[i]);
		d->put_activities[i] = NULL;
	}
	for (size_t i = 0; i < d->n_put_timers; i++) {
		run_put_timer(r, d->put_timers[i]);
		d->put_timers[i] = NULL;
	}
	for (size_t i = 0; i < d->n_put_signal_request_ids; i++) {
		run_put_signal_request_id(r, d->put_signal_request_ids[i]);
		d->put_signal_request_ids[i] = NULL;
	}
	for (size_t i = 0; i < d->n_put_request_ids; i++) {
		run_put_request_id(r, d->put_request_ids[i]);
		d->put_request_ids[i] = NULL;
	}
}

void run_apply(struct run *r, Perdure__RunDelta *d)
{
	assert(d->start ? !r->start : r->start != NULL);
	if (d->start) {
		run_set_start(r, d->start);
		d->start = NULL;
	}
	if (d->exec) {
		run_set_exec(r, d->exec);
		d->exec = NULL;
	}
	/* An id can be removed and used again in one transition: removals come first. */
	apply_removals(r, d);
	apply_puts(r, d);
	if (d->buffered_changed) {
		run_set_buffered(r, d->buffered, d->n_buffered);
		d->buffered = NULL;
		d->n_buffered = 0;
	}
	if (d->deleted)
		r->deleted = true;
}

struct err run_apply_bytes(struct run *r, struct arena *errors, struct bytes delta)
{
	Perdure__RunDelta *d = perdure__run_delta__unpack(NULL, delta.len, delta.data);
	if (!d)
		return err_make(errors, ERR_INTERNAL, "a journalled change of a run cannot be read (%zu bytes)",
				delta.len);
	if (d->start ? r->start != NULL : !r->start) {
		perdure__run_delta__free_unpacked(d, NULL);
		return err_make(errors, ERR_INTERNAL, "a journalled change does not belong to this run");
	}
	run_apply(r, d);
	perdure__run_delta__free_unpacked(d, NULL);
	return err_ok;
}

/* ------------------------------------------------------------------ reading */

bool run_open(const struct run *r)
{
	return r->exec &&
	       r->exec->status ==
		       TEMPORAL__API__ENUMS__V1__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING;
}

struct run_activity *run_find_activity(const struct run *r, int64_t scheduled_event_id)
{
	struct run_activity *a;
	HASH_FIND(hh, r->activities, &scheduled_event_id, sizeof scheduled_event_id, a);
	return a;
}

struct run_activity *run_find_activity_by_id(const struct run *r, const char *activity_id)
{
	struct run_activity *a;
	activity_id = activity_id ? activity_id : "";
	HASH_FIND(hh_id, r->activities_by_id, activity_id, strlen(activity_id), a);
	return a;
}

struct run_timer *run_find_timer(const struct run *r, const char *timer_id)
{
	struct run_timer *t;
	timer_id = timer_id ? timer_id : "";
	HASH_FIND(hh, r->timers, timer_id, strlen(timer_id), t);
	return t;
}
