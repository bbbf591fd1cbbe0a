/*
 * Everything that can happen to a run: one function a request, pure (txn.h). Requests and responses are the public
 * messages; a response is made in the transaction's arena.
 *
 * An error means that nothing happened. Texts, codes and details are those that clients of this API match on.
 */
#ifndef SERVICES_HISTORY_CORE_CORE_H
#define SERVICES_HISTORY_CORE_CORE_H

#include <perdure/cluster.pb-c.h>
#include <perdure/token.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "services/history/core/txn.h"

/* The public API's prefix is long: request WS(StartWorkflowExecutionRequest). */
#define WS(name) Temporal__Api__Workflowservice__V1__##name

/* ------------------------------------------------------------------ starting (start.c) */

struct start_decision {
	enum {
		START_NEW,	    /* begin the run with core_start() */
		START_DEDUPLICATED, /* the same request id: answer with the existing run, nothing to write */
		START_USE_EXISTING, /* conflict policy: answer with the existing run (core_start_attach() first) */
		START_TERMINATE_EXISTING, /* terminate it with core_terminate(), then core_start() in the same commit */
		START_REFUSED,
	} what;
	struct err refused; /* WorkflowExecutionAlreadyStarted failure with its detail */
};
/* Which, by id reuse policy, conflict policy and request id; current: the open run or the latest one, NULL: none. */
struct start_decision core_start_decide(const struct run *current, const WS(StartWorkflowExecutionRequest) *req,
					int64_t now_ns, struct arena *arena);
/* The whole request checked as the reference does (lengths, timeouts, policies, retry policy, …). Pure of state. */
must_check struct err core_start_validate(const struct core_config *config,
					  const WS(StartWorkflowExecutionRequest) *req, int64_t now_ns,
					  struct arena *arena);
/* t->run NULL. Makes the run, its first event, and its first workflow task (or the backoff before it). */
must_check struct err core_start(struct txn *t, const WS(StartWorkflowExecutionRequest) *req,
				 WS(StartWorkflowExecutionResponse) *resp);
/* The answer when the existing run is it: DEDUPLICATED, or USE_EXISTING (which core_start_attach() answers itself). */
void core_start_answer_existing(const struct run *current, const char *namespace_name,
				const WS(StartWorkflowExecutionRequest) *req, struct arena *arena,
				WS(StartWorkflowExecutionResponse) *resp);
/* USE_EXISTING with on_conflict_options: attaches request id, links, callbacks to the running one. */
must_check struct err core_start_attach(struct txn *t, const WS(StartWorkflowExecutionRequest) *req,
					WS(StartWorkflowExecutionResponse) *resp);

/* ------------------------------------------------------------------ to a run (signal.c, cancel.c, close.c) */

/* What the request alone must satisfy; to be asked before the run is looked for. */
must_check struct err core_signal_validate(const struct core_config *config, struct arena *arena,
					   const WS(SignalWorkflowExecutionRequest) *req);
must_check struct err core_request_cancel_validate(struct arena *arena,
						   const WS(RequestCancelWorkflowExecutionRequest) *req);
must_check struct err core_terminate_validate(struct arena *arena, const WS(TerminateWorkflowExecutionRequest) *req);
must_check struct err core_reset_sticky_validate(const WS(ResetStickyTaskQueueRequest) *req);

must_check struct err core_signal(struct txn *t, const WS(SignalWorkflowExecutionRequest) *req);
/* The answer to a signal that was accepted (or had been before). */
void core_signal_answer(const struct run *run, const char *namespace_name,
			const WS(SignalWorkflowExecutionRequest) *req, struct arena *arena,
			WS(SignalWorkflowExecutionResponse) *resp);
must_check struct err core_request_cancel(struct txn *t, const WS(RequestCancelWorkflowExecutionRequest) *req);
must_check struct err core_terminate(struct txn *t, const WS(TerminateWorkflowExecutionRequest) *req);
/* The run and its history go. An open run is terminated first, and whoever waits for its end hears of that. */
void core_delete(struct txn *t);
/* TERMINATE_EXISTING: makes way for a start, whose run id core_start() has just chosen. Precondition: open. */
void core_terminate_for_start(struct txn *t, const char *new_run_id);

/* ------------------------------------------------------------------ workflow tasks (workflow_task_*.c) */

/* Schedules one if the run is open, has none, and no first-task backoff is pending; used by whatever adds an event that
 * a worker must see. */
