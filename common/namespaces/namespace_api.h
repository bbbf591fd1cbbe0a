/*
 * What the public API says about namespaces, as plain functions over records: no cache, no store.
 *
 * Texts, codes and details are those that clients of this API match on. Everything made lives in the arena given.
 */
#ifndef COMMON_NAMESPACES_NAMESPACE_API_H
#define COMMON_NAMESPACES_NAMESPACE_API_H

#include <perdure/namespace.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/err/err.h"

struct namespace_api {
	const char *cluster_name;
	int64_t payload_bytes_max, memo_bytes_max; /* shown as the namespace's limits */
	int64_t request_bytes_max;		   /* likewise: of a worker's answer as a whole */
	int64_t retention_min_ns;		   /* 0: an hour */
};

/* The one that every cluster has, for itself. */
#define NAMESPACE_SYSTEM "temporal-system"

/* "Namespace … is not found." with its detail. */
must_check struct err namespace_not_found(struct arena *a, const char *name_or_id);

/* NAMESPACE_STATE_… as a bit, for the states that a request allows. */
#define NAMESPACE_MAY(state) (1u << (unsigned)(TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_##state))

/* FAILED_PRECONDITION with its detail unless the namespace's state is among the allowed ones. */
must_check struct err namespace_check_state(struct arena *a, const Perdure__NamespaceRecord *r, unsigned allowed);

/* What is looked at before it is known whether the name is taken. */
must_check struct err namespace_register_check(const struct namespace_api *api,
					       const Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest *req);
/* The record of a namespace to be made. The name is known to be valid text of an acceptable length. */
must_check struct err namespace_register(const struct namespace_api *api,
					 const Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest *req,
					 const char *id, int64_t now_ns, struct arena *a,
					 Perdure__NamespaceRecord **ret);
must_check struct err namespace_exists(struct arena *a, const char *name);

/* The record that replaces `old`; *ret is NULL when the request changes nothing. */
must_check struct err namespace_update(const struct namespace_api *api, const Perdure__NamespaceRecord *old,
				       const Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest *req,
				       int64_t now_ns, struct arena *a, Perdure__NamespaceRecord **ret);
/*
 * The record that replaces one that is to be deleted, or is already: marked, and under a name that is not taken.
 * FAILED_PRECONDITION: the system's own.
 */
must_check struct err namespace_delete(const Perdure__NamespaceRecord *old, int64_t delay_ns, int64_t now_ns,
				       bool (*taken)(void *ctx, const char *name), void *ctx, struct arena *a,
				       Perdure__NamespaceRecord **ret);
Perdure__NamespaceRecord *namespace_deprecate(const Perdure__NamespaceRecord *old, struct arena *a);

Temporal__Api__Workflowservice__V1__DescribeNamespaceResponse *
namespace_describe(const struct namespace_api *api, const Perdure__NamespaceRecord *r, struct arena *a);

/* Whether the (deprecated) checksum of a worker's binary is marked as bad. */
bool namespace_bad_binary(const Perdure__NamespaceRecord *r, const char *checksum, struct arena *a);

#endif
