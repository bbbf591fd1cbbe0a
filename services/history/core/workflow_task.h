/*
 * The workflow task's life, as the files of the core see it.
 *
 *   schedule → start → complete │ fail │ time out → (next attempt: schedule)
 *
 * The first attempt writes its events as they happen. A later attempt is transient: its scheduled and started events
 * are written only when it completes, so that a task that fails over and over leaves one failure in the history. A
 * transient task becomes an ordinary first attempt again when something else was written meanwhile.
 */
#ifndef SERVICES_HISTORY_CORE_WORKFLOW_TASK_H
#define SERVICES_HISTORY_CORE_WORKFLOW_TASK_H

#include "services/history/core/api_names.h"
#include "services/history/core/core_internal.h"

#define SERVER_IDENTITY "history-service"

/* Schedules one unless there is one, also while a first-task backoff is pending. Precondition: open. */
void workflow_task_schedule(struct txn *t);
/* The same as the continuation of a heartbeat, which has been scheduled since `original_scheduled_ns`. */
void workflow_task_schedule_heartbeat(struct txn *t, int64_t original_scheduled_ns);

/* Writes the scheduled event of the task as it stands. */
HISTORY(HistoryEvent) *workflow_task_scheduled_event(struct txn *t, int64_t time_ns);

/* The started task's worker got it with this request id, now. Precondition: scheduled, not started. */
void workflow_task_start(struct txn *t, const char *request_id, const char *identity,
			 COMMON(WorkerVersionStamp) *version);
/* The public answer to whoever started it. */
void workflow_task_response(struct txn *t, WS(PollWorkflowTaskQueueResponse) *resp);

/* Writes the scheduled and started events of a transient task, which now count. */
void workflow_task_materialize(struct txn *t, const char *identity, COMMON(WorkerVersionStamp) *version);
/* Forgets the task. The next one is a first attempt. */
void workflow_task_completed(struct txn *t);

/*
 * The started task failed: WorkflowTaskFailed unless it is transient, and the next one is another attempt (of a task on
 * the normal queue) or a first one there (of one on a sticky queue).
 */
void workflow_task_fail(struct txn *t, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause,
			FAILURE(Failure) *failure, const char *identity, const char *binary_checksum);
/* By the server, and what was held during it is written: before the run is closed over it. Nothing if none is started.
 */
void workflow_task_force_close(struct txn *t);

void workflow_task_clear_sticky(struct txn *t);
/* The queue that the next task goes to: the sticky one if there is one. */
TASK_QUEUE(TaskQueue) *workflow_task_queue(struct txn *t);
/* The run's own. */
TASK_QUEUE(TaskQueue) *workflow_task_normal_queue(struct txn *t);

/* Like workflow_task_timed_out(), but nothing is scheduled. */
void workflow_task_end_by_timeout(struct txn *t);

/* Whether a worker has the very start of the task that the token speaks of. */
bool workflow_task_is(const struct txn *t, const Perdure__TaskToken *token);

/* "UnhandledCommand" */
const char *workflow_task_cause_name(struct arena *a, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause);

#endif
