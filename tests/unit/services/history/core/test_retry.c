/* Retry policies: defaults, refusals with their texts, and the verdict on every kind of failure. */
#include <check.h>
#include <stdlib.h>

#include "services/history/core/failure.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/retry.h"

#define TIMEOUT(name) TEMPORAL__API__ENUMS__V1__TIMEOUT_TYPE__TIMEOUT_TYPE_##name
#define INFO(name)    TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_##name

typedef Temporal__Api__Common__V1__RetryPolicy policy_t;
typedef Temporal__Api__Failure__V1__Failure failure_t;

static struct arena *arena;
static struct core_config config = {
	.retry_initial_interval_ns = NS_PER_S,
	.retry_backoff_coefficient = 2,
	.retry_maximum_interval_coefficient = 100,
};

static void setup(void)
{
	arena = arena_new(1 << 20);
}

static void teardown(void)
{
	arena_free(arena);
}

static policy_t *policy(int64_t initial_ns, double coefficient, int64_t maximum_ns, int attempts)
{
	policy_t p = TEMPORAL__API__COMMON__V1__RETRY_POLICY__INIT;
	p.initial_interval = pb_duration(arena, initial_ns);
	p.backoff_coefficient = coefficient;
	p.maximum_interval = pb_duration(arena, maximum_ns);
	p.maximum_attempts = attempts;
	return retry_policy_with_defaults(&config, arena, &p);
}

static failure_t *application(const char *type, bool non_retryable, int64_t delay_ns)
{
	failure_t *f = arena_new0(arena, failure_t);
	temporal__api__failure__v1__failure__init(f);
	f->failure_info_case = INFO(APPLICATION_FAILURE_INFO);
	f->application_failure_info = arena_new0(arena, Temporal__Api__Failure__V1__ApplicationFailureInfo);
	temporal__api__failure__v1__application_failure_info__init(f->application_failure_info);
	f->application_failure_info->type = (char *)type;
	f->application_failure_info->non_retryable = non_retryable;
	if (delay_ns >= 0)
		f->application_failure_info->next_retry_delay = pb_duration(arena, delay_ns);
	return f;
}

START_TEST(unset_fields_get_defaults)
{
	policy_t *p = retry_policy_with_defaults(&config, arena, NULL);
	ck_assert_int_eq(pb_duration_ns(p->initial_interval), NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(p->maximum_interval), 100 * NS_PER_S);
	ck_assert_double_eq(p->backoff_coefficient, 2);
	ck_assert_int_eq(p->maximum_attempts, 0);

	/* The maximum follows the policy's own initial interval. */
	p = policy(3 * NS_PER_S, 1.5, 0, 7);
	ck_assert_int_eq(pb_duration_ns(p->maximum_interval), 300 * NS_PER_S);
	ck_assert_double_eq(p->backoff_coefficient, 1.5);
	ck_assert_int_eq(p->maximum_attempts, 7);
	/* No overflow. */
	p = policy(INT64_MAX, 0, 0, 0);
	ck_assert_int_eq(pb_duration_ns(p->maximum_interval), INT64_MAX);
}
END_TEST

static void assert_refused(policy_t *p, const char *text)
{
	struct err e = retry_policy_validate(arena, p);
	if (!text) {
		ck_assert_int_eq(e.code, ERR_OK);
		return;
	}
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(e.message, text);
}

