/*
 * Errors and links that several requests answer with.
 */
#ifndef SERVICES_HISTORY_CORE_ERRORS_H
#define SERVICES_HISTORY_CORE_ERRORS_H

#include "common/err/err.h"
#include "services/history/core/api_names.h"

/* NOT_FOUND with its typed detail; `text` must live as long as the arena. */
must_check struct err core_not_found(struct arena *a, const char *text);
/* "Namespace … is not found." with its detail. */
must_check struct err core_namespace_not_found(struct arena *a, const char *name);
/* RESOURCE_EXHAUSTED, cause BUSY_WORKFLOW. */
must_check struct err core_busy(struct arena *a, const char *text);

#define WORKFLOW_COMPLETED_TEXT "workflow execution already completed"

/* To the run's first event. The strings are copied. */
COMMON(Link) *core_started_link(struct arena *a, const char *namespace_name, const char *workflow_id,
				const char *run_id);
/* To the event that a request made, by the request's id. */
COMMON(Link) *core_request_link(struct arena *a, const char *namespace_name, const char *workflow_id,
				const char *run_id, const char *request_id,
				Temporal__Api__Enums__V1__EventType event_type);

#endif
