/*
 * Checks that several requests share.
 */
#include "services/history/core/validate.h"

#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

#define LINKS_MAX	       10
#define LINK_BYTES_MAX	       4000
#define FAIRNESS_KEY_BYTES_MAX 64
#define RESERVED_QUEUE_PREFIX  "/_sys/"
#define INTERNAL_QUEUE	       "temporal-sys-per-ns-tq"

bool is_uuid_text(const char *s)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (!s[i] || (dash ? s[i] != '-' : !strchr("0123456789abcdefABCDEF", s[i])))
			return false;
	}
	return s[36] == '\0';
}

struct err validate_execution(const COMMON(WorkflowExecution) *execution)
{
	if (!execution)
		return err_static(ERR_INVALID_ARGUMENT, "Execution is not set on request.");
	if (str_empty(execution->workflow_id))
		return err_static(ERR_INVALID_ARGUMENT, "WorkflowId is not set on request.");
	if (!str_empty(execution->run_id) && !is_uuid_text(execution->run_id))
		return err_static(ERR_INVALID_ARGUMENT, "Invalid RunId.");
	return err_ok;
}

const char *validate_task_queue(const struct core_config *config, struct arena *a, const TASK_QUEUE(TaskQueue) *queue,
				const char *fallback, TASK_QUEUE(TaskQueue) **ret)
{
	if (!queue)
		return "taskQueue is not set";
	TASK_QUEUE(TaskQueue) *copy = arena_new0(a, TASK_QUEUE(TaskQueue));
	*copy = *queue;
	*ret = copy;
	if (copy->kind == QUEUE_KIND(UNSPECIFIED))
		copy->kind = QUEUE_KIND(NORMAL);
	if (str_empty(copy->name)) {
		if (str_empty(fallback))
			return "missing task queue name";
		copy->name = arena_strdup(a, fallback);
	}
	if (strlen(copy->name) > (size_t)config->id_bytes_max)
		return "taskQueue length exceeds limit";
	if (strncmp(copy->name, RESERVED_QUEUE_PREFIX, strlen(RESERVED_QUEUE_PREFIX)) == 0)
		return "task queue name cannot start with reserved prefix " RESERVED_QUEUE_PREFIX;
	if (copy->kind == QUEUE_KIND(STICKY) && !str_empty(copy->normal_name) &&
	    strlen(copy->normal_name) > (size_t)config->id_bytes_max)
		return "taskQueue length exceeds limit";
	if (str_eq(copy->name, INTERNAL_QUEUE) && !str_eq(fallback, INTERNAL_QUEUE))
		return "cannot use internal per-namespace task queue";
	return NULL;
}

const char *task_queue_text(struct arena *a, const TASK_QUEUE(TaskQueue) *queue)
{
	return arena_printf(a, "name:\"%s\"  kind:%s", queue->name,
			    queue->kind == QUEUE_KIND(STICKY) ? "TASK_QUEUE_KIND_STICKY" : "TASK_QUEUE_KIND_NORMAL");
}

const char *validate_priority(const COMMON(Priority) *p)
{
	if (!p)
		return NULL;
	if (p->priority_key < 0)
		return "priority key can't be negative";
	if (p->fairness_key && strlen(p->fairness_key) > FAIRNESS_KEY_BYTES_MAX)
		return "fairness key length exceeds limit";
	if (p->fairness_weight < 0)
		return "must be greater than zero";
	return NULL;
}

/* ------------------------------------------------------------------ links */

static const char *check_fields(const char *const fields[3], const char *const texts[3])
{
	for (int i = 0; i < 3; i++)
		if (texts[i] && str_empty(fields[i]))
			return texts[i];
	return NULL;
}

