/*
 * One transition of one run: what it may read (the run, the clock, randomness as arguments) and what it yields (events,
 * a delta, what to do after the commit). No I/O.
 *
 * All memory is the transition's arena. The run is const; changed parts are copied into the transaction on first write
 * (txn_exec, txn_activity_put, …), and later reads in the same transition see the copy.
 */
#ifndef SERVICES_HISTORY_CORE_TXN_H
#define SERVICES_HISTORY_CORE_TXN_H

#include <perdure/token.pb-c.h>

#include <temporal/api/history/v1/message.pb-c.h>

#include "common/tz/tz.h"
#include "services/history/core/run.h"

/* Time zones by name, for cron schedules; find NULL: none but UTC. */
struct core_zones {
	/* Whether there is such a zone; *ret lives as long as the core is used, NULL is UTC. */
	bool (*find)(void *ctx, const char *name, const struct tz **ret);
	void *ctx;
};

/* Settings the core decides by; filled by the shell from the configuration. */
struct core_config {
	int64_t default_workflow_task_timeout_ns;    /* 10 s */
	int64_t workflow_task_timeout_max_ns;	     /* 120 s */
	int64_t workflow_task_heartbeat_timeout_ns;  /* 30 min */
	int64_t sticky_schedule_to_start_default_ns; /* 5 s */
	/* default activity and workflow retry policy */
	int64_t retry_initial_interval_ns;	   /* 1 s */
	double retry_backoff_coefficient;	   /* 2 */
	double retry_maximum_interval_coefficient; /* 100 */
	int retry_maximum_attempts;		   /* 0: no limit */
	int id_bytes_max;			   /* 1000 */
	int blob_bytes_max;			   /* 2 MiB: a payload field; beyond: BLOB limit errors */
	int blob_bytes_warn;
	int memo_bytes_max;
	int pending_activities_max;		     /* 2000 */
	int pending_timers_max;			     /* 0: none */
	int signals_max;			     /* 10000 */
	int history_events_max;			     /* 51200: terminate */
	int64_t history_bytes_max;		     /* 50 MiB */
	int history_events_suggest_can;		     /* 4096 */
	int64_t history_bytes_suggest_can;	     /* 4 MiB */
	int buffered_events_max;		     /* 100 */
	int64_t workflow_task_retry_max_interval_ns; /* 10 min */
	int64_t retention_min_ns;
	struct core_zones zones;
};

/* The trace that a transition is part of: the tasks that it schedules go on with it. */
struct task_trace {
	const char *parent; /* W3C trace context; NULL: not traced */
	uint32_t tasks;	    /* tasks that came before in it */
};

struct txn {
	/* in */
	const struct run *run; /* NULL: a run that begins */
	const struct core_config *config;
	struct arena *arena;
	int64_t now_ns;
	void (*random)(void *ctx, void *out, size_t len);
	void *random_ctx;
	const char *namespace_id, *namespace_name;
	int64_t retention_ns;
	int64_t next_start_seq; /* for a run that begins */
	uint64_t shard_epoch;	/* goes into start nonces */
	/* The id of a namespace that a command names; NULL: there is none. NULL itself: no other is known than the
	 * run's own. */
	const char *(*find_namespace)(void *ctx, const char *name);
	void *find_namespace_ctx;
	/* Of a request without a request id: the same when it is repeated. Never shown. May be NULL. */
	const char *retry_id;
	struct task_trace trace;

	/* working state; use the functions below */
	Perdure__RunStart *start; /* the run's, or the one being made */
	Perdure__RunExec *exec;	  /* NULL until txn_exec() */
	Temporal__Api__History__V1__HistoryEvent **events;
	size_t event_count, event_cap;
	Perdure__ActivityInfo **put_activities;
	size_t put_activity_count, put_activity_cap;
	int64_t *removed_activities;
	size_t removed_activity_count, removed_activity_cap;
	Perdure__TimerInfo **put_timers;
	size_t put_timer_count, put_timer_cap;
	char **removed_timers;
	size_t removed_timer_count, removed_timer_cap;
	bool workflow_task_copied; /* exec->workflow_task is this transition's own */
	bool closed;		   /* the close event was written: events that wait are dropped */
	/* Events without an id yet: the run's buffered ones once held_loaded, then this transition's. */
	Temporal__Api__History__V1__HistoryEvent **held;
	size_t held_count, held_cap;
	bool held_loaded;
	bool buffered_changed;
	char **put_signal_request_ids;
	size_t put_signal_request_id_count, put_signal_request_id_cap;
	Perdure__RequestIdInfo **put_request_ids;
	size_t put_request_id_count, put_request_id_cap;
	bool touched; /* something was written: there is a delta to commit */
	bool deleted; /* the delta is the run's tombstone: nobody will find it any more */