START_TEST(refusals_have_their_texts)
{
	assert_refused(NULL, NULL);
	assert_refused(policy(0, 0, 0, 0), NULL);
	assert_refused(policy(-NS_PER_S, 0, 0, 0), "invalid InitialInterval set on retry policy: negative duration");
	assert_refused(policy(0, 0.5, 0, 0), "BackoffCoefficient cannot be less than 1 on retry policy.");
	assert_refused(policy(0, 0, -1, 0), "invalid MaximumInterval set on retry policy: negative duration");
	assert_refused(policy(5 * NS_PER_S, 0, NS_PER_S, 0),
		       "MaximumInterval cannot be less than InitialInterval on retry policy.");
	assert_refused(policy(0, 0, 0, -1), "MaximumAttempts cannot be negative on retry policy.");
	/* With one attempt the rest has no meaning. */
	assert_refused(policy(-NS_PER_S, 0.1, 0, 1), NULL);

	policy_t *p = policy(0, 0, 0, 0);
	char *types[] = {(char *)"Anything", (char *)"TemporalTimeout:Heartbeat", (char *)"TemporalTimeout:Lunch"};
	p->non_retryable_error_types = types;
	p->n_non_retryable_error_types = 2;
	assert_refused(p, NULL);
	p->n_non_retryable_error_types = 3;
	assert_refused(p, "Invalid timeout type value: Lunch.");
}
END_TEST

START_TEST(validation_cuts_copies_not_the_request)
{
	policy_t request = TEMPORAL__API__COMMON__V1__RETRY_POLICY__INIT;
	Google__Protobuf__Duration huge = GOOGLE__PROTOBUF__DURATION__INIT;
	huge.seconds = 2 * PBTIME_DURATION_MAX_S;
	request.initial_interval = request.maximum_interval = &huge;
	policy_t *p = retry_policy_with_defaults(&config, arena, &request);
	assert_refused(p, NULL);
	ck_assert_int_eq(p->initial_interval->seconds, PBTIME_DURATION_MAX_S);
	ck_assert_int_eq(huge.seconds, 2 * PBTIME_DURATION_MAX_S);
}
END_TEST

START_TEST(kinds_of_failures)
{
	char *types[] = {(char *)"Fatal", (char *)"TemporalTimeout:Heartbeat"};
	policy_t *p = policy(0, 0, 0, 0);
	p->non_retryable_error_types = types;
	p->n_non_retryable_error_types = 2;

	ck_assert(retry_failure_retryable(NULL, p));
	ck_assert(retry_failure_retryable(application("Kind", false, -1), p));
	ck_assert(retry_failure_retryable(application("Fatal", false, -1), NULL));
	ck_assert(!retry_failure_retryable(application("Fatal", false, -1), p));
	ck_assert(!retry_failure_retryable(application("Kind", true, -1), p));
	ck_assert(retry_failure_retryable(failure_server(arena, "", false), p));
	ck_assert(!retry_failure_retryable(failure_server(arena, "", true), p));
	ck_assert(retry_failure_retryable(failure_timeout(arena, "", TIMEOUT(START_TO_CLOSE)), p));
	ck_assert(!retry_failure_retryable(failure_timeout(arena, "", TIMEOUT(HEARTBEAT)), p));
	ck_assert(retry_failure_retryable(failure_timeout(arena, "", TIMEOUT(HEARTBEAT)), NULL));
	ck_assert(!retry_failure_retryable(failure_timeout(arena, "", TIMEOUT(SCHEDULE_TO_START)), p));
	ck_assert(!retry_failure_retryable(failure_timeout(arena, "", TIMEOUT(SCHEDULE_TO_CLOSE)), p));

	failure_t *f = failure_server(arena, "", false);
	f->failure_info_case = INFO(CANCELED_FAILURE_INFO);
	ck_assert(!retry_failure_retryable(f, p));
	f->failure_info_case = INFO(TERMINATED_FAILURE_INFO);
	ck_assert(!retry_failure_retryable(f, p));
	f->failure_info_case = TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO__NOT_SET;
	ck_assert(retry_failure_retryable(f, p));
}
END_TEST

static struct retry_verdict after(const policy_t *p, int attempt, int64_t expiration_ns, const failure_t *f)
{
	return retry_after(p, attempt, 1000 * NS_PER_S, expiration_ns, f, RETRY_DELAY_BEYOND_MAXIMUM);
}

