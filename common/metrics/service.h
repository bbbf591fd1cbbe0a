/*
 * The families that several daemons count their requests in, under the reference server's names and labels, so that
 * its dashboards find them: in one place, because a name has one set of labels in a process.
 */
#ifndef COMMON_METRICS_SERVICE_H
#define COMMON_METRICS_SERVICE_H

#include "common/err/err.h"
#include "common/metrics/metrics.h"

/* Where requests are not told apart by namespace. */
#define SERVICE_NAMESPACE_ALL "all"

struct counter *service_requests(struct metrics *m, const char *service, const char *operation, const char *namespace);
struct histogram *service_latency(struct metrics *m, const char *service, const char *operation);
struct gauge *service_pending_requests(struct metrics *m, const char *service);
/* Looked up each time: errors are rare. error_type: "serviceerror_NotFound". */
void service_count_error(struct metrics *m, const char *service, const char *operation, const char *namespace,
			 enum err_code code);

#endif
