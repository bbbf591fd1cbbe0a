/* Metrics: handles, labels, histograms, collection, and the text that Prometheus reads. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/metrics/metrics.h"
#include "common/metrics/process.h"

static struct metrics *metrics;
static struct buf out;

static void setup(void)
{
	metrics = metrics_new();
	out = (struct buf){0};
}

static void teardown(void)
{
	metrics_free(metrics);
	buf_done(&out);
}

static const char *exposed(void)
{
	out.len = 0;
	metrics_write(metrics, &out);
	buf_put(&out, "", 1);
	return (const char *)out.data;
}

START_TEST(families_are_sorted_and_labelled)
{
	const struct metric_label start[] = {{"method", "Start\"W\\x\n"}, {"code", "OK"}};
	const struct metric_label poll[] = {{"method", "Poll"}, {"code", "OK"}};
	counter_add(metrics_counter(metrics, "perdure_requests_total", "Requests.", start, 2), 3);
	counter_inc(metrics_counter(metrics, "perdure_requests_total", "Requests.", poll, 2));
	gauge_set(metrics_gauge(metrics, "perdure_polls", "Open polls.", NULL, 0), -4);
	ck_assert_str_eq(exposed(), "# HELP perdure_polls Open polls.\n"
				    "# TYPE perdure_polls gauge\n"
				    "perdure_polls -4\n"
				    "# HELP perdure_requests_total Requests.\n"
				    "# TYPE perdure_requests_total counter\n"
				    "perdure_requests_total{method=\"Start\\\"W\\\\x\\n\",code=\"OK\"} 3\n"
				    "perdure_requests_total{method=\"Poll\",code=\"OK\"} 1\n");
}
END_TEST

START_TEST(the_same_labels_are_the_same_series)
{
	const struct metric_label labels[] = {{"shard", "1"}};
	struct counter *c = metrics_counter(metrics, "x_total", "X.", labels, 1);
	ck_assert_ptr_eq(c, metrics_counter(metrics, "x_total", "X.", labels, 1));
	struct gauge *g = metrics_gauge(metrics, "g", "G.", NULL, 0);
	gauge_add(g, 2);
	gauge_add(g, -1);
	ck_assert_int_eq(metrics_gauge(metrics, "g", "G.", NULL, 0)->value, 1);
}
END_TEST

START_TEST(histograms_accumulate)
{
	struct histogram *h = metrics_histogram_seconds(metrics, "took_seconds", "Took.", NULL, 0);
	histogram_observe(h, 50 * NS_PER_US);
	histogram_observe(h, 100 * NS_PER_US);
	histogram_observe(h, 3 * NS_PER_S);
	histogram_observe(h, 3600 * NS_PER_S);
	const char *text = exposed();
	ck_assert_ptr_nonnull(strstr(text, "took_seconds_bucket{le=\"0.0001\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(text, "took_seconds_bucket{le=\"2.5\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(text, "took_seconds_bucket{le=\"5\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(text, "took_seconds_bucket{le=\"60\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(text, "took_seconds_bucket{le=\"+Inf\"} 4\n"));
	ck_assert_ptr_nonnull(strstr(text, "took_seconds_sum 3603.00015\n"));
	ck_assert_ptr_nonnull(strstr(text, "took_seconds_count 4\n"));

	const struct metric_label labels[] = {{"kind", "batch"}};
	histogram_observe(metrics_histogram_size(metrics, "batch_bytes", "Size.", labels, 1), 5000);
	text = exposed();
	ck_assert_ptr_nonnull(strstr(text, "batch_bytes_bucket{kind=\"batch\",le=\"4096\"} 0\n"));
	ck_assert_ptr_nonnull(strstr(text, "batch_bytes_bucket{kind=\"batch\",le=\"16384\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(text, "batch_bytes_sum{kind=\"batch\"} 5000\n"));
}
END_TEST

START_TEST(too_many_series_go_together)
{
	for (int i = 0; i < METRICS_SERIES_MAX + 50; i++) {
		char value[16];
		snprintf(value, sizeof value, "%d", i);
		const struct metric_label labels[] = {{"id", value}};
		counter_inc(metrics_counter(metrics, "ids_total", "Ids.", labels, 1));
	}
	const char *text = exposed();
	ck_assert_ptr_nonnull(strstr(text, "ids_total{id=\"1999\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(text, "ids_total{id=\"other\"} 50\n"));
}
END_TEST

static void collect(void *ctx)
{
	gauge_set(metrics_gauge(metrics, "now", "Now.", NULL, 0), ++*(int *)ctx);
}

START_TEST(collectors_run_at_each_exposition)
{
	int calls = 0;
	metrics_on_collect(metrics, collect, &calls);
	ck_assert_ptr_nonnull(strstr(exposed(), "\nnow 1\n"));
	ck_assert_ptr_nonnull(strstr(exposed(), "\nnow 2\n"));
	metrics_off_collect(metrics, &calls);
	exposed();
	ck_assert_int_eq(calls, 2);
}
END_TEST

START_TEST(the_process_measures_itself)
{
	metrics_add_process(metrics);
	exposed();
	ck_assert_int_gt(metrics_gauge(metrics, "process_resident_memory_bytes", "", NULL, 0)->value, 100000);
	ck_assert_int_ge(metrics_gauge(metrics, "process_open_fds", "", NULL, 0)->value, 3);
	ck_assert_ptr_nonnull(strstr(exposed(), "\nprocess_cpu_seconds_total 0"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/metrics");
	TCase *tests = tcase_create("metrics");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, families_are_sorted_and_labelled);
	tcase_add_test(tests, the_same_labels_are_the_same_series);
	tcase_add_test(tests, histograms_accumulate);
	tcase_add_test(tests, too_many_series_go_together);
	tcase_add_test(tests, collectors_run_at_each_exposition);
	tcase_add_test(tests, the_process_measures_itself);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
