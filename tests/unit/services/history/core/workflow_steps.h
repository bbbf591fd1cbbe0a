/*
 * More steps on the harness: what clients and workflow workers do beyond the common.
 */
#ifndef TESTS_UNIT_SERVICES_HISTORY_CORE_WORKFLOW_STEPS_H
#define TESTS_UNIT_SERVICES_HISTORY_CORE_WORKFLOW_STEPS_H

#include "core_harness.h"

typedef WS(RespondWorkflowTaskCompletedRequest) answer_t;

/* An answer with at most one command (NULL: none), identity "worker". */
answer_t *steps_answer_request(struct harness *h, COMMAND(Command) *command);
/* To the task polled last: committed, also when it was refused with a failed task (result.failed). */
struct wft_completed steps_answer(struct harness *h, const answer_t *req);
/* What the core says without a transition: the token is not good, the commands are in the wrong order, … */
struct err steps_answer_error(struct harness *h, const answer_t *req);
void steps_make_sticky(struct harness *h, answer_t *req, const char *queue);
/* The task in the answer is the one that the next answer is to. */
void steps_take_returned(struct harness *h, const struct wft_completed *done);

struct err steps_fail_task(struct harness *h, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause);

/* A poll on a queue (NULL: the run's own) with a request id; committed. */
Perdure__StartTaskReply__Outcome steps_poll(struct harness *h, const char *queue, bool sticky, const char *request_id,
					    WS(PollWorkflowTaskQueueResponse) *resp);
Perdure__StartTask *steps_start_task(struct harness *h, const char *request_id);

struct err steps_signal(struct harness *h, const char *request_id);
struct err steps_request_cancel(struct harness *h, const char *request_id);
struct err steps_terminate(struct harness *h);

COMMAND(Command) *steps_command(struct harness *h, int type);
COMMAND(Command) *steps_fail_workflow(struct harness *h, FAILURE(Failure) *failure);
COMMAND(Command) *steps_cancel_workflow(struct harness *h);
COMMAND(Command) *steps_continue_as_new(struct harness *h);

/* The attributes of the current run's first event. */
const HISTORY(WorkflowExecutionStartedEventAttributes) *steps_started(const struct harness *h);
void steps_assert_ok(struct err e);

#endif
