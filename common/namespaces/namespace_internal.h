/*
 * What the files about a namespace's record share.
 */
#ifndef COMMON_NAMESPACES_NAMESPACE_INTERNAL_H
#define COMMON_NAMESPACES_NAMESPACE_INTERNAL_H

#include <temporal/api/namespace/v1/message.pb-c.h>

#include "common/namespaces/namespace_api.h"

#define RETENTION_MIN_NS (3600 * NS_PER_S)
#define RETENTION_MAX_S	 (100LL * 365 * 24 * 3600)

must_check struct err namespace_retention(const struct namespace_api *api, const Google__Protobuf__Duration *d,
					  int64_t *ret_ns);
/* There is one cluster: ours. */
must_check struct err namespace_clusters(const struct namespace_api *api, const char *active, size_t count,
					 Temporal__Api__Replication__V1__ClusterReplicationConfig **clusters,
					 struct arena *a);
/* Shares everything with `old` but the list of data. */
Perdure__NamespaceRecord *namespace_copy(const Perdure__NamespaceRecord *old, struct arena *a);
void namespace_put_data(Perdure__NamespaceRecord *r, char *key, char *value, struct arena *a);
Perdure__NamespaceRecord__DataEntry *namespace_data_entry(char *key, char *value, struct arena *a);
/* The configuration as given; bad_binaries is never NULL. */
Temporal__Api__Namespace__V1__NamespaceConfig *namespace_config(const Perdure__NamespaceRecord *r, struct arena *a);

#endif
