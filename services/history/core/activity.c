/*
 * An activity's life between its scheduling and its end: finding it, its attempts, its last events.
 *
 * Only its scheduling and its end are history. That a worker took it is written when it ends, and attempts that failed
 * are not written at all: the started event tells the last one's number and why the one before failed.
 */
#include "services/history/core/activity.h"

#include "services/history/core/errors.h"
#include "services/history/core/failure.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

/* A failure that is kept for the next attempt: beyond this, cut. */
#define KEPT_FAILURE_BYTES_MAX 4096

/* ------------------------------------------------------------------ finding */

static bool token_is_current(const Perdure__TaskToken *token, const Perdure__ActivityInfo *a)
{
	return activity_is_started(a) && token->attempt == a->attempt && token->start_nonce == a->start_nonce;
}

struct err activity_find(const struct run *run, struct activity_ref ref, bool unstarted_ok, struct arena *arena,
			 const Perdure__ActivityInfo **ret)
{
	static const char gone[] = "invalid activityID or activity already timed out or invoking workflow is completed";

	if (!run_open(run))
		return core_not_found(arena, WORKFLOW_COMPLETED_TEXT);
	if (ref.token) {
		struct run_activity *found = run_find_activity(run, ref.token->scheduled_event_id);
		if (!found || !token_is_current(ref.token, found->info))
			return core_not_found(arena, gone);
		*ret = found->info;
		return err_ok;
	}
	if (str_empty(ref.activity_id))
		return err_static(ERR_INVALID_ARGUMENT, "activityID cannot be empty");
	struct run_activity *found = run_find_activity_by_id(run, ref.activity_id);
	if (!found)
		return core_not_found(arena,
				      arena_printf(arena,
						   "cannot find pending activity with ActivityID %s, check workflow "
						   "execution history for more details",
						   ref.activity_id));
	if (!activity_is_started(found->info) && !unstarted_ok)
		return core_not_found(arena, gone);
	*ret = found->info;
	return err_ok;
}

COMMON(Priority) *activity_priority(struct arena *arena, const Perdure__RunStart *run, const Perdure__ActivityInfo *a)
{
	COMMON(Priority) *base = pb_unpack(arena, &COMMON_FN(priority__descriptor), run->priority);
	COMMON(Priority) *own = pb_unpack(arena, &COMMON_FN(priority__descriptor), a->priority);
	if (!base || !own)
		return own ? own : base;
	if (own->priority_key == 0)
		own->priority_key = base->priority_key;
	if (str_empty(own->fairness_key))
		own->fairness_key = base->fairness_key;
	if (own->fairness_weight == 0)
		own->fairness_weight = base->fairness_weight;
	return own;
}

/* ------------------------------------------------------------------ attempts */

/* The epoch tells apart what two owners of the shard could otherwise repeat. Never 0. */
static uint64_t new_nonce(struct txn *t)
{
	const int random_bits = 40;
	uint64_t random = txn_random_u64(t) & ((1ULL << random_bits) - 1);
	return (t->shard_epoch << random_bits) | (random ? random : 1);
}

void activity_begin_attempt(struct txn *t, Perdure__ActivityInfo *a, const char *request_id, const char *identity)
{
	assert(!activity_is_started(a));
	a->started_time_ns = t->now_ns;
	a->started_event_id = 0;
	a->started_attempt = a->attempt;
	a->start_nonce = new_nonce(t);
	a->request_id = arena_strdup(t->arena, request_id ? request_id : "");
	a->started_identity = arena_strdup(t->arena, identity ? identity : "");
}

/* What the next attempt is told of this one's failure. */
static ProtobufCBinaryData kept_failure(struct txn *t, const Temporal__Api__Failure__V1__Failure *failure)
{
	if (!failure || protobuf_c_message_get_packed_size(&failure->base) <= KEPT_FAILURE_BYTES_MAX)
		return pb_pack(t->arena, failure ? &failure->base : NULL);
	Temporal__Api__Failure__V1__Failure *outer = failure_server(t->arena, "Failure exceeds size limit.", false);
	outer->cause = failure_truncate(t->arena, failure, KEPT_FAILURE_BYTES_MAX);
	return pb_pack(t->arena, &outer->base);
}

static void next_attempt(struct txn *t, int64_t scheduled_event_id, int64_t at_ns,
			 const Temporal__Api__Failure__V1__Failure *failure)
{
	Perdure__ActivityInfo *a = txn_activity_put(t, scheduled_event_id);
	a->attempt++;
	a->scheduled_time_ns = at_ns;
	a->retry_not_before_ns = at_ns;
	a->last_failure = kept_failure(t, failure);
	a->last_worker_identity = a->started_identity;
	a->started_time_ns = 0;
	a->start_nonce = 0;
	a->request_id = (char *)protobuf_c_empty_string;
	a->stamp = txn_next_stamp(t);
}

static bool is_deadline(const Temporal__Api__Failure__V1__Failure *f)
{
	if (!f || f->failure_info_case != TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_TIMEOUT_FAILURE_INFO)
		return false;
	Temporal__Api__Enums__V1__TimeoutType type = f->timeout_failure_info->timeout_type;
	return type == TIMEOUT_TYPE(SCHEDULE_TO_START) || type == TIMEOUT_TYPE(SCHEDULE_TO_CLOSE);
}

Temporal__Api__Enums__V1__RetryState activity_retry(struct txn *t, int64_t scheduled_event_id,
						    const Temporal__Api__Failure__V1__Failure *failure)
{
	const Perdure__ActivityInfo *a = txn_activity(t, scheduled_event_id);
	Temporal__Api__Common__V1__RetryPolicy *policy = retry_policy_unpack(t->arena, a->retry_policy);
	if (!policy)
		return RETRY_STATE(RETRY_POLICY_NOT_SET);
	if (a->cancel_requested)
		return RETRY_STATE(CANCEL_REQUESTED);
	/* The time is up: no verdict on the failure. */
	if (is_deadline(failure))
		return RETRY_STATE(TIMEOUT);
	struct retry_verdict v =
		retry_after(policy, a->attempt, t->now_ns, a->expiration_ns, failure, RETRY_DELAY_BEYOND_MAXIMUM);
	if (v.state == RETRY_STATE(IN_PROGRESS))
		next_attempt(t, scheduled_event_id, time_add_ns(t->now_ns, v.interval_ns), failure);
	return v.state;
}

/* ------------------------------------------------------------------ the end */

static void write_started(struct txn *t, const Perdure__ActivityInfo *a)
{
	Temporal__Api__History__V1__HistoryEvent *e = txn_event(t, EVENT(ACTIVITY_TASK_STARTED));
	Temporal__Api__History__V1__ActivityTaskStartedEventAttributes *attr =
		e->activity_task_started_event_attributes;
	e->event_time = pb_timestamp(t->arena, a->started_time_ns);
	attr->scheduled_event_id = a->scheduled_event_id;
	attr->attempt = a->attempt;
	attr->request_id = a->request_id;
	attr->identity = a->started_identity;
	attr->last_failure = pb_unpack(t->arena, &temporal__api__failure__v1__failure__descriptor, a->last_failure);
}

Temporal__Api__History__V1__HistoryEvent *activity_end(struct txn *t, const Perdure__ActivityInfo *a,
						       Temporal__Api__Enums__V1__EventType type)
{
	if (activity_is_started(a))
		write_started(t, a);
	txn_activity_remove(t, a->scheduled_event_id);
	return txn_event(t, type);
}
