/*
 * What requests must satisfy before a run is touched, each check with the text that clients know. All answer
 * INVALID_ARGUMENT (or UNIMPLEMENTED for what this server does not do yet).
 */
#ifndef SERVICES_HISTORY_CORE_VALIDATE_H
#define SERVICES_HISTORY_CORE_VALIDATE_H

#include "services/history/core/api_names.h"
#include "services/history/core/txn.h"

bool is_uuid_text(const char *s);
must_check struct err validate_execution(const COMMON(WorkflowExecution) *execution);

/* Why a task queue is refused, or NULL; *ret is a copy with name (that of `fallback` when it has none) and kind set. */
const char *validate_task_queue(const struct core_config *config, struct arena *a, const TASK_QUEUE(TaskQueue) *queue,
				const char *fallback, TASK_QUEUE(TaskQueue) **ret);
/* As texts about task queues name them. */
const char *task_queue_text(struct arena *a, const TASK_QUEUE(TaskQueue) *queue);
const char *validate_priority(const COMMON(Priority) *priority);
must_check struct err validate_links(struct arena *a, COMMON(Link) **links, size_t n);
/* Why a duration is refused, or NULL. The duration is left as it is. */
const char *validate_duration(const Google__Protobuf__Duration *d);
/* The size of a payload field against the limit for blobs. NULL is small. */
must_check struct err validate_blob(const struct core_config *config, const ProtobufCMessage *m);

/* How reuse and conflict policy are read: the old terminate-if-running and defaults resolved. */
struct id_policies {
	Temporal__Api__Enums__V1__WorkflowIdReusePolicy reuse;
	Temporal__Api__Enums__V1__WorkflowIdConflictPolicy conflict;
};
struct id_policies effective_policies(Temporal__Api__Enums__V1__WorkflowIdReusePolicy reuse,
				      Temporal__Api__Enums__V1__WorkflowIdConflictPolicy conflict);

#endif
