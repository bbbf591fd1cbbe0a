/*
 * The beginning of a run, whatever causes it: a start request, a retry, continue-as-new.
 */
#ifndef SERVICES_HISTORY_CORE_RUN_BEGIN_H
#define SERVICES_HISTORY_CORE_RUN_BEGIN_H

#include "services/history/core/api_names.h"
#include "services/history/core/txn.h"

/* An attributes message with what every beginning has: its run id and what follows from it. */
HISTORY(WorkflowExecutionStartedEventAttributes) *run_begin_attributes(struct txn *t, const char *workflow_id,
								       const char *run_id, const char *first_run_id);

struct run_beginning {
	HISTORY(WorkflowExecutionStartedEventAttributes) *attributes; /* complete; becomes the event's */
	const char *run_id;
	const char *request_id;
	size_t n_links;
	COMMON(Link) **links;
	Temporal__Api__Sdk__V1__UserMetadata *user_metadata;
	int64_t first_start_time_ns; /* of the first run of the chain; 0: this is the first */
};
/*
 * Fills the new run's state, writes WorkflowExecutionStarted, and schedules the first workflow task or remembers the
 * backoff before it. Precondition: t->run is NULL, nothing was written yet.
 */
void run_begin(struct txn *t, const struct run_beginning *b);

/* The shorter of both, where 0 means none. */
int64_t run_timeout_within(int64_t run_timeout_ns, int64_t execution_timeout_ns);
/* The default where there is none; never beyond the maximum nor the run's timeout (0: none). */
int64_t workflow_task_timeout_within(const struct core_config *config, int64_t task_timeout_ns, int64_t run_timeout_ns);

#endif
