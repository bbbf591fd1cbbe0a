/*
 * Registering, describing and deprecating namespaces, and the errors that speak of them. Updating: namespace_update.c.
 */
#include "common/namespaces/namespace_api.h"

#include <temporal/api/errordetails/v1/message.pb-c.h>

#include "common/namespaces/namespace_internal.h"

struct err namespace_not_found(struct arena *a, const char *name_or_id)
{
	Temporal__Api__Errordetails__V1__NamespaceNotFoundFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NAMESPACE_NOT_FOUND_FAILURE__INIT;
	detail.namespace_ = (char *)name_or_id;
	return err_detail(a, err_make(a, ERR_NOT_FOUND, "Namespace %s is not found.", name_or_id), &detail.base);
}

struct err namespace_exists(struct arena *a, const char *name)
{
	Temporal__Api__Errordetails__V1__NamespaceAlreadyExistsFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NAMESPACE_ALREADY_EXISTS_FAILURE__INIT;
	return err_detail(a, err_make(a, ERR_ALREADY_EXISTS, "Namespace \"%s\" already exists", name), &detail.base);
}

static const char *state_name(int state)
{
	static const char *const names[] = {"Unspecified", "Registered", "Deprecated", "Deleted"};
	return state >= 0 && (size_t)state < array_len(names) ? names[state] : "Unspecified";
}

struct err namespace_check_state(struct arena *a, const Perdure__NamespaceRecord *r, unsigned allowed)
{
	if (r->state >= 0 && r->state < 32 && (allowed >> r->state) & 1)
		return err_ok;
	Temporal__Api__Errordetails__V1__NamespaceInvalidStateFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NAMESPACE_INVALID_STATE_FAILURE__INIT;
	Temporal__Api__Enums__V1__NamespaceState states[4];
	const char *text = "";
	for (int s = 0; s < 4; s++) {
		if (!((allowed >> s) & 1))
			continue;
		text = arena_printf(a, "%s%s%s", text, *text ? " or " : "", state_name(s));
		states[detail.n_allowed_states++] = (Temporal__Api__Enums__V1__NamespaceState)s;
	}
	detail.namespace_ = r->name;
	detail.state = (Temporal__Api__Enums__V1__NamespaceState)r->state;
	detail.allowed_states = states;
	struct err e = err_make(a, ERR_FAILED_PRECONDITION, "Namespace has invalid state: %s. Must be %s.",
				state_name(r->state), text);
	return err_detail(a, e, &detail.base);
}

struct err namespace_retention(const struct namespace_api *api, const Google__Protobuf__Duration *d, int64_t *ret_ns)
{
	int64_t seconds = d ? d->seconds : 0, nanos = d ? d->nanos : 0;
	bool valid = seconds >= 0 && nanos >= 0 && nanos < NS_PER_S;
	/* Above a hundred years it is cut. */
	*ret_ns = valid && seconds < RETENTION_MAX_S ? seconds * NS_PER_S + nanos : RETENTION_MAX_S * NS_PER_S;
	if (!valid || *ret_ns < (api->retention_min_ns ? api->retention_min_ns : RETENTION_MIN_NS))
		return err_static(ERR_INVALID_ARGUMENT, "A valid retention period is not set on request.");
	return err_ok;
}

struct err namespace_clusters(const struct namespace_api *api, const char *active, size_t count,
			      Temporal__Api__Replication__V1__ClusterReplicationConfig **clusters, struct arena *a)
{
	if (!str_empty(active) && !str_eq(active, api->cluster_name))
		return err_make(a, ERR_INVALID_ARGUMENT, "Invalid cluster name: %s", active);
	for (size_t i = 0; i < count; i++)
		if (!str_eq(clusters[i]->cluster_name, api->cluster_name))
			return err_make(a, ERR_INVALID_ARGUMENT, "Invalid cluster name: %s", clusters[i]->cluster_name);
	if (count > 1)
		return err_static(ERR_INVALID_ARGUMENT, "Invalid local namespace clusters");
	return err_ok;
}

struct err namespace_register_check(const struct namespace_api *api,
				    const Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest *req)
{
	int64_t retention_ns;
	if (req->is_global_namespace)
		return err_static(ERR_INVALID_ARGUMENT, "Cannot register global namespace when not enabled");
	return namespace_retention(api, req->workflow_execution_retention_period, &retention_ns);
}