void core_schedule_workflow_task(struct txn *t);

/*
 * A gateway has a poll. outcome ALREADY_STARTED / GONE: nothing to write. STARTED: the response's fields are set but
 * for `history`, `next_page_token` and `queries`, which the shell adds (it has the events and knows the queries). The
 * same request id as the stored start gets the same answer (nothing written).
 */
must_check struct err core_start_workflow_task(struct txn *t, const Perdure__StartTask *req,
					       const WS(PollWorkflowTaskQueueRequest) *poll,
					       Perdure__StartTaskReply__Outcome *ret_outcome,
					       WS(PollWorkflowTaskQueueResponse) *resp);
/* The scheduled and started events of a transient or speculative task, which end the response's history but are not in
 * the log; empty for a normal one. Ids follow the log's. */
void core_transient_events(struct txn *t, Temporal__Api__History__V1__HistoryEvent **ret_scheduled,
			   Temporal__Api__History__V1__HistoryEvent **ret_started);
must_check struct err core_revert_workflow_task(struct txn *t, const Perdure__RevertStart *req);

struct wft_completed {
	WS(RespondWorkflowTaskCompletedResponse) *response; /* workflow_task for return_new_workflow_task is made by the
							     * shell when start_new is set */
	bool start_new;	   /* a new workflow task was scheduled and started for this worker */
	struct err failed; /* the answer was refused: a WorkflowTaskFailed event was written (commit it!) and this
			    * error goes to the worker (bad command, UNHANDLED_COMMAND, …) */
};
/*
 * An answer that has been taken already is repeated because its response was lost (a worker whose response arrived has
 * no reason to): what the response handed to the worker, eager activities or the next workflow task, is handed out
 * again, unless it has moved on since. Without such a thing it is NOT_FOUND like any answer to a task that is over.
 */
must_check struct err core_complete_workflow_task(struct txn *t, const Perdure__TaskToken *token,
						  const WS(RespondWorkflowTaskCompletedRequest) *req,
						  struct wft_completed *ret);
must_check struct err core_fail_workflow_task(struct txn *t, const Perdure__TaskToken *token,
					      const WS(RespondWorkflowTaskFailedRequest) *req);
must_check struct err core_reset_sticky(struct txn *t);
/* The sticky queue's worker is gone: the scheduled task goes to the normal queue (new stamp). */
void core_sticky_lost(struct txn *t);

/* ------------------------------------------------------------------ commands (command_*.c) */

/* One command of a workflow task's answer. A failure cause other than UNSPECIFIED fails the whole task. */
struct command_failure {
	Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause;
	const char *message;
	bool terminate; /* the run is terminated instead (blob too large) */
};
struct command_ctx {
	struct txn *t;
	int64_t completed_event_id; /* workflow task completed */
	uint64_t start_nonce;	    /* of that task's start */
	const char *identity;
	bool new_task; /* out: something happened at once that needs a workflow task */
	struct command_failure failure;
	struct err refused; /* instead of a failure: the whole answer is refused, nothing happens */
	bool has_buffered;  /* events that the worker has not seen wait: no command may close the run. A command
			     * that takes one back (cancel of a timer that fired) looks again */
	int64_t *eager;	    /* out: scheduled event ids of activities to be started for this worker */
	size_t eager_count, eager_cap;
};
/* Returns false when it set failure or refused. Called from the table in workflow_task_complete.c by command type. */
typedef bool command_fn(struct command_ctx *c, const Temporal__Api__Command__V1__Command *command);
command_fn command_schedule_activity, command_cancel_activity, command_start_timer, command_cancel_timer,
	command_record_marker, command_complete_workflow, command_fail_workflow, command_cancel_workflow,
	command_continue_as_new, command_upsert_search_attributes, command_modify_properties, command_signal_external,
	command_cancel_external, command_start_child;

/* ------------------------------------------------------------------ activities (activity_*.c) */

must_check struct err core_start_activity(struct txn *t, const Perdure__StartTask *req,
					  const WS(PollActivityTaskQueueRequest) *poll,
					  Perdure__StartTaskReply__Outcome *ret_outcome,
					  WS(PollActivityTaskQueueResponse) *resp);