static const char *check_event_link(const COMMON(Link__WorkflowEvent) *e)
{
	const char *why =
		check_fields((const char *const[]){e->namespace_, e->workflow_id, e->run_id},
			     (const char *const[]){"workflow event link must not have an empty namespace field",
						   "workflow event link must not have an empty workflow ID field",
						   "workflow event link must not have an empty run ID field"});
	if (why)
		return why;
	if (e->reference_case == TEMPORAL__API__COMMON__V1__LINK__WORKFLOW_EVENT__REFERENCE_EVENT_REF &&
	    e->event_ref->event_type == EVENT(UNSPECIFIED) && e->event_ref->event_id != 0)
		return "workflow event link ref cannot have an unspecified event type and a non-zero event ID";
	return NULL;
}

static const char *check_link(const COMMON(Link) *l)
{
#define VARIANT(name) TEMPORAL__API__COMMON__V1__LINK__VARIANT_##name
	switch ((int)l->variant_case) {
	case VARIANT(WORKFLOW_EVENT):
		return check_event_link(l->workflow_event);
	case VARIANT(BATCH_JOB):
		return str_empty(l->batch_job->job_id) ? "batch job link must not have an empty job ID" : NULL;
	case VARIANT(NEXUS_OPERATION):
		return check_fields(
			(const char *const[]){l->nexus_operation->namespace_, l->nexus_operation->operation_id,
					      l->nexus_operation->run_id},
			(const char *const[]){"nexus operation link must not have an empty namespace field",
					      "nexus operation link must not have an empty operation ID field",
					      "nexus operation link must not have an empty run ID field"});
	case VARIANT(ACTIVITY):
		return check_fields(
			(const char *const[]){l->activity->namespace_, l->activity->activity_id, l->activity->run_id},
			(const char *const[]){"activity link must not have an empty namespace field",
					      "activity link must not have an empty activity ID field",
					      "activity link must not have an empty run ID field"});
	case VARIANT(WORKFLOW):
		return check_fields(
			(const char *const[]){l->workflow->namespace_, l->workflow->workflow_id, l->workflow->run_id},
			(const char *const[]){"workflow link must not have an empty namespace field",
					      "workflow link must not have an empty workflow ID field",
					      "workflow link must not have an empty run ID field"});
	default:
		return "unsupported link variant";
	}
#undef VARIANT
}

struct err validate_links(struct arena *a, COMMON(Link) **links, size_t n)
{
	if (n > LINKS_MAX)
		return err_make(a, ERR_INVALID_ARGUMENT, "cannot attach more than %d links per request, got %zu",
				LINKS_MAX, n);
	for (size_t i = 0; i < n; i++) {
		size_t size = protobuf_c_message_get_packed_size(&links[i]->base);
		if (size > LINK_BYTES_MAX)
			return err_make(a, ERR_INVALID_ARGUMENT, "link exceeds allowed size of %d, got %zu",
					LINK_BYTES_MAX, size);
		const char *why = check_link(links[i]);
		if (why)
			return err_static(ERR_INVALID_ARGUMENT, why);
	}
	return err_ok;
}

/* ------------------------------------------------------------------ values */

const char *validate_duration(const Google__Protobuf__Duration *d)
{
	if (!d)
		return NULL;
	Google__Protobuf__Duration copy = *d;
	return pb_duration_check(&copy);
}

struct err validate_blob(const struct core_config *config, const ProtobufCMessage *m)
{
	if (m && protobuf_c_message_get_packed_size(m) > (size_t)config->blob_bytes_max)
		return err_static(ERR_INVALID_ARGUMENT, "Blob data size exceeds limit.");
	return err_ok;
}

struct id_policies effective_policies(Temporal__Api__Enums__V1__WorkflowIdReusePolicy reuse,
				      Temporal__Api__Enums__V1__WorkflowIdConflictPolicy conflict)
{
	if (conflict == CONFLICT(UNSPECIFIED))
		conflict = reuse == REUSE(TERMINATE_IF_RUNNING) ? CONFLICT(TERMINATE_EXISTING) : CONFLICT(FAIL);
	if (reuse == REUSE(UNSPECIFIED) || reuse == REUSE(TERMINATE_IF_RUNNING))
		reuse = REUSE(ALLOW_DUPLICATE);
	return (struct id_policies){reuse, conflict};
}
