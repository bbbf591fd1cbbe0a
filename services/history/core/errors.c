/*
 * Errors and links that several requests answer with.
 */
#include "services/history/core/errors.h"

#include <temporal/api/errordetails/v1/message.pb-c.h>

#include "services/history/core/pbmsg.h"

struct err core_not_found(struct arena *a, const char *text)
{
	Temporal__Api__Errordetails__V1__NotFoundFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NOT_FOUND_FAILURE__INIT;
	return err_detail(a, err_static(ERR_NOT_FOUND, text), &detail.base);
}

struct err core_namespace_not_found(struct arena *a, const char *name)
{
	Temporal__Api__Errordetails__V1__NamespaceNotFoundFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NAMESPACE_NOT_FOUND_FAILURE__INIT;
	detail.namespace_ = (char *)name;
	return err_detail(a, err_make(a, ERR_NOT_FOUND, "Namespace %s is not found.", name), &detail.base);
}

struct err core_busy(struct arena *a, const char *text)
{
	Temporal__Api__Errordetails__V1__ResourceExhaustedFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__RESOURCE_EXHAUSTED_FAILURE__INIT;
	detail.cause = TEMPORAL__API__ENUMS__V1__RESOURCE_EXHAUSTED_CAUSE__RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW;
	detail.scope = TEMPORAL__API__ENUMS__V1__RESOURCE_EXHAUSTED_SCOPE__RESOURCE_EXHAUSTED_SCOPE_NAMESPACE;
	return err_detail(a, err_static(ERR_RESOURCE_EXHAUSTED, text), &detail.base);
}

static COMMON(Link) *event_link(struct arena *a, const char *namespace_name, const char *workflow_id,
				const char *run_id)
{
	COMMON(Link) *link = pb_new0(a, COMMON(Link), COMMON_FN(link));
	link->variant_case = TEMPORAL__API__COMMON__V1__LINK__VARIANT_WORKFLOW_EVENT;
	link->workflow_event = pb_new0(a, COMMON(Link__WorkflowEvent), COMMON_FN(link__workflow_event));
	link->workflow_event->namespace_ = arena_strdup(a, namespace_name);
	link->workflow_event->workflow_id = arena_strdup(a, workflow_id);
	link->workflow_event->run_id = arena_strdup(a, run_id);
	return link;
}

COMMON(Link) *core_started_link(struct arena *a, const char *namespace_name, const char *workflow_id,
				const char *run_id)
{
	COMMON(Link__WorkflowEvent__EventReference) *ref = pb_new0(a, COMMON(Link__WorkflowEvent__EventReference),
								   COMMON_FN(link__workflow_event__event_reference));
	ref->event_id = 1;
	ref->event_type = EVENT(WORKFLOW_EXECUTION_STARTED);
	COMMON(Link) *link = event_link(a, namespace_name, workflow_id, run_id);
	link->workflow_event->reference_case = TEMPORAL__API__COMMON__V1__LINK__WORKFLOW_EVENT__REFERENCE_EVENT_REF;
	link->workflow_event->event_ref = ref;
	return link;
}

COMMON(Link) *core_request_link(struct arena *a, const char *namespace_name, const char *workflow_id,
				const char *run_id, const char *request_id,
				Temporal__Api__Enums__V1__EventType event_type)
{
	COMMON(Link__WorkflowEvent__RequestIdReference) *ref =
		pb_new0(a, COMMON(Link__WorkflowEvent__RequestIdReference),
			COMMON_FN(link__workflow_event__request_id_reference));
	ref->request_id = arena_strdup(a, request_id);
	ref->event_type = event_type;
	COMMON(Link) *link = event_link(a, namespace_name, workflow_id, run_id);
	link->workflow_event->reference_case =
		TEMPORAL__API__COMMON__V1__LINK__WORKFLOW_EVENT__REFERENCE_REQUEST_ID_REF;
	link->workflow_event->request_id_ref = ref;
	return link;
}
