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

/* What the retry policy of the run says after such a failure. */
struct retry_verdict close_retry_verdict(struct txn *t, const FAILURE(Failure) *failure);

/* The transaction (t->next) of a run that follows this one, with its run id drawn. */
struct txn *close_next(struct txn *t, char run_id[37]);
/* The next attempt of the run: the same start, after the interval. `next` comes from close_next(). `keep_result`: the
 * result that the run before this one left is handed on. */
void close_retry(struct txn *t, struct txn *next, const char *run_id, int64_t interval_ns, FAILURE(Failure) *failure,
		 bool keep_result);
/* `next` begins as the command says; its fields have their final values (command_workflow.c). */
void close_continue_as_new(struct txn *t, struct txn *next, const char *run_id,
			   const COMMAND(ContinueAsNewWorkflowExecutionCommandAttributes) *command);

#endif
