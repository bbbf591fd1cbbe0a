/*
 * What the files about activities share: how an attempt begins, ends and is followed by another.
 */
#ifndef SERVICES_HISTORY_CORE_ACTIVITY_H
#define SERVICES_HISTORY_CORE_ACTIVITY_H

#include "services/history/core/api_names.h"
#include "services/history/core/core_internal.h"
#include "services/history/core/retry.h"

/* Whether a worker has it. */
static inline bool activity_is_started(const Perdure__ActivityInfo *a)
{
	return a->started_time_ns != 0;
}

/*
 * The pending activity that an answer or a heartbeat names, or why there is none: the run is closed, no such activity,
 * no worker has it (unless `unstarted_ok`, and then only by id), or a worker other than the token's has it by now.
 * NOT_FOUND with the texts clients know.
 */
must_check struct err activity_find(const struct run *run, struct activity_ref ref, bool unstarted_ok, struct arena *a,
				    const Perdure__ActivityInfo **ret);

/* The activity's own priority over the run's, field by field; NULL: neither has one. */
COMMON(Priority) *activity_priority(struct arena *arena, const Perdure__RunStart *run, const Perdure__ActivityInfo *a);

/* A worker has the attempt: a new nonce, now. Its event is written when the activity ends (activity_end). */
void activity_begin_attempt(struct txn *t, Perdure__ActivityInfo *a, const char *request_id, const char *identity);

/*
 * Schedules the next attempt if one may follow the failure of this one (NULL: it says nothing), and returns
 * RETRY_STATE(IN_PROGRESS); otherwise says why not, and nothing is written.
 */
Temporal__Api__Enums__V1__RetryState activity_retry(struct txn *t, int64_t scheduled_event_id,
						    const Temporal__Api__Failure__V1__Failure *failure);

/*
 * Ends the activity: writes its started event if a worker has it, then the event of `type`, whose attributes the caller
 * fills in but for started_event_id (which is wired when the events get their ids). It is no longer pending; `a` stays
 * readable.
 */
Temporal__Api__History__V1__HistoryEvent *activity_end(struct txn *t, const Perdure__ActivityInfo *a,
						       Temporal__Api__Enums__V1__EventType type);

#endif
