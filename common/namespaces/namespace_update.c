/*
 * UpdateNamespace: the old record and a request make the new record, or an error.
 */
#include <inttypes.h>

#include "common/namespaces/namespace_internal.h"

#define BAD_BINARIES_MAX 10

#define STATE(name)	  TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_##name
#define REPLICATION(name) TEMPORAL__API__ENUMS__V1__REPLICATION_STATE__REPLICATION_STATE_##name

typedef Temporal__Api__Namespace__V1__BadBinaries__BinariesEntry bad_binary;

static struct err check_state_change(int from, int to)
{
	bool allowed = (from == STATE(REGISTERED) && (to == STATE(DEPRECATED) || to == STATE(DELETED))) ||
		       (from == STATE(DEPRECATED) && to == STATE(DELETED));
	return allowed ? err_ok : err_static(ERR_INVALID_ARGUMENT, "Invalid namespace state update.");
}

static struct err update_info(Perdure__NamespaceRecord *r, const Temporal__Api__Namespace__V1__UpdateNamespaceInfo *u,
			      struct arena *a, bool *changed)
{
	if (!u)
		return err_ok;
	if (!str_empty(u->description)) {
		r->description = u->description;
		*changed = true;
	}
	if (!str_empty(u->owner_email)) {
		r->owner_email = u->owner_email;
		*changed = true;
	}
	for (size_t i = 0; i < u->n_data; i++) {
		namespace_put_data(r, u->data[i]->key, u->data[i]->value, a);
		*changed = true;
	}
	if (u->state != STATE(UNSPECIFIED) && (int)u->state != r->state) {
		try(check_state_change(r->state, (int)u->state));
		r->state = (int32_t)u->state;
		*changed = true;
	}
	return err_ok;
}

static size_t find_binary(const Temporal__Api__Namespace__V1__BadBinaries *b, const char *checksum)
{
	size_t i = 0;
	while (i < b->n_binaries && !str_eq(b->binaries[i]->key, checksum))
		i++;
	return i;
}

static void put_binary(Temporal__Api__Namespace__V1__BadBinaries *b, bad_binary *given, int64_t now_ns, struct arena *a)
{
	if (!given->value) {
		given->value = arena_new0(a, Temporal__Api__Namespace__V1__BadBinaryInfo);
		temporal__api__namespace__v1__bad_binary_info__init(given->value);
	}
	Google__Protobuf__Timestamp *now = arena_new0(a, Google__Protobuf__Timestamp);
	google__protobuf__timestamp__init(now);
	now->seconds = now_ns / NS_PER_S;
	now->nanos = (int32_t)(now_ns % NS_PER_S);
	given->value->create_time = now;
	size_t i = find_binary(b, given->key);
	if (i < b->n_binaries) {
		b->binaries[i] = given;
		return;
	}
	bad_binary **grown = arena_array(a, bad_binary *, b->n_binaries + 1);
	if (b->n_binaries)
		memcpy(grown, b->binaries, b->n_binaries * sizeof *grown);
	grown[b->n_binaries++] = given;
	b->binaries = grown;
}

static struct err update_binaries(Temporal__Api__Namespace__V1__NamespaceConfig *config,
				  const Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest *req, int64_t now_ns,
				  struct arena *a, bool *changed)
{
	Temporal__Api__Namespace__V1__BadBinaries *b = config->bad_binaries;
	const Temporal__Api__Namespace__V1__BadBinaries *given = req->config ? req->config->bad_binaries : NULL;
	for (size_t i = 0; given && i < given->n_binaries; i++) {
		put_binary(b, given->binaries[i], now_ns, a);
		*changed = true;
	}
	if (b->n_binaries > BAD_BINARIES_MAX)
		return err_make(a, ERR_INVALID_ARGUMENT, "Total resetBinaries cannot exceed the max limit: %d",
				BAD_BINARIES_MAX);
	if (str_empty(req->delete_bad_binary))
		return err_ok;
	size_t i = find_binary(b, req->delete_bad_binary);
	if (i == b->n_binaries)
		return err_make(a, ERR_INVALID_ARGUMENT, "Bad binary checksum %s doesn't exists.",
				req->delete_bad_binary);
	b->binaries[i] = b->binaries[--b->n_binaries];
	*changed = true;
	return err_ok;
}

static struct err update_config(const struct namespace_api *api, Perdure__NamespaceRecord *r,
				const Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest *req, int64_t now_ns,
				struct arena *a, bool *changed)
{
	const Temporal__Api__Namespace__V1__NamespaceConfig *u = req->config;
	if (u && u->workflow_execution_retention_ttl) {
		try(namespace_retention(api, u->workflow_execution_retention_ttl, &r->retention_ns));
		*changed = true;
	}
	if (u && u->n_custom_search_attribute_aliases)
		return err_static(ERR_INVALID_ARGUMENT, "Search attributes have no aliases in this cluster: "
							"add them with OperatorService.AddSearchAttributes.");
	Temporal__Api__Namespace__V1__NamespaceConfig *config = namespace_config(r, a);
	bool binaries_changed = false;
	try(update_binaries(config, req, now_ns, a, &binaries_changed));
	if (!binaries_changed)
		return err_ok;
	*changed = true;
	size_t len = protobuf_c_message_get_packed_size(&config->base);
	r->config.data = arena_alloc(a, len);
	r->config.len = protobuf_c_message_pack(&config->base, r->config.data);
	return err_ok;
}

static struct err check_replication(const struct namespace_api *api,
				    const Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest *req,
				    struct arena *a)
{
	const Temporal__Api__Replication__V1__NamespaceReplicationConfig *c = req->replication_config;
	if (c && c->state != REPLICATION(UNSPECIFIED) && c->state != REPLICATION(NORMAL))
		return err_static(ERR_INVALID_ARGUMENT, "Handover can only be set for global namespace");
	if (c)
		try(namespace_clusters(api, c->active_cluster_name, c->n_clusters, c->clusters, a));
	if (req->promote_namespace)
		return err_make(a, ERR_INVALID_ARGUMENT,
				"global namespace is not enabled on this cluster, cannot update global namespace or "
				"promote local namespace: %s",
				req->namespace_);
	return err_ok;
}

struct err namespace_update(const struct namespace_api *api, const Perdure__NamespaceRecord *old,
			    const Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest *req, int64_t now_ns,
			    struct arena *a, Perdure__NamespaceRecord **ret)
{
	Perdure__NamespaceRecord *r = namespace_copy(old, a);
	bool changed = false;
	try(update_info(r, req->update_info, a, &changed));
	try(update_config(api, r, req, now_ns, a, &changed));
	try(check_replication(api, req, a));
	*ret = changed ? r : NULL;
	return err_ok;
}
