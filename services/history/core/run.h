/*
 * The mutable state of one run, in memory.
 *
 * It changes in one way only: run_apply() puts a RunDelta into it, whether the delta was just made by a transition
 * (txn.h) or is read back from the journal. A transition never touches the run itself, so a transition that fails
 * leaves nothing behind, and memory equals snapshot plus journal by construction.
 * (Exempt: heartbeats and the bookkeeping marked `volatile` below, which is lost with the process.)
 */
#ifndef SERVICES_HISTORY_CORE_RUN_H
#define SERVICES_HISTORY_CORE_RUN_H

#include <perdure/state.pb-c.h>
#include <uthash.h>

#include "common/err/err.h"

struct run_activity {
	Perdure__ActivityInfo *info;
	UT_hash_handle hh;    /* by info->scheduled_event_id */
	UT_hash_handle hh_id; /* by info->activity_id */
	/* volatile */
	int64_t offered_stamp; /* dispatched to matching with this stamp; 0: not yet */
	bool details_dirty;    /* heartbeat newer than the journal */
};

struct run_timer {
	Perdure__TimerInfo *info;
	UT_hash_handle hh; /* by info->timer_id */
};

struct run_id_seen {
	char *id;
	Perdure__RequestIdInfo *info; /* NULL for a signal's request id */
	UT_hash_handle hh;
};

struct run {
	Perdure__RunStart *start;
	Perdure__RunExec *exec;
	struct run_activity *activities;       /* hh */
	struct run_activity *activities_by_id; /* hh_id */
	struct run_timer *timers;
	struct run_id_seen *signal_request_ids;
	struct run_id_seen *request_ids;
	Perdure__BufferedEvent **buffered;
	size_t buffered_count;
	size_t bytes; /* approximate memory, for the cache's bound */
	bool deleted; /* a tombstone was applied: the shell forgets the run */
	/* volatile */
	int64_t offered_workflow_task_stamp;
};

/* An empty run, for a delta that carries `start`. */
struct run *run_new(void);
void run_free(struct run *r);

/* Takes what it needs out of an unpacked delta (allocated with malloc); the delta itself is still the caller's to
 * free. Precondition: same run, or a new run with start. */
void run_apply(struct run *r, Perdure__RunDelta *delta);
/* Unpacks and applies. INTERNAL when the bytes are not a delta. */
must_check struct err run_apply_bytes(struct run *r, struct arena *errors, struct bytes delta);

/* Appends the packed RunSnapshot. */
void run_pack_snapshot(const struct run *r, struct buf *out);
must_check struct err run_from_snapshot(struct arena *errors, struct bytes snapshot, struct run **ret);

bool run_open(const struct run *r); /* status RUNNING */
struct run_activity *run_find_activity(const struct run *r, int64_t scheduled_event_id);
struct run_activity *run_find_activity_by_id(const struct run *r, const char *activity_id);
struct run_timer *run_find_timer(const struct run *r, const char *timer_id);

/* When an activity runs out of time, in each of the ways that apply to its present state; INT64_MAX: does not apply. */
struct activity_deadlines {
	int64_t schedule_to_close, schedule_to_start, start_to_close, heartbeat;
	int64_t backoff; /* waits for its next attempt until then: dispatched when it is over */
};
struct activity_deadlines run_activity_deadlines(const Perdure__ActivityInfo *a);
/* Whether no worker has it: it is scheduled, or was started and handed back by the gateway (request_id empty). */
bool run_workflow_task_waits(const Perdure__WorkflowTask *w);
/* When the workflow task times out (start-to-close when started, schedule-to-start on a sticky queue); INT64_MAX:
 * never. */
int64_t run_workflow_task_deadline(const Perdure__WorkflowTask *w);
/*
 * The earliest moment at which core_on_time() has something to do (timers, timeouts, backoffs); INT64_MAX: none.
 * A backoff that is over counts until core_on_time() has cleared it (retry_not_before_ns = 0), so that this moves on.
 */
int64_t run_wake_at(const struct run *r);
/* Whether a workflow task or activity is scheduled, due and not started: it must be with matching or in the backlog. */
bool run_has_unstarted_task(const struct run *r, int64_t now_ns);

#endif
