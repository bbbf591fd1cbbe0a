/*
 * The limits that every transition is held to, whatever it does.
 */
#include "services/history/core/close.h"
#include "services/history/core/workflow_task.h"

#define HELD_BYTES_MAX (2 * 1024 * 1024)

static const char *too_long(const struct txn *t)
{
	const Perdure__RunExec *exec = txn_peek(t);
	if (exec->history_size_bytes > t->config->history_bytes_max)
		return "Workflow history size exceeds limit.";
	if (exec->next_event_id - 1 > t->config->history_events_max)
		return "Workflow history count exceeds limit.";
	return NULL;
}

void core_enforce_limits(struct txn *t)
{
	if (!txn_open(t))
		return;
	const char *why = too_long(t);
	if (why) {
		txn_restart(t);
		t->ended = err_static(ERR_INVALID_ARGUMENT, why);
		close_terminate(t, why, NULL, SERVER_IDENTITY, NULL, 0);
		return;
	}
	if (txn_workflow_task_started(t) &&
	    (txn_buffered_count(t) > (size_t)t->config->buffered_events_max || txn_held_bytes(t) > HELD_BYTES_MAX)) {
		workflow_task_force_close(t);
		workflow_task_schedule(t);
	}
}
