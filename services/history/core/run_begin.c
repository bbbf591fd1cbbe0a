/*
 * The beginning of a run.
 */
#include "services/history/core/run_begin.h"

#include "services/history/core/core.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

int64_t run_timeout_within(int64_t run_timeout_ns, int64_t execution_timeout_ns)
{
	if (execution_timeout_ns == 0)
		return run_timeout_ns;
	return run_timeout_ns == 0 ? execution_timeout_ns : min_i64(run_timeout_ns, execution_timeout_ns);
}

int64_t workflow_task_timeout_within(const struct core_config *config, int64_t task_timeout_ns, int64_t run_timeout_ns)
{
	if (task_timeout_ns == 0)
		task_timeout_ns = config->default_workflow_task_timeout_ns;
	task_timeout_ns = min_i64(task_timeout_ns, config->workflow_task_timeout_max_ns);
	return run_timeout_ns == 0 ? task_timeout_ns : min_i64(task_timeout_ns, run_timeout_ns);
}

HISTORY(WorkflowExecutionStartedEventAttributes) *run_begin_attributes(struct txn *t, const char *workflow_id,
								       const char *run_id, const char *first_run_id)
{
	HISTORY(WorkflowExecutionStartedEventAttributes) *attr =
		pb_new0(t->arena, HISTORY(WorkflowExecutionStartedEventAttributes),
			HISTORY_FN(workflow_execution_started_event_attributes));
	attr->workflow_id = arena_strdup(t->arena, workflow_id);
	attr->original_execution_run_id = arena_strdup(t->arena, run_id);
	attr->first_execution_run_id = arena_strdup(t->arena, first_run_id);
	attr->attempt = 1;
	attr->first_workflow_task_backoff = pb_duration(t->arena, 0);
	return attr;
}

static ProtobufCBinaryData pack(struct arena *a, const void *message)
{
	return pb_pack(a, message);
}

static void set_deadlines(Perdure__RunStart *s, const HISTORY(WorkflowExecutionStartedEventAttributes) *attr)
{
	int64_t backoff = pb_duration_ns(attr->first_workflow_task_backoff);
	s->execution_timeout_ns = pb_duration_ns(attr->workflow_execution_timeout);
	s->run_timeout_ns = pb_duration_ns(attr->workflow_run_timeout);
	s->task_timeout_ns = pb_duration_ns(attr->workflow_task_timeout);
	s->execution_time_ns = time_add_ns(s->start_time_ns, backoff);
	s->execution_deadline_ns = pb_timestamp_ns(attr->workflow_execution_expiration_time);
	if (s->run_timeout_ns == 0)
		return;
	s->run_deadline_ns = time_add_ns(s->execution_time_ns, s->run_timeout_ns);
	/* The execution's is in whole milliseconds: of two that mean the same moment it is the one that counts. */
	if (s->execution_deadline_ns > 0 && time_add_ns(s->run_deadline_ns, NS_PER_MS) > s->execution_deadline_ns)
		s->run_deadline_ns = s->execution_deadline_ns;
}

static void set_links(struct txn *t, Perdure__RunStart *s, const struct run_beginning *b)
{
	s->start_links = arena_array(t->arena, ProtobufCBinaryData, b->n_links);
	for (size_t i = 0; i < b->n_links; i++)
		s->start_links[s->n_start_links++] = pack(t->arena, b->links[i]);
}

static void fill_start(struct txn *t, const struct run_beginning *b)
{
	Perdure__RunStart *s = t->start;
	HISTORY(WorkflowExecutionStartedEventAttributes) *attr = b->attributes;
	struct arena *a = t->arena;
	s->namespace_id = arena_strdup(a, t->namespace_id);
	s->workflow_id = attr->workflow_id;
	s->run_id = arena_strdup(a, b->run_id);
	s->first_execution_run_id = attr->first_execution_run_id;
	s->original_execution_run_id = attr->original_execution_run_id;
	s->continued_execution_run_id = attr->continued_execution_run_id;
	s->workflow_type = attr->workflow_type->name;
	s->task_queue = attr->task_queue->name;
	s->start_time_ns = t->now_ns;
	s->first_start_time_ns = b->first_start_time_ns ? b->first_start_time_ns : t->now_ns;
	s->request_id = arena_strdup(a, b->request_id);
	s->attempt = attr->attempt;
	s->cron_schedule = attr->cron_schedule;
	s->start_identity = attr->identity;
	s->start_seq = t->next_start_seq;
	s->retry_policy = pack(a, attr->retry_policy);
	s->start_attributes = pack(a, attr);
	s->priority = pack(a, attr->priority);
	s->user_metadata = pack(a, b->user_metadata);
	s->root_workflow_id =
		attr->root_workflow_execution ? attr->root_workflow_execution->workflow_id : attr->workflow_id;
	s->root_run_id = attr->root_workflow_execution ? attr->root_workflow_execution->run_id : s->run_id;
	set_links(t, s, b);
	set_deadlines(s, attr);
}

void run_begin(struct txn *t, const struct run_beginning *b)
{
	HISTORY(WorkflowExecutionStartedEventAttributes) *attr = b->attributes;
	fill_start(t, b);
	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_EXECUTION_STARTED));
	e->workflow_execution_started_event_attributes = attr;
	e->n_links = b->n_links;
	e->links = b->links;
	e->user_metadata = b->user_metadata;

	Perdure__RunExec *exec = txn_exec(t);
	exec->status = STATUS(RUNNING);
	exec->workflow_task_attempt = 1;
	exec->memo = pack(t->arena, attr->memo);
	exec->search_attributes = pack(t->arena, attr->search_attributes);
	exec->auto_reset_points = pack(t->arena, attr->prev_auto_reset_points);
	txn_request_id_put(t, b->request_id, EVENT(WORKFLOW_EXECUTION_STARTED), e->event_id);

	if (pb_duration_ns(attr->first_workflow_task_backoff) > 0)
		exec->first_workflow_task_backoff_deadline_ns = t->start->execution_time_ns;
	else
		core_schedule_workflow_task(t);
}
