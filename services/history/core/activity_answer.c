/*
 * What a worker, or whoever completes an activity by its id, answers: completed, failed, canceled.
 *
 * An answer that is too large for an event fails the activity instead: it could be repeated for ever otherwise.
 */
#include "services/history/core/activity.h"

#include "services/history/core/failure.h"
#include "services/history/core/pbmsg.h"

typedef Temporal__Api__Common__V1__Payloads payloads_t;
typedef Temporal__Api__Failure__V1__Failure failure_t;

static size_t packed_size(const ProtobufCMessage *m)
{
	return m ? protobuf_c_message_get_packed_size(m) : 0;
}

static bool too_large(const struct core_config *config, const ProtobufCMessage *m)
{
	return config->blob_bytes_max > 0 && packed_size(m) > (size_t)config->blob_bytes_max;
}

static char *own(struct txn *t, const char *s)
{
	return arena_strdup(t->arena, s ? s : "");
}

/* ------------------------------------------------------------------ completed */

/* Completed by id before a worker took it: as if whoever answers had taken it at this moment. */
static const Perdure__ActivityInfo *with_start(struct txn *t, const Perdure__ActivityInfo *a, const char *identity)
{
	if (activity_is_started(a))
		return a;
	Perdure__ActivityInfo *started = txn_activity_put(t, a->scheduled_event_id);
	activity_begin_attempt(t, started, "", identity);
	return started;
}

struct err core_complete_activity(struct txn *t, struct activity_ref ref, const payloads_t *result,
				  const char *identity)
{
	if (result && too_large(t->config, &result->base)) {
		failure_t *f = failure_server(t->arena, "Complete result exceeds size limit.", true);
		return core_fail_activity(t, ref, f, NULL, identity);
	}
	const Perdure__ActivityInfo *a;
	try(activity_find(t->run, ref, true, t->arena, &a));
	a = with_start(t, a, identity);
	Temporal__Api__History__V1__HistoryEvent *e = activity_end(t, a, EVENT(ACTIVITY_TASK_COMPLETED));
	e->activity_task_completed_event_attributes->scheduled_event_id = a->scheduled_event_id;
	e->activity_task_completed_event_attributes->result = (payloads_t *)result;
	e->activity_task_completed_event_attributes->identity = own(t, identity);
	core_schedule_workflow_task(t);
	return err_ok;
}

/* ------------------------------------------------------------------ failed */

static void note_progress(struct txn *t, Perdure__ActivityInfo *a, const payloads_t *details, const char *identity)
{
	a->heartbeat_details = pb_pack(t->arena, &details->base);
	a->last_heartbeat_time_ns = t->now_ns;
	if (!str_empty(identity))
		a->last_worker_identity = own(t, identity);
}

struct err core_fail_activity(struct txn *t, struct activity_ref ref, const failure_t *failure,
			      const payloads_t *last_heartbeat_details, const char *identity)
{
	const Perdure__ActivityInfo *found;
	try(activity_find(t->run, ref, false, t->arena, &found));
	Perdure__ActivityInfo *a = txn_activity_put(t, found->scheduled_event_id);
	if (last_heartbeat_details)
		note_progress(t, a, last_heartbeat_details, identity);
	a->last_attempt_completed_time_ns = t->now_ns;

	Temporal__Api__Enums__V1__RetryState state = activity_retry(t, a->scheduled_event_id, failure);
	if (state == RETRY_STATE(IN_PROGRESS))
		return err_ok;
	Temporal__Api__History__V1__HistoryEvent *e = activity_end(t, a, EVENT(ACTIVITY_TASK_FAILED));
	e->activity_task_failed_event_attributes->scheduled_event_id = a->scheduled_event_id;
	e->activity_task_failed_event_attributes->failure = (failure_t *)failure;
	e->activity_task_failed_event_attributes->retry_state = state;
	e->activity_task_failed_event_attributes->identity = own(t, identity);
	core_schedule_workflow_task(t);
	return err_ok;
}

static struct err check_retry_delays(const failure_t *failure, struct arena *a)
{
	const int64_t duration_max_s = 315576000000; /* protobuf's own limit: 10,000 years */
	for (const failure_t *f = failure; f; f = f->cause) {
		if (f->failure_info_case != TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO)
			continue;
		const Google__Protobuf__Duration *d = f->application_failure_info->next_retry_delay;
		if (!d)
			continue;
		bool signs_differ = (d->seconds > 0 && d->nanos < 0) || (d->seconds < 0 && d->nanos > 0);
		if (d->seconds > duration_max_s || d->seconds < -duration_max_s || d->nanos <= -NS_PER_S ||
		    d->nanos >= NS_PER_S || signs_differ)
			return err_make(a, ERR_INVALID_ARGUMENT,
					"NextRetryDelay is not a valid duration: duration (seconds:%lld nanos:%d) is "
					"out of range",
					(long long)d->seconds, d->nanos);
	}
	return err_ok;
}

struct err core_fit_activity_failure(const struct core_config *config, struct arena *arena, bool by_id,
				     failure_t **failure, payloads_t **last_heartbeat_details, size_t *ret_count,
				     failure_t ***ret_failures)
{
	failure_t *f = *failure;
	bool application =
		f && f->failure_info_case == TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
	if (f && !application && !by_id)
		return err_static(ERR_INVALID_ARGUMENT, "Failure must have ApplicationFailureInfo.");
	try(check_retry_delays(f, arena));

	*ret_failures = arena_array(arena, failure_t *, 2);
	*ret_count = 0;
	if (*last_heartbeat_details && too_large(config, &(*last_heartbeat_details)->base)) {
		(*ret_failures)[(*ret_count)++] = failure_server(arena, "Heartbeat details exceed size limit.", true);
		*last_heartbeat_details = NULL;
	}
	if (f && too_large(config, &f->base)) {
		*failure = failure_server(arena, "Failure exceeds size limit.", true);
		(*failure)->cause = failure_truncate(arena, f, (size_t)config->blob_bytes_warn);
		(*ret_failures)[(*ret_count)++] = *failure;
	}
	return err_ok;
}

/* ------------------------------------------------------------------ canceled */

struct err core_cancel_activity(struct txn *t, struct activity_ref ref, const payloads_t *details, const char *identity)
{
	if (details && too_large(t->config, &details->base)) {
		failure_t *f = failure_server(t->arena, "Cancel details exceed size limit.", true);
		return core_fail_activity(t, ref, f, NULL, identity);
	}
	const Perdure__ActivityInfo *a;
	try(activity_find(t->run, ref, false, t->arena, &a));
	if (!a->cancel_requested)
		return err_static(ERR_INVALID_ARGUMENT,
				  "unable to mark activity as canceled without activity being request canceled first");
	Temporal__Api__History__V1__HistoryEvent *e = activity_end(t, a, EVENT(ACTIVITY_TASK_CANCELED));
	e->activity_task_canceled_event_attributes->scheduled_event_id = a->scheduled_event_id;
	e->activity_task_canceled_event_attributes->latest_cancel_requested_event_id = a->cancel_requested_event_id;
	e->activity_task_canceled_event_attributes->details = (payloads_t *)details;
	e->activity_task_canceled_event_attributes->identity = own(t, identity);
	core_schedule_workflow_task(t);
	return err_ok;
}
