/*
 * Which method is served by whom. A method that is not in the table is answered UNIMPLEMENTED.
 */
#include "common/edge/internal.h"
#include "common/edge/polls/polls.h"

/* Retried when the outcome is unknown: reads, and what history recognises as a repetition, by its request id (which is
 * made up here when missing) or by its task token (a second answer changes nothing). */
#define READ(field)                                                                                                    \
	{                                                                                                              \
		.serve = forward_serve, .need = NEED_NAMESPACE, .check = check_execution, .execution = (field),        \
		.retry_lost = true                                                                                     \
	}
#define ANSWER                                                                                                         \
	{                                                                                                              \
		.serve = forward_serve, .need = NEED_TOKEN, .check = check_answer, .retry_lost = true                  \
	}
#define BY_ID                                                                                                          \
	{                                                                                                              \
		.serve = forward_serve, .need = NEED_NAMESPACE, .check = check_by_id, .workflow_id = "workflow_id"     \
	}

static const struct route routes[API_METHOD_COUNT] = {
	/* history */
	[API_METHOD_WORKFLOW_START_WORKFLOW_EXECUTION] = {.serve = forward_serve,
							  .need = NEED_NAMESPACE,
							  .states = NAMESPACE_MAY(REGISTERED),
							  .check = check_start,
							  .workflow_id = "workflow_id",
							  .request_id = REQUEST_ID_FILLED,
							  .retry_lost = true},
	[API_METHOD_WORKFLOW_SIGNAL_WORKFLOW_EXECUTION] = {.serve = forward_serve,
							   .need = NEED_NAMESPACE,
							   .check = check_signal,
							   .execution = "workflow_execution",
							   .request_id = REQUEST_ID_HIDDEN,
							   .retry_lost = true},
	[API_METHOD_WORKFLOW_REQUEST_CANCEL_WORKFLOW_EXECUTION] = {.serve = forward_serve,
								   .need = NEED_NAMESPACE,
								   .check = check_execution,
								   .execution = "workflow_execution",
								   .request_id = REQUEST_ID_FILLED,
								   .retry_lost = true},
	[API_METHOD_WORKFLOW_TERMINATE_WORKFLOW_EXECUTION] = {.serve = forward_serve,
							      .need = NEED_NAMESPACE,
							      .check = check_execution,
							      .execution = "workflow_execution"},
	[API_METHOD_WORKFLOW_DELETE_WORKFLOW_EXECUTION] = {.serve = forward_serve,
							   .need = NEED_NAMESPACE,
							   .check = check_execution,
							   .execution = "workflow_execution"},
	[API_METHOD_WORKFLOW_DESCRIBE_WORKFLOW_EXECUTION] = READ("execution"),
	[API_METHOD_WORKFLOW_GET_WORKFLOW_EXECUTION_HISTORY] = READ("execution"),
	[API_METHOD_WORKFLOW_GET_WORKFLOW_EXECUTION_HISTORY_REVERSE] = READ("execution"),
	[API_METHOD_WORKFLOW_RESET_STICKY_TASK_QUEUE] = READ("execution"),
	[API_METHOD_WORKFLOW_QUERY_WORKFLOW] = {.serve = forward_serve,
						.need = NEED_NAMESPACE,
						.check = check_query,
						.execution = "execution",
						.retry_lost = true},
	[API_METHOD_WORKFLOW_RESPOND_QUERY_TASK_COMPLETED] = {.serve = forward_serve,
							      .need = NEED_TOKEN,
							      .check = check_query_answer,
							      .retry_lost = true},
	[API_METHOD_WORKFLOW_RESPOND_WORKFLOW_TASK_COMPLETED] = ANSWER,
	[API_METHOD_WORKFLOW_RESPOND_WORKFLOW_TASK_FAILED] = ANSWER,
	[API_METHOD_WORKFLOW_RESPOND_ACTIVITY_TASK_COMPLETED] = ANSWER,
	[API_METHOD_WORKFLOW_RESPOND_ACTIVITY_TASK_FAILED] = ANSWER,
	[API_METHOD_WORKFLOW_RESPOND_ACTIVITY_TASK_CANCELED] = ANSWER,
	[API_METHOD_WORKFLOW_RECORD_ACTIVITY_TASK_HEARTBEAT] = ANSWER,
	[API_METHOD_WORKFLOW_RESPOND_ACTIVITY_TASK_COMPLETED_BY_ID] = BY_ID,
	[API_METHOD_WORKFLOW_RESPOND_ACTIVITY_TASK_FAILED_BY_ID] = BY_ID,
	[API_METHOD_WORKFLOW_RESPOND_ACTIVITY_TASK_CANCELED_BY_ID] = BY_ID,
	[API_METHOD_WORKFLOW_RECORD_ACTIVITY_TASK_HEARTBEAT_BY_ID] = BY_ID,

	/* workers */
	[API_METHOD_WORKFLOW_POLL_WORKFLOW_TASK_QUEUE] = {.serve = poll_serve,
							  .need = NEED_NAMESPACE,
							  .check = poll_check},
	[API_METHOD_WORKFLOW_POLL_ACTIVITY_TASK_QUEUE] = {.serve = poll_serve,
							  .need = NEED_NAMESPACE,
							  .check = poll_check},
	[API_METHOD_WORKFLOW_POLL_NEXUS_TASK_QUEUE] = {.serve = poll_serve,
						       .need = NEED_NAMESPACE,
						       .check = poll_check},
	[API_METHOD_WORKFLOW_SHUTDOWN_WORKER] = {.serve = poll_shutdown_serve, .need = NEED_NAMESPACE},
	[API_METHOD_WORKFLOW_DESCRIBE_TASK_QUEUE] = {.serve = task_queue_describe_serve,
						     .need = NEED_NAMESPACE,
						     .check = task_queue_describe_check},
	[API_METHOD_WORKFLOW_LIST_TASK_QUEUE_PARTITIONS] = {.serve = task_queue_partitions_serve,
							    .need = NEED_NAMESPACE,
							    .check = task_queue_partitions_check},

	/* namespaces */
	[API_METHOD_WORKFLOW_REGISTER_NAMESPACE] = {.serve = namespace_register_serve, .check = namespace_name_check},
	[API_METHOD_WORKFLOW_DESCRIBE_NAMESPACE] = {.serve = namespace_describe_serve},
	[API_METHOD_WORKFLOW_LIST_NAMESPACES] = {.serve = namespace_list_serve},
	[API_METHOD_WORKFLOW_UPDATE_NAMESPACE] = {.serve = namespace_update_serve, .check = namespace_name_check},
	[API_METHOD_WORKFLOW_DEPRECATE_NAMESPACE] = {.serve = namespace_deprecate_serve, .check = namespace_name_check},
	[API_METHOD_OPERATOR_DELETE_NAMESPACE] = {.serve = namespace_delete_serve},

	/* system */
	[API_METHOD_WORKFLOW_GET_SYSTEM_INFO] = {.serve = system_info_serve},
	[API_METHOD_WORKFLOW_GET_CLUSTER_INFO] = {.serve = cluster_info_serve},
	[API_METHOD_WORKFLOW_GET_SEARCH_ATTRIBUTES] = {.serve = search_attributes_serve},
};

const struct route *route_of(const struct api_method *method)
{
	const struct route *r = &routes[api_method_id_of(method)];
	return r->serve ? r : NULL;
}

bool edge_serves(const struct api_method *method)
{
	return route_of(method) != NULL;
}
