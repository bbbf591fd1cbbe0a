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
/* The earliest moment at which core_on_time() has something to do (timers, timeouts, backoffs); INT64_MAX: none. */
int64_t run_wake_at(const struct run *r);
/* Whether a workflow task or activity is scheduled, due and not started: it must be with matching or in the backlog. */
bool run_has_unstarted_task(const struct run *r, int64_t now_ns);

#endif