must_check struct err core_revert_activity(struct txn *t, const Perdure__RevertStart *req);
/*
 * The gateway for which it was started is gone, and nobody knows whether a worker got it: the attempt ends at once as
 * by its start-to-close timeout, if another may follow. Otherwise nothing happens: it keeps its timeouts.
 * Nothing either once there is a sign of its worker, or when it was started by another poll, or a while ago.
 */
must_check struct err core_lost_activity(struct txn *t, const Perdure__RevertStart *req);
/* How an answer names its activity: by token, or by id (token NULL). */
struct activity_ref {
	const Perdure__TaskToken *token;
	const char *activity_id;
};
must_check struct err core_complete_activity(struct txn *t, struct activity_ref ref,
					     const Temporal__Api__Common__V1__Payloads *result, const char *identity);
must_check struct err core_fail_activity(struct txn *t, struct activity_ref ref,
					 const Temporal__Api__Failure__V1__Failure *failure,
					 const Temporal__Api__Common__V1__Payloads *last_heartbeat_details,
					 const char *identity);
/*
 * Before core_fail_activity(), for RespondActivityTaskFailed (by_id: …ById): refuses what is no application failure,
 * and cuts what is too large for an event. The failures that this made belong into the response.
 */
must_check struct err core_fit_activity_failure(const struct core_config *config, struct arena *arena, bool by_id,
						Temporal__Api__Failure__V1__Failure **failure,
						Temporal__Api__Common__V1__Payloads **last_heartbeat_details,
						size_t *ret_count, Temporal__Api__Failure__V1__Failure ***ret_failures);
must_check struct err core_cancel_activity(struct txn *t, struct activity_ref ref,
					   const Temporal__Api__Common__V1__Payloads *details, const char *identity);
/*
 * A heartbeat changes the run in place (it is not journalled at once: up to a second of them may be lost) and says
 * whether the worker should stop. Not a transition: run is not const.
 */
struct heartbeat_reply {
	bool cancel_requested, paused, reset;
};
must_check struct err core_heartbeat(struct run *run, struct activity_ref ref, int64_t now_ns, struct arena *arena,
				     const Temporal__Api__Common__V1__Payloads *details, const char *identity,
				     struct heartbeat_reply *ret);
/* Details beyond the blob limit: instead of core_heartbeat() the activity is failed with core_heartbeat_refuse(), and
 * the worker is answered that cancel is requested. */
bool core_heartbeat_too_large(const struct core_config *config, const Temporal__Api__Common__V1__Payloads *details);
must_check struct err core_heartbeat_refuse(struct txn *t, struct activity_ref ref, const char *identity);
/* A transition of its own, or part of any: puts the activities whose heartbeats are newer than the journal, so that the
 * delta carries them. */
void core_heartbeat_flush(struct txn *t);

/* ------------------------------------------------------------------ time (timeout.c) */

/*
 * Everything that is due at t->now_ns: timers, activity timeouts (all four, with retry), workflow task timeouts, run
 * and execution timeouts, first workflow task backoff. Also called after a takeover with grace_ns > 0, which postpones
 * the timeouts that depend on a worker being able to reach us (heartbeat, start-to-close); while there is grace, what
 * run_wake_at() says may be that much too early.
 */
must_check struct err core_on_time(struct txn *t, int64_t grace_ns);

/* ------------------------------------------------------------------ after the commit (effects.c) */

/* What must be with matching now: the workflow task and activities that are scheduled, due and not started, and whose
 * stamp was not offered yet. Marks them offered when `mark`. Called after every commit and after recovery. */
typedef void core_offer_fn(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task);
void core_offers(struct run *run, int64_t now_ns, uint32_t shard, bool mark, core_offer_fn *fn, void *ctx);
/* The same, offered or not. */
void core_tasks(const struct run *run, int64_t now_ns, uint32_t shard, core_offer_fn *fn, void *ctx);
/* Whether that task (an attempt: of that stamp) is still to be started. */
bool core_task_waits(const struct run *run, Perdure__TaskKind kind, int64_t scheduled_event_id, int64_t stamp);
/* Forgets that anything was offered: all of it is offered again by the next core_offers(). */
void core_offers_forget(struct run *run);

/* ------------------------------------------------------------------ reading (describe.c, query.c) */

/* The response refers to the run: pack it before the run changes. */
must_check struct err core_describe(const struct run *run, const struct core_config *config, struct arena *arena,
				    int64_t now_ns, const char *namespace_name,
				    WS(DescribeWorkflowExecutionResponse) *resp);

#endif
