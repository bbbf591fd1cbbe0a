/*
 * How a run ends, and the run that follows it.
 */
#ifndef SERVICES_HISTORY_CORE_CLOSE_H
#define SERVICES_HISTORY_CORE_CLOSE_H

#include "services/history/core/api_names.h"
#include "services/history/core/core_internal.h"
#include "services/history/core/retry.h"

/*
 * Writes the close event and settles what the state says of a closed run; the caller fills the event's attributes.
 * Precondition: open, and the workflow task that was with a worker has ended.
 */
HISTORY(HistoryEvent) *close_run(struct txn *t, Temporal__Api__Enums__V1__EventType type,
				 Temporal__Api__Enums__V1__WorkflowExecutionStatus status);

/* Ends the workflow task a worker may have, and the run. Texts are copied. */
void close_terminate(struct txn *t, const char *reason, COMMON(Payloads) *details, const char *identity,
		     COMMON(Link) **links, size_t n_links);

/* The run that follows one that closes by itself: its next attempt, or the next one of its cron schedule. */
struct successor {
	Temporal__Api__Enums__V1__ContinueAsNewInitiator initiator; /* RETRY, CRON_SCHEDULE; UNSPECIFIED: none */
	int64_t backoff_ns;
	char run_id[37]; /* drawn, for the close event; "" */
};
/* After a failure (of the run's code, or a timeout), and what the retry policy says to it. */
struct successor close_successor_of_failed(struct txn *t, const FAILURE(Failure) *failure,
					   Temporal__Api__Enums__V1__RetryState *ret_retry_state);
struct successor close_successor_of_completed(struct txn *t);
/* Begins it (t->next) as this run was begun, if there is one. `result` is the last completion result it is told,
 * `failure` the last failure; both may be NULL. To be called when the run is closed. */
void close_begin_successor(struct txn *t, const struct successor *s, COMMON(Payloads) *result,
			   FAILURE(Failure) *failure);
/* The last completion result that this run itself was told. */
COMMON(Payloads) *close_inherited_result(struct txn *t);

/* Begins a run (t->next) as the command says; its fields have their final values (command_workflow.c). */
void close_continue_as_new(struct txn *t, const char *run_id,
			   const COMMAND(ContinueAsNewWorkflowExecutionCommandAttributes) *command);

#endif
