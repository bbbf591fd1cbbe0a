/*
 * Retry policies: defaults, validation, and the verdict on a failed attempt.
 */
#include "services/history/core/retry.h"

#include <math.h>

#include "services/history/core/pbtime.h"

#define TIMEOUT_TYPE_PREFIX "TemporalTimeout:"
#define TIMEOUT(name)	    TEMPORAL__API__ENUMS__V1__TIMEOUT_TYPE__TIMEOUT_TYPE_##name
#define FAILURE_INFO(name)  TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_##name

typedef Temporal__Api__Common__V1__RetryPolicy policy_t;

const char *timeout_type_name(Temporal__Api__Enums__V1__TimeoutType type)
{
	static const char *const names[] = {"Unspecified", "StartToClose", "ScheduleToStart", "ScheduleToClose",
					    "Heartbeat"};
	return (size_t)type < array_len(names) ? names[type] : "Unspecified";
}

static const char *timeout_type_long_name(int type)
{
	return protobuf_c_enum_descriptor_get_value(&temporal__api__enums__v1__timeout_type__descriptor, type)->name;
}

/* ------------------------------------------------------------------ defaults */

policy_t *retry_policy_with_defaults(const struct core_config *config, struct arena *a, const policy_t *policy)
{
	policy_t *p = arena_new0(a, policy_t);
	if (policy)
		*p = *policy;
	else
		temporal__api__common__v1__retry_policy__init(p);
	if (p->maximum_attempts == 0)
		p->maximum_attempts = config->retry_maximum_attempts;
	if (pb_duration_ns(p->initial_interval) == 0)
		p->initial_interval = pb_duration(a, config->retry_initial_interval_ns);
	if (pb_duration_ns(p->maximum_interval) == 0) {
		/* The coefficient counts in whole steps. A wild initial interval must not overflow. */
		int64_t ns;
		if (__builtin_mul_overflow((int64_t)config->retry_maximum_interval_coefficient,
					   pb_duration_ns(p->initial_interval), &ns))
			ns = INT64_MAX;
		p->maximum_interval = pb_duration(a, ns);
	}
	if (p->backoff_coefficient == 0)
		p->backoff_coefficient = config->retry_backoff_coefficient;
	return p;
}

/* ------------------------------------------------------------------ validation */

static Google__Protobuf__Duration *own_duration(struct arena *a, const Google__Protobuf__Duration *d)
{
	if (!d)
		return NULL;
	Google__Protobuf__Duration *copy = arena_new0(a, Google__Protobuf__Duration);
	*copy = *d;
	return copy;
}

static struct err check_type_names(struct arena *a, const policy_t *p)
{
	size_t prefix = strlen(TIMEOUT_TYPE_PREFIX);
	for (size_t i = 0; i < p->n_non_retryable_error_types; i++) {
		const char *type = p->non_retryable_error_types[i];
		if (strncmp(type, TIMEOUT_TYPE_PREFIX, prefix) != 0)
			continue;
		bool known = false;
		for (int t = TIMEOUT(START_TO_CLOSE); t <= TIMEOUT(HEARTBEAT); t++)
			known = known || strcmp(type + prefix, timeout_type_name(t)) == 0 ||
				strcmp(type + prefix, timeout_type_long_name(t)) == 0;
		if (!known)
			return err_make(a, ERR_INVALID_ARGUMENT, "Invalid timeout type value: %s.", type + prefix);
	}
	return err_ok;
}

struct err retry_policy_validate(struct arena *a, policy_t *p)
{
	/* A single attempt: the rest has no meaning and isn't looked at. */
	if (!p || p->maximum_attempts == 1)
		return err_ok;
	p->initial_interval = own_duration(a, p->initial_interval);
	p->maximum_interval = own_duration(a, p->maximum_interval);
	const char *why = pb_duration_check(p->initial_interval);
	if (why)
		return err_make(a, ERR_INVALID_ARGUMENT, "invalid InitialInterval set on retry policy: %s", why);
	/* Not a number is refused with what is too small. */
	if (!(p->backoff_coefficient >= 1))
		return err_static(ERR_INVALID_ARGUMENT, "BackoffCoefficient cannot be less than 1 on retry policy.");
	why = pb_duration_check(p->maximum_interval);
	if (why)
		return err_make(a, ERR_INVALID_ARGUMENT, "invalid MaximumInterval set on retry policy: %s", why);
	int64_t maximum = pb_duration_ns(p->maximum_interval);
	if (maximum > 0 && maximum < pb_duration_ns(p->initial_interval))
		return err_static(ERR_INVALID_ARGUMENT,
				  "MaximumInterval cannot be less than InitialInterval on retry policy.");
	if (p->maximum_attempts < 0)
		return err_static(ERR_INVALID_ARGUMENT, "MaximumAttempts cannot be negative on retry policy.");
	return check_type_names(a, p);
}

