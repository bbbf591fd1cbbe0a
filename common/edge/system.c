/*
 * What this server is and can: GetSystemInfo, GetClusterInfo, GetSearchAttributes.
 */
#include <temporal/api/enums/v1/common.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/edge/internal.h"

/*
 * The release of the API's other server that this one behaves like: clients and the web UI switch features by it. Our
 * own version follows as build metadata, which semantic versioning ignores.
 */
#define API_LEVEL "1.30.6"

#define VALUE_TYPE(name) TEMPORAL__API__ENUMS__V1__INDEXED_VALUE_TYPE__INDEXED_VALUE_TYPE_##name

static char *server_version(struct edge_call *c)
{
	return arena_printf(edge_arena(c), API_LEVEL "+perdure-%s", c->edge->config.version);
}

void system_info_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	/* A capability is true when it works, and not before: clients act on it. */
	Temporal__Api__Workflowservice__V1__GetSystemInfoResponse__Capabilities can =
		TEMPORAL__API__WORKFLOWSERVICE__V1__GET_SYSTEM_INFO_RESPONSE__CAPABILITIES__INIT;
	can.signal_and_query_header = true;
	can.internal_error_differentiation = true;
	can.activity_failure_include_heartbeat = true;
	can.encoded_failure_attributes = true;
	can.upsert_memo = true;
	can.sdk_metadata = true;
	Temporal__Api__Workflowservice__V1__GetSystemInfoResponse resp =
		TEMPORAL__API__WORKFLOWSERVICE__V1__GET_SYSTEM_INFO_RESPONSE__INIT;
	resp.server_version = server_version(c);
	resp.capabilities = &can;
	edge_reply(c, &resp.base);
}

void cluster_info_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	static const char *const clients[][2] = {
		{"temporal-go", "<2.0.0"},  {"temporal-java", "<2.0.0"},       {"temporal-php", "<2.0.0"},
		{"temporal-cli", "<2.0.0"}, {"temporal-typescript", "<2.0.0"}, {"temporal-ui", "<3.0.0"},
		{"Nexus-go-sdk", "<2.0.0"}, {"temporal-server", "<2.0.0"},
	};
	typedef Temporal__Api__Workflowservice__V1__GetClusterInfoResponse__SupportedClientsEntry entry;
	entry entries[array_len(clients)], *list[array_len(clients)];
	for (size_t i = 0; i < array_len(clients); i++) {
		temporal__api__workflowservice__v1__get_cluster_info_response__supported_clients_entry__init(
			&entries[i]);
		entries[i].key = (char *)clients[i][0];
		entries[i].value = (char *)clients[i][1];
		list[i] = &entries[i];
	}
	const struct edge_config *config = &c->edge->config;
	Temporal__Api__Workflowservice__V1__GetClusterInfoResponse resp =
		TEMPORAL__API__WORKFLOWSERVICE__V1__GET_CLUSTER_INFO_RESPONSE__INIT;
	resp.n_supported_clients = array_len(clients);
	resp.supported_clients = list;
	resp.server_version = server_version(c);
	resp.cluster_id = (char *)config->cluster_id;
	resp.cluster_name = (char *)config->cluster_name;
	resp.history_shard_count = (int32_t)config->shard_count;
	resp.persistence_store = (char *)"postgresql";
	resp.visibility_store = (char *)"postgresql";
	resp.initial_failover_version = 1;
	resp.failover_version_increment = 10;
	edge_reply(c, &resp.base);
}

/* Those of every namespace: what the server keeps of a run, and what its own parts and the SDKs set. */
static const struct {
	const char *name;
	Temporal__Api__Enums__V1__IndexedValueType type;
} attributes[] = {
	{"WorkflowId", VALUE_TYPE(KEYWORD)},
	{"RunId", VALUE_TYPE(KEYWORD)},
	{"WorkflowType", VALUE_TYPE(KEYWORD)},
	{"StartTime", VALUE_TYPE(DATETIME)},
	{"ExecutionTime", VALUE_TYPE(DATETIME)},
	{"CloseTime", VALUE_TYPE(DATETIME)},
	{"ExecutionStatus", VALUE_TYPE(KEYWORD)},
	{"TaskQueue", VALUE_TYPE(KEYWORD)},
	{"HistoryLength", VALUE_TYPE(INT)},
	{"HistorySizeBytes", VALUE_TYPE(INT)},
	{"ExecutionDuration", VALUE_TYPE(INT)},
	{"StateTransitionCount", VALUE_TYPE(INT)},
	{"ParentWorkflowId", VALUE_TYPE(KEYWORD)},
	{"ParentRunId", VALUE_TYPE(KEYWORD)},
	{"RootWorkflowId", VALUE_TYPE(KEYWORD)},
	{"RootRunId", VALUE_TYPE(KEYWORD)},
	{"TemporalChangeVersion", VALUE_TYPE(KEYWORD_LIST)},
	{"BinaryChecksums", VALUE_TYPE(KEYWORD_LIST)},
	{"BuildIds", VALUE_TYPE(KEYWORD_LIST)},
	{"BatcherNamespace", VALUE_TYPE(KEYWORD)},
	{"BatcherUser", VALUE_TYPE(KEYWORD)},
	{"TemporalScheduledStartTime", VALUE_TYPE(DATETIME)},
	{"TemporalScheduledById", VALUE_TYPE(KEYWORD)},
	{"TemporalSchedulePaused", VALUE_TYPE(BOOL)},
	{"TemporalNamespaceDivision", VALUE_TYPE(KEYWORD)},
	{"TemporalPauseInfo", VALUE_TYPE(KEYWORD_LIST)},
	{"TemporalReportedProblems", VALUE_TYPE(KEYWORD_LIST)},
	{"TemporalWorkerDeployment", VALUE_TYPE(KEYWORD)},
	{"TemporalWorkerDeploymentVersion", VALUE_TYPE(KEYWORD)},
	{"TemporalWorkflowVersioningBehavior", VALUE_TYPE(KEYWORD)},
	{"TemporalUsedWorkerDeploymentVersions", VALUE_TYPE(KEYWORD_LIST)},
	{"TemporalExternalPayloadCount", VALUE_TYPE(INT)},
	{"TemporalExternalPayloadSizeBytes", VALUE_TYPE(INT)},
};

void search_attributes_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	typedef Temporal__Api__Workflowservice__V1__GetSearchAttributesResponse__KeysEntry entry;
	entry entries[array_len(attributes)], *list[array_len(attributes)];
	for (size_t i = 0; i < array_len(attributes); i++) {
		temporal__api__workflowservice__v1__get_search_attributes_response__keys_entry__init(&entries[i]);
		entries[i].key = (char *)attributes[i].name;
		entries[i].value = attributes[i].type;
		list[i] = &entries[i];
	}
	Temporal__Api__Workflowservice__V1__GetSearchAttributesResponse resp =
		TEMPORAL__API__WORKFLOWSERVICE__V1__GET_SEARCH_ATTRIBUTES_RESPONSE__INIT;
	resp.n_keys = array_len(attributes);
	resp.keys = list;
	edge_reply(c, &resp.base);
}