	/* out, beside the delta */
	struct err ended; /* a limit ended the run, and the request is answered with this; its own change is void */
	struct txn *next; /* a run that this one starts in the same commit: continued as new, retried, cron */
};

/* in: the fields of the first group; the rest zero. Exec and start point at the run's (or are new). */
void txn_begin(struct txn *t);
/* Forgets everything that the transition has written so far. */
void txn_restart(struct txn *t);
/* A run that begins in the same commit: t->next, with what t was given. */
struct txn *txn_begin_next(struct txn *t);
/* The worker's answer will go on with the transition's trace. */
void txn_trace_token(const struct txn *t, Perdure__TaskToken *token);
/* NULL: there is no namespace of this name. */
const char *txn_namespace_id(const struct txn *t, const char *name);

void txn_uuid(struct txn *t, char out[37]);
uint64_t txn_random_u64(struct txn *t);

/* Reading: what this transition sees. */
const Perdure__RunExec *txn_peek(const struct txn *t);
const Perdure__WorkflowTask *txn_workflow_task(const struct txn *t); /* NULL: none */
bool txn_workflow_task_started(const struct txn *t);
bool txn_open(const struct txn *t);
const Perdure__ActivityInfo *txn_activity(const struct txn *t, int64_t scheduled_event_id);
const Perdure__ActivityInfo *txn_activity_by_id(const struct txn *t, const char *activity_id);
const Perdure__TimerInfo *txn_timer(const struct txn *t, const char *timer_id);
size_t txn_activity_count(const struct txn *t);
size_t txn_timer_count(const struct txn *t);
size_t txn_buffered_count(const struct txn *t); /* without an id yet: buffered before, or made by this transition */
bool txn_signal_seen(const struct txn *t, const char *request_id);
const Perdure__RequestIdInfo *txn_request_id(const struct txn *t, const char *request_id);

/* Writing. The copies are shallow: set pointer fields to arena memory, never free what they held. */
Perdure__RunExec *txn_exec(struct txn *t);
Perdure__WorkflowTask *txn_workflow_task_put(struct txn *t); /* made when there is none */
void txn_workflow_task_clear(struct txn *t);
Perdure__ActivityInfo *txn_activity_put(struct txn *t, int64_t scheduled_event_id); /* must exist */
Perdure__ActivityInfo *txn_activity_new(struct txn *t, int64_t scheduled_event_id, const char *activity_id);
void txn_activity_remove(struct txn *t, int64_t scheduled_event_id);
Perdure__TimerInfo *txn_timer_new(struct txn *t, const char *timer_id);
void txn_timer_remove(struct txn *t, const char *timer_id);
void txn_signal_seen_put(struct txn *t, const char *request_id);
void txn_request_id_put(struct txn *t, const char *request_id, int event_type, int64_t event_id);
int64_t txn_next_stamp(struct txn *t);

/*
 * Events. txn_event() makes one with type and time set and an empty attribute message of its kind in place (the member
 * of the union that its type names), to be filled by the caller.
 *
 * What a workflow decides or what happens to its workflow task gets its id at once. Everything that happens to it
 * (signals, activity and timer results, cancel requests, …) is held: event_id is 0 until txn_flush(), which runs when a
 * workflow task is scheduled, and at the end of the transition unless a workflow task is started; then it stays in
 * the run's buffer until that task ends. So nothing may rely on the id of such an event; references to it by
 * activities (started_event_id) and request ids are set by the flush.
 */
Temporal__Api__History__V1__HistoryEvent *txn_event(struct txn *t, Temporal__Api__Enums__V1__EventType type);
/* Gives every held event its id, in the reference's order (activity and child results after others), fixing up
 * scheduled/started references. Returns whether there was any. */
bool txn_flush(struct txn *t);
/* The id that the next event that is not held will get. */
int64_t txn_next_event_id(const struct txn *t);
/* Bytes of the held events, encoded. */
size_t txn_held_bytes(struct txn *t);
bool txn_event_is_close(Temporal__Api__Enums__V1__EventType type);

/*
 * Ends the transition: packs events and the delta into `out` as perdure.RunDelta bytes (t->next is finished by its own
 * call). Nothing is appended when nothing was touched. The caller journals the bytes and applies them to the run.
 */
void txn_finish(struct txn *t, struct buf *out);

#endif
