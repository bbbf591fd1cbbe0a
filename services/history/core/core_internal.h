/*
 * What the files of the core ask of each other beyond core.h, txn.h and run.h. Not for the shell.
 */
#ifndef SERVICES_HISTORY_CORE_CORE_INTERNAL_H
#define SERVICES_HISTORY_CORE_CORE_INTERNAL_H

#include "services/history/core/core.h"

/* ------------------------------------------------------------------ close.c */

/*
 * The run's time is up (run timeout when retry or cron may follow, execution timeout otherwise: told by
 * t->now_ns against the execution deadline). Writes WorkflowExecutionTimedOut and, where the retry policy or the cron
 * schedule says so, starts the next run (t->next). Precondition: txn_open(t).
 */
must_check struct err close_timed_out(struct txn *t);

/* ------------------------------------------------------------------ workflow_task_*.c */

/*
 * The started workflow task's time is up: WorkflowTaskTimedOut (START_TO_CLOSE), unless it is transient or speculative,
 * and a next attempt. Precondition: a workflow task is started.
 */
void workflow_task_timed_out(struct txn *t);
/*
 * The sticky queue's worker did not take it in time: WorkflowTaskTimedOut (SCHEDULE_TO_START), stickiness is cleared,
 * and it is scheduled on the normal queue. Precondition: a workflow task is scheduled, sticky, not started.
 */
void workflow_task_sticky_timed_out(struct txn *t);
/* Schedules the first workflow task when its backoff is over. Precondition: a backoff is pending and due. */
void workflow_task_first_due(struct txn *t);

/* ------------------------------------------------------------------ activity_*.c */

/*
 * Writes the ActivityTaskStarted event that waits for the activity's end, if it is started and its event is not written
 * yet. Returns the started event's id (0: it never started).
 */
int64_t activity_started_event(struct txn *t, const Perdure__ActivityInfo *a);

/* ------------------------------------------------------------------ heartbeats */

/* Puts the activities whose heartbeats are newer than the journal, so that the delta carries them. */
void core_heartbeat_flush(struct txn *t);

#endif
