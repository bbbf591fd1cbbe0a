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

/* ------------------------------------------------------------------ limits.c */

/*
 * At the end of every transition: a run whose history has grown too long is terminated, and a workflow task behind
 * which too much waits is ended, so that it gets written.
 */
void core_enforce_limits(struct txn *t);

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

/* ------------------------------------------------------------------ events.c */

/*
 * The buffered events, those the run had and those of this transition alike: i < txn_buffered_count(). Unpacked into
 * the arena where needed; not to be changed.
 */
const Temporal__Api__History__V1__HistoryEvent *txn_buffered_event(struct txn *t, size_t i);
void txn_buffered_remove(struct txn *t, size_t i);
/*
 * Order, as the reference has it: ActivityTaskCanceled, written at once when a command cancels an activity that no
 * worker has, comes behind the events of all commands of that answer. So txn_event() buffers the types that can be
 * buffered until the commands are done, whether or not a task is started; they get their ids when the next workflow
 * task is scheduled, or at the end of the transition when none is started.
 */

/* ------------------------------------------------------------------ commands */

/* What a command carries beside its attributes, for the event it makes. */
static inline void command_decorate(Temporal__Api__History__V1__HistoryEvent *event,
				    const Temporal__Api__Command__V1__Command *command)
{
	event->user_metadata = command->user_metadata;
	event->n_event_group_markers = command->n_event_group_markers;
	event->event_group_markers = command->event_group_markers;
}

/*
 * Sets the failure of a command and returns false. `message` is the text without the cause's name before it. The cause
 * is the short name: COMMAND_CAUSE(BAD_START_TIMER_ATTRIBUTES).
 */
#define COMMAND_CAUSE(name) TEMPORAL__API__ENUMS__V1__WORKFLOW_TASK_FAILED_CAUSE__WORKFLOW_TASK_FAILED_CAUSE_##name
static inline bool command_fail(struct command_ctx *c, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause,
				const char *message)
{
	c->failure = (struct command_failure){.cause = cause, .message = message};
	return false;
}

/* ------------------------------------------------------------------ activity_*.c */

/*
 * After all commands of an answer: starts the activities that asked for eager execution (command_ctx.eager) for the
 * worker that answers, and appends them to its response. Nothing when the run is closed meanwhile.
 */
void activity_start_eager(struct command_ctx *c, WS(RespondWorkflowTaskCompletedResponse) *resp);
/* Appends those that the answer to the workflow task with that start nonce began, and that still run. */
void activity_repeat_eager(struct txn *t, uint64_t start_nonce, WS(RespondWorkflowTaskCompletedResponse) *resp);

#endif
