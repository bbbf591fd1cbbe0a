/*
 * Counters of the connections to PostgreSQL, made when first needed.
 */
#include "common/pg/pg_meter.h"

#include <stdlib.h>
#include <uthash.h>

#include "common/mem/mem.h"

struct operation {
	const struct pg_stmt *stmt;
	struct counter *requests;
	struct histogram *latency;
	UT_hash_handle hh;
};

struct pg_meter {
	struct metrics *metrics;
	char *service;
	struct operation *operations; /* uthash by stmt's address */
	struct gauge *connections, *under_way;
	struct counter *attempts, *failures, *lost, *errors;
};

struct pg_meter *pg_meter_new(struct metrics *metrics, const char *service)
{
	struct pg_meter *m = new0(struct pg_meter);
	const struct metric_label label = {"service_name", service};
	m->metrics = metrics;
	m->service = mem_strdup(service);
	m->connections =
		metrics_gauge(metrics, "persistence_sql_open_conn", "Connections to PostgreSQL that stand.", &label, 1);
	m->under_way = metrics_gauge(metrics, "persistence_sql_in_use",
				     "Operations on the database that are not answered yet.", &label, 1);
	m->attempts = metrics_counter(metrics, "persistence_session_refresh_attempts",
				      "Attempts to connect to PostgreSQL, the first ones included.", &label, 1);
	m->failures = metrics_counter(metrics, "persistence_session_refresh_failures", "Those that failed.", &label, 1);
	m->errors =
		metrics_counter(metrics, "persistence_errors", "Operations on the database that failed.", &label, 1);
	m->lost = metrics_counter(metrics, "perdure_database_connections_lost_total",
				  "Connections to PostgreSQL that stood and were lost.", &label, 1);
	return m;
}

void pg_meter_free(struct pg_meter *m)
{
	if (!m)
		return;
	struct operation *o, *tmp;
	HASH_ITER (hh, m->operations, o, tmp) {
		HASH_DEL(m->operations, o);
		free(o);
	}
	free(m->service);
	free(m);
}

/* ------------------------------------------------------------------ connections */

void pg_meter_connected(struct pg_meter *m)
{
	if (!m)
		return;
	gauge_add(m->connections, 1);
	counter_inc(m->attempts);
}

void pg_meter_lost(struct pg_meter *m)
{
	if (!m)
		return;
	gauge_add(m->connections, -1);
	counter_inc(m->lost);
}

void pg_meter_closed(struct pg_meter *m)
{
	if (m)
		gauge_add(m->connections, -1);
}

void pg_meter_not_connected(struct pg_meter *m)
{
	if (!m)
		return;
	counter_inc(m->attempts);
	counter_inc(m->failures);
}

/* ------------------------------------------------------------------ operations */

static struct operation *operation_get(struct pg_meter *m, const struct pg_stmt *stmt)
{
	struct operation *o;
	HASH_FIND_PTR(m->operations, &stmt, o);
	if (o)
		return o;
	o = new0(struct operation);
	o->stmt = stmt;
	const struct metric_label labels[] = {{"operation", stmt ? stmt->name : "other"}, {"service_name", m->service}};
	o->requests =
		metrics_counter(m->metrics, "persistence_requests",
				"Operations on the database that ended; one commit holds many transitions.", labels, 2);
	o->latency = metrics_histogram_seconds(m->metrics, "persistence_latency",
					       "From an operation's submission to its answer.", labels, 2);
	HASH_ADD_PTR(m->operations, stmt, o);
	return o;
}

void pg_meter_began(struct pg_meter *m)
{
	if (m)
		gauge_add(m->under_way, 1);
}

void pg_meter_dropped(struct pg_meter *m)
{
	if (m)
		gauge_add(m->under_way, -1);
}

void pg_meter_ended(struct pg_meter *m, const struct pg_stmt *stmt, int64_t took_ns, enum err_code code)
{
	if (!m)
		return;
	struct operation *o = operation_get(m, stmt);
	gauge_add(m->under_way, -1);
	counter_inc(o->requests);
	histogram_observe(o->latency, took_ns);
	if (code == ERR_OK)
		return;
	counter_inc(m->errors);
	/* Rare enough to be looked up. */
	const struct metric_label labels[] = {{"operation", stmt ? stmt->name : "other"},
					      {"error_type", err_code_name(code)},
					      {"service_name", m->service}};
	counter_inc(metrics_counter(m->metrics, "persistence_error_with_type", "Operations that failed, by how.",
				    labels, 3));
}
