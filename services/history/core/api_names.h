/*
 * Short names for the generated ones of the public API.
 */
#ifndef SERVICES_HISTORY_CORE_API_NAMES_H
#define SERVICES_HISTORY_CORE_API_NAMES_H

#include <temporal/api/command/v1/message.pb-c.h>
#include <temporal/api/enums/v1/common.pb-c.h>
#include <temporal/api/enums/v1/event_type.pb-c.h>
#include <temporal/api/enums/v1/failed_cause.pb-c.h>
#include <temporal/api/enums/v1/task_queue.pb-c.h>
#include <temporal/api/enums/v1/workflow.pb-c.h>
#include <temporal/api/failure/v1/message.pb-c.h>
#include <temporal/api/history/v1/message.pb-c.h>
#include <temporal/api/taskqueue/v1/message.pb-c.h>
#include <temporal/api/workflow/v1/message.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

/* Messages: COMMON(Payloads), HISTORY(HistoryEvent). */
#define COMMON(name)	 Temporal__Api__Common__V1__##name
#define HISTORY(name)	 Temporal__Api__History__V1__##name
#define COMMAND(name)	 Temporal__Api__Command__V1__##name
#define FAILURE(name)	 Temporal__Api__Failure__V1__##name
#define TASK_QUEUE(name) Temporal__Api__Taskqueue__V1__##name
#define WORKFLOW(name)	 Temporal__Api__Workflow__V1__##name

/* Their functions and descriptors: pb_new0(arena, COMMON(Link), COMMON_FN(link)). */
#define COMMON_FN(name)	    temporal__api__common__v1__##name
#define HISTORY_FN(name)    temporal__api__history__v1__##name
#define FAILURE_FN(name)    temporal__api__failure__v1__##name
#define TASK_QUEUE_FN(name) temporal__api__taskqueue__v1__##name
#define WORKFLOW_FN(name)   temporal__api__workflow__v1__##name
#define WS_FN(name)	    temporal__api__workflowservice__v1__##name

/* Enumerators. */
#define EVENT(name)	   TEMPORAL__API__ENUMS__V1__EVENT_TYPE__EVENT_TYPE_##name
#define STATUS(name)	   TEMPORAL__API__ENUMS__V1__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_##name
#define REUSE(name)	   TEMPORAL__API__ENUMS__V1__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_##name
#define CONFLICT(name)	   TEMPORAL__API__ENUMS__V1__WORKFLOW_ID_CONFLICT_POLICY__WORKFLOW_ID_CONFLICT_POLICY_##name
#define QUEUE_KIND(name)   TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_##name
#define INITIATOR(name)	   TEMPORAL__API__ENUMS__V1__CONTINUE_AS_NEW_INITIATOR__CONTINUE_AS_NEW_INITIATOR_##name
#define TIMEOUT_TYPE(name) TEMPORAL__API__ENUMS__V1__TIMEOUT_TYPE__TIMEOUT_TYPE_##name
#define COMMAND_TYPE(name) TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_##name
#define SUGGEST_CAN(name)                                                                                              \
	TEMPORAL__API__ENUMS__V1__SUGGEST_CONTINUE_AS_NEW_REASON__SUGGEST_CONTINUE_AS_NEW_REASON_##name

#endif
