/*
 * Retry policies, for activities and for whole runs: their defaults, their validation, and what they say about a
 * failed attempt. Pure.
 */
#ifndef SERVICES_HISTORY_CORE_RETRY_H
#define SERVICES_HISTORY_CORE_RETRY_H

#include <temporal/api/common/v1/message.pb-c.h>
#include <temporal/api/enums/v1/workflow.pb-c.h>
#include <temporal/api/failure/v1/message.pb-c.h>

#include "services/history/core/txn.h"

#define RETRY_STATE(name) TEMPORAL__API__ENUMS__V1__RETRY_STATE__RETRY_STATE_##name

/*
 * A copy of `policy` (NULL: of the empty policy) in the arena with every unset field set to the configured default. The
 * copy shares what it doesn't change with the original.
 */
Temporal__Api__Common__V1__RetryPolicy *
retry_policy_with_defaults(const struct core_config *config, struct arena *a,
			   const Temporal__Api__Common__V1__RetryPolicy *policy);

/*
 * INVALID_ARGUMENT with the text clients know. NULL is valid: no retry. Durations beyond the maximum are cut (in copies
 * of their own). To be called after the defaults are in.
 */
must_check struct err retry_policy_validate(struct arena *a, Temporal__Api__Common__V1__RetryPolicy *policy);

/* Stored policies are packed; NULL when there is none (or the bytes are not one, which our own state never holds). */
Temporal__Api__Common__V1__RetryPolicy *retry_policy_unpack(struct arena *a, ProtobufCBinaryData packed);

/* "StartToClose", …: the type's name as texts and non-retryable types spell it. */
const char *timeout_type_name(Temporal__Api__Enums__V1__TimeoutType type);

/*
 * Whether such a failure may be retried at all. NULL: yes. Cancelled, terminated, schedule-to-start and
 * schedule-to-close timeouts: no. `policy` (may be NULL) names the types that are not retried;
 * "TemporalTimeout:Heartbeat" and "TemporalTimeout:StartToClose" name timeouts.
 */
bool retry_failure_retryable(const Temporal__Api__Failure__V1__Failure *failure,
			     const Temporal__Api__Common__V1__RetryPolicy *policy);

/* What happens after attempt number `attempt` (from 1) failed at now_ns. */
struct retry_verdict {
	Temporal__Api__Enums__V1__RetryState state; /* IN_PROGRESS: there is a next attempt, after `interval_ns` */
	int64_t interval_ns;
};
/* An application failure's next_retry_delay replaces the computed interval. Of an activity it may be longer than the
 * policy's maximum interval; of a run it is cut to it. */
enum retry_delay_rule {
	RETRY_DELAY_WITHIN_MAXIMUM, /* runs */
	RETRY_DELAY_BEYOND_MAXIMUM, /* activities */
};
/* policy NULL: RETRY_POLICY_NOT_SET. expiration_ns: no attempt begins after it (0: none). */
struct retry_verdict retry_after(const Temporal__Api__Common__V1__RetryPolicy *policy, int32_t attempt, int64_t now_ns,
				 int64_t expiration_ns, const Temporal__Api__Failure__V1__Failure *failure,
				 enum retry_delay_rule rule);

#endif