START_TEST(intervals_grow_to_the_maximum)
{
	policy_t *p = policy(NS_PER_S, 2, 10 * NS_PER_S, 0);
	static const int64_t expected[] = {1, 2, 4, 8, 10, 10};
	for (int i = 0; i < (int)array_len(expected); i++) {
		struct retry_verdict v = after(p, i + 1, 0, NULL);
		ck_assert_int_eq(v.state, RETRY_STATE(IN_PROGRESS));
		ck_assert_int_eq(v.interval_ns, expected[i] * NS_PER_S);
	}
	/* Far beyond what a double or an int64 holds. */
	ck_assert_int_eq(after(p, INT32_MAX, 0, NULL).interval_ns, 10 * NS_PER_S);
}
END_TEST

START_TEST(reasons_to_stop)
{
	ck_assert_int_eq(after(NULL, 1, 0, NULL).state, RETRY_STATE(RETRY_POLICY_NOT_SET));
	policy_t *p = policy(NS_PER_S, 2, 0, 3);
	ck_assert_int_eq(after(p, 2, 0, NULL).state, RETRY_STATE(IN_PROGRESS));
	ck_assert_int_eq(after(p, 3, 0, NULL).state, RETRY_STATE(MAXIMUM_ATTEMPTS_REACHED));
	ck_assert_int_eq(after(p, 1, 0, application("", true, -1)).state, RETRY_STATE(NON_RETRYABLE_FAILURE));
	/* The next attempt may begin at the very end, not after it. */
	ck_assert_int_eq(after(p, 1, 1001 * NS_PER_S, NULL).state, RETRY_STATE(IN_PROGRESS));
	ck_assert_int_eq(after(p, 1, 1001 * NS_PER_S - 1, NULL).state, RETRY_STATE(TIMEOUT));
}
END_TEST

START_TEST(the_failure_sets_the_delay)
{
	policy_t *p = policy(NS_PER_S, 2, 10 * NS_PER_S, 0);
	ck_assert_int_eq(after(p, 4, 0, application("", false, 5)).interval_ns, 5);
	/* Beyond the maximum interval: an activity's stands, a run's is cut. */
	failure_t *late = application("", false, 60 * NS_PER_S);
	ck_assert_int_eq(after(p, 1, 0, late).interval_ns, 60 * NS_PER_S);
	ck_assert_int_eq(retry_after(p, 1, 0, 0, late, RETRY_DELAY_WITHIN_MAXIMUM).interval_ns, 10 * NS_PER_S);
	/* Zero is no delay that a retry can have. */
	ck_assert_int_eq(after(p, 1, 0, application("", false, 0)).state, RETRY_STATE(TIMEOUT));
}
END_TEST

START_TEST(failures_are_cut_between_characters)
{
	failure_t *f = application("Type", true, -1);
	f->message = (char *)"h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9";
	f->source = (char *)"SDK";
	f->cause = application("Inner", false, -1);
	failure_t *cut = failure_truncate(arena, f, 40);
	ck_assert_str_eq(cut->application_failure_info->type, "Type");
	ck_assert(cut->application_failure_info->non_retryable);
	ck_assert_str_eq(cut->source, "SDK");
	/* 40 - (4+4) - 8 - (3+4) leaves 17 bytes: five whole pairs of 3, then "h" and half a character. */
	ck_assert_str_eq(cut->message, "h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h");
	ck_assert_ptr_null(cut->cause);
	ck_assert_ptr_nonnull(failure_truncate(arena, f, 4000)->cause);
	ck_assert_ptr_null(failure_truncate(arena, NULL, 10));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("retry");
	TCase *tc = tcase_create("core");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, unset_fields_get_defaults);
	tcase_add_test(tc, refusals_have_their_texts);
	tcase_add_test(tc, validation_cuts_copies_not_the_request);
	tcase_add_test(tc, kinds_of_failures);
	tcase_add_test(tc, intervals_grow_to_the_maximum);
	tcase_add_test(tc, reasons_to_stop);
	tcase_add_test(tc, the_failure_sets_the_delay);
	tcase_add_test(tc, failures_are_cut_between_characters);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