struct err namespace_register(const struct namespace_api *api,
			      const Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest *req, const char *id,
			      int64_t now_ns, struct arena *a, Perdure__NamespaceRecord **ret)
{
	int64_t retention_ns;
	try(namespace_register_check(api, req));
	try(namespace_retention(api, req->workflow_execution_retention_period, &retention_ns));
	try(namespace_clusters(api, req->active_cluster_name, req->n_clusters, req->clusters, a));

	Perdure__NamespaceRecord *r = arena_new0(a, Perdure__NamespaceRecord);
	perdure__namespace_record__init(r);
	r->id = arena_strdup(a, id);
	r->name = arena_strdup(a, req->namespace_);
	r->state = TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_REGISTERED;
	r->description = req->description;
	r->owner_email = req->owner_email;
	r->retention_ns = retention_ns;
	r->created_time_ns = now_ns;
	for (size_t i = 0; i < req->n_data; i++)
		namespace_put_data(r, req->data[i]->key, req->data[i]->value, a);
	*ret = r;
	return err_ok;
}

void namespace_put_data(Perdure__NamespaceRecord *r, char *key, char *value, struct arena *a)
{
	for (size_t i = 0; i < r->n_data; i++) {
		if (str_eq(r->data[i]->key, key)) {
			r->data[i] = namespace_data_entry(key, value, a);
			return;
		}
	}
	Perdure__NamespaceRecord__DataEntry **grown =
		arena_array(a, Perdure__NamespaceRecord__DataEntry *, r->n_data + 1);
	if (r->n_data)
		memcpy(grown, r->data, r->n_data * sizeof *grown);
	grown[r->n_data++] = namespace_data_entry(key, value, a);
	r->data = grown;
}

Perdure__NamespaceRecord__DataEntry *namespace_data_entry(char *key, char *value, struct arena *a)
{
	Perdure__NamespaceRecord__DataEntry *e = arena_new0(a, Perdure__NamespaceRecord__DataEntry);
	perdure__namespace_record__data_entry__init(e);
	e->key = key;
	e->value = value;
	return e;
}

Perdure__NamespaceRecord *namespace_copy(const Perdure__NamespaceRecord *old, struct arena *a)
{
	Perdure__NamespaceRecord *r = arena_new0(a, Perdure__NamespaceRecord);
	*r = *old;
	if (r->n_data) {
		r->data = arena_array(a, Perdure__NamespaceRecord__DataEntry *, r->n_data);
		memcpy(r->data, old->data, r->n_data * sizeof *r->data);
	}
	return r;
}

Perdure__NamespaceRecord *namespace_deprecate(const Perdure__NamespaceRecord *old, struct arena *a)
{
	Perdure__NamespaceRecord *r = namespace_copy(old, a);
	r->state = TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_DEPRECATED;
	return r;
}

Temporal__Api__Namespace__V1__NamespaceConfig *namespace_config(const Perdure__NamespaceRecord *r, struct arena *a)
{
	Temporal__Api__Namespace__V1__NamespaceConfig *c =
		temporal__api__namespace__v1__namespace_config__unpack(arena_pb(a), r->config.len, r->config.data);
	if (!c) {
		c = arena_new0(a, Temporal__Api__Namespace__V1__NamespaceConfig);
		temporal__api__namespace__v1__namespace_config__init(c);
	}
	if (!c->bad_binaries) {
		c->bad_binaries = arena_new0(a, Temporal__Api__Namespace__V1__BadBinaries);
		temporal__api__namespace__v1__bad_binaries__init(c->bad_binaries);
	}
	return c;
}

bool namespace_bad_binary(const Perdure__NamespaceRecord *r, const char *checksum, struct arena *a)
{
	if (str_empty(checksum) || !r->config.len)
		return false;
	const Temporal__Api__Namespace__V1__BadBinaries *b = namespace_config(r, a)->bad_binaries;
	for (size_t i = 0; i < b->n_binaries; i++)
		if (str_eq(b->binaries[i]->key, checksum))
			return true;
	return false;
}

/* ------------------------------------------------------------------ describing */