policy_t *retry_policy_unpack(struct arena *a, ProtobufCBinaryData packed)
{
	if (packed.len == 0)
		return NULL;
	return temporal__api__common__v1__retry_policy__unpack(arena_pb(a), packed.len, packed.data);
}

/* ------------------------------------------------------------------ failures */

static bool listed(const policy_t *p, const char *prefix, const char *type)
{
	size_t len = strlen(prefix);
	for (size_t i = 0; p && i < p->n_non_retryable_error_types; i++) {
		const char *entry = p->non_retryable_error_types[i];
		if (strncmp(entry, prefix, len) == 0 && str_eq(entry + len, type))
			return true;
	}
	return false;
}

bool retry_failure_retryable(const Temporal__Api__Failure__V1__Failure *f, const policy_t *policy)
{
	if (!f)
		return true;
	switch ((int)f->failure_info_case) {
	case FAILURE_INFO(TERMINATED_FAILURE_INFO):
	case FAILURE_INFO(CANCELED_FAILURE_INFO):
		return false;
	case FAILURE_INFO(TIMEOUT_FAILURE_INFO): {
		Temporal__Api__Enums__V1__TimeoutType type = f->timeout_failure_info->timeout_type;
		if (type != TIMEOUT(START_TO_CLOSE) && type != TIMEOUT(HEARTBEAT))
			return false;
		return !listed(policy, TIMEOUT_TYPE_PREFIX, timeout_type_name(type));
	}
	case FAILURE_INFO(SERVER_FAILURE_INFO):
		return !f->server_failure_info->non_retryable;
	case FAILURE_INFO(APPLICATION_FAILURE_INFO):
		return !f->application_failure_info->non_retryable &&
		       !listed(policy, "", f->application_failure_info->type);
	default:
		return true;
	}
}

static const Google__Protobuf__Duration *next_retry_delay(const Temporal__Api__Failure__V1__Failure *f)
{
	if (!f || (int)f->failure_info_case != FAILURE_INFO(APPLICATION_FAILURE_INFO))
		return NULL;
	return f->application_failure_info->next_retry_delay;
}

/* ------------------------------------------------------------------ the next attempt */

static int64_t exponential_ns(const policy_t *p, int32_t attempt)
{
	double ns = (double)pb_duration_ns(p->initial_interval) * pow(p->backoff_coefficient, attempt - 1);
	if (ns >= (double)INT64_MAX)
		return INT64_MAX;
	return ns > 0 ? (int64_t)ns : 0;
}

struct retry_verdict retry_after(const policy_t *p, int32_t attempt, int64_t now_ns, int64_t expiration_ns,
				 const Temporal__Api__Failure__V1__Failure *failure, enum retry_delay_rule rule)
{
	if (!p)
		return (struct retry_verdict){.state = RETRY_STATE(RETRY_POLICY_NOT_SET)};
	if (!retry_failure_retryable(failure, p))
		return (struct retry_verdict){.state = RETRY_STATE(NON_RETRYABLE_FAILURE)};
	if (p->maximum_attempts > 0 && attempt >= p->maximum_attempts)
		return (struct retry_verdict){.state = RETRY_STATE(MAXIMUM_ATTEMPTS_REACHED)};

	const Google__Protobuf__Duration *delay = next_retry_delay(failure);
	int64_t interval = delay ? pb_duration_ns(delay) : exponential_ns(p, attempt < 1 ? 1 : attempt);
	int64_t maximum = delay && rule == RETRY_DELAY_BEYOND_MAXIMUM ? interval : pb_duration_ns(p->maximum_interval);
	if (maximum == 0 && interval <= 0)
		return (struct retry_verdict){.state = RETRY_STATE(TIMEOUT)};
	if (maximum != 0 && (interval <= 0 || interval > maximum))
		interval = maximum;
	if (expiration_ns > 0 && time_add_ns(now_ns, interval) > expiration_ns)
		return (struct retry_verdict){.state = RETRY_STATE(TIMEOUT)};
	return (struct retry_verdict){.state = RETRY_STATE(IN_PROGRESS), .interval_ns = interval};
}
