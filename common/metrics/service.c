/*
 * The request families: names, helps and labels.
 */
#include "common/metrics/service.h"

#include <ctype.h>
#include <stdio.h>

struct counter *service_requests(struct metrics *m, const char *service, const char *operation, const char *namespace)
{
	const struct metric_label labels[] = {
		{"operation", operation}, {"namespace", namespace}, {"service_name", service}};
	return metrics_counter(m, "service_requests", "Requests of the public API that ended.", labels, 3);
}

struct histogram *service_latency(struct metrics *m, const char *service, const char *operation)
{
	const struct metric_label labels[] = {{"operation", operation}, {"service_name", service}};
	return metrics_histogram_seconds(m, "service_latency", "From a request's arrival to its end; polls wait.",
					 labels, 2);
}

struct gauge *service_pending_requests(struct metrics *m, const char *service)
{
	const struct metric_label label = {"service_name", service};
	return metrics_gauge(m, "service_pending_requests",
			     "Requests of the public API that have not ended, polls included.", &label, 1);
}

/* NOT_FOUND, or not found → serviceerror_NotFound */
static void error_type(enum err_code code, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "serviceerror_");
	bool up = true;
	for (const char *c = err_code_name(code); *c && n + 1 < size; c++) {
		if (isalpha((unsigned char)*c))
			out[n++] = (char)(up ? toupper((unsigned char)*c) : tolower((unsigned char)*c));
		up = !isalpha((unsigned char)*c);
	}
	out[n] = 0;
}

void service_count_error(struct metrics *m, const char *service, const char *operation, const char *namespace,
			 enum err_code code)
{
	char type[64];
	error_type(code, type, sizeof type);
	const struct metric_label plain[] = {
		{"operation", operation}, {"namespace", namespace}, {"service_name", service}};
	counter_inc(
		metrics_counter(m, "service_errors", "Requests of the public API that ended with an error.", plain, 3));
	const struct metric_label labels[] = {
		{"operation", operation}, {"namespace", namespace}, {"error_type", type}, {"service_name", service}};
	counter_inc(metrics_counter(m, "service_error_with_type",
				    "Requests of the public API that ended with an error, by its kind.", labels, 4));
}