static Temporal__Api__Namespace__V1__NamespaceInfo *describe_info(const struct namespace_api *api,
								  const Perdure__NamespaceRecord *r, struct arena *a)
{
	Temporal__Api__Namespace__V1__NamespaceInfo *info = arena_new0(a, Temporal__Api__Namespace__V1__NamespaceInfo);
	temporal__api__namespace__v1__namespace_info__init(info);
	info->name = r->name;
	info->id = r->id;
	info->state = (Temporal__Api__Enums__V1__NamespaceState)r->state;
	info->description = r->description;
	info->owner_email = r->owner_email;
	info->n_data = r->n_data;
	info->data = arena_array(a, Temporal__Api__Namespace__V1__NamespaceInfo__DataEntry *, r->n_data + 1);
	for (size_t i = 0; i < r->n_data; i++) {
		Temporal__Api__Namespace__V1__NamespaceInfo__DataEntry *e =
			arena_new0(a, Temporal__Api__Namespace__V1__NamespaceInfo__DataEntry);
		temporal__api__namespace__v1__namespace_info__data_entry__init(e);
		e->key = r->data[i]->key;
		e->value = r->data[i]->value;
		info->data[i] = e;
	}
	/* All false: what a capability promises is set when it works. */
	info->capabilities = arena_new0(a, Temporal__Api__Namespace__V1__NamespaceInfo__Capabilities);
	temporal__api__namespace__v1__namespace_info__capabilities__init(info->capabilities);
	info->limits = arena_new0(a, Temporal__Api__Namespace__V1__NamespaceInfo__Limits);
	temporal__api__namespace__v1__namespace_info__limits__init(info->limits);
	info->limits->blob_size_limit_error = api->payload_bytes_max;
	info->limits->memo_size_limit_error = api->memo_bytes_max;
	info->limits->workflow_task_completion_size_limit_error = api->request_bytes_max;
	return info;
}

static Temporal__Api__Namespace__V1__NamespaceConfig *describe_config(const Perdure__NamespaceRecord *r,
								      struct arena *a)
{
	Temporal__Api__Namespace__V1__NamespaceConfig *c = namespace_config(r, a);
	Google__Protobuf__Duration *d = arena_new0(a, Google__Protobuf__Duration);
	google__protobuf__duration__init(d);
	d->seconds = r->retention_ns / NS_PER_S;
	d->nanos = (int32_t)(r->retention_ns % NS_PER_S);
	c->workflow_execution_retention_ttl = d;
	c->history_archival_state = TEMPORAL__API__ENUMS__V1__ARCHIVAL_STATE__ARCHIVAL_STATE_DISABLED;
	c->visibility_archival_state = TEMPORAL__API__ENUMS__V1__ARCHIVAL_STATE__ARCHIVAL_STATE_DISABLED;
	return c;
}

static Temporal__Api__Replication__V1__NamespaceReplicationConfig *describe_replication(const struct namespace_api *api,
											struct arena *a)
{
	Temporal__Api__Replication__V1__NamespaceReplicationConfig *c =
		arena_new0(a, Temporal__Api__Replication__V1__NamespaceReplicationConfig);
	temporal__api__replication__v1__namespace_replication_config__init(c);
	c->active_cluster_name = arena_strdup(a, api->cluster_name);
	c->clusters = arena_array(a, Temporal__Api__Replication__V1__ClusterReplicationConfig *, 1);
	c->n_clusters = 1;
	c->clusters[0] = arena_new0(a, Temporal__Api__Replication__V1__ClusterReplicationConfig);
	temporal__api__replication__v1__cluster_replication_config__init(c->clusters[0]);
	c->clusters[0]->cluster_name = c->active_cluster_name;
	c->state = TEMPORAL__API__ENUMS__V1__REPLICATION_STATE__REPLICATION_STATE_NORMAL;
	return c;
}

Temporal__Api__Workflowservice__V1__DescribeNamespaceResponse *
namespace_describe(const struct namespace_api *api, const Perdure__NamespaceRecord *r, struct arena *a)
{
	Temporal__Api__Workflowservice__V1__DescribeNamespaceResponse *resp =
		arena_new0(a, Temporal__Api__Workflowservice__V1__DescribeNamespaceResponse);
	temporal__api__workflowservice__v1__describe_namespace_response__init(resp);
	resp->namespace_info = describe_info(api, r, a);
	resp->config = describe_config(r, a);
	resp->replication_config = describe_replication(api, a);
	return resp;
}
