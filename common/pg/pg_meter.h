/*
 * What is counted of a daemon's connections to PostgreSQL: operations by name, their time, connections lost.
 *
 * One meter for all links of a store; belongs to their loop. The names are the reference server's persistence_… ones,
 * so that its dashboards find them. An operation is called after its first statement.
 */
#ifndef COMMON_PG_PG_METER_H
#define COMMON_PG_PG_METER_H

#include "common/metrics/metrics.h"
#include "common/pg/pg.h"

struct pg_meter;

/* `service` labels every series; copied. The metrics outlive the meter. */
struct pg_meter *pg_meter_new(struct metrics *metrics, const char *service);
/* Accepts NULL. The links are gone. */
void pg_meter_free(struct pg_meter *m);

/* For the links; each accepts NULL. */
void pg_meter_connected(struct pg_meter *m);
void pg_meter_lost(struct pg_meter *m);		 /* a connection that stood */
void pg_meter_closed(struct pg_meter *m);	 /* the same, by us */
void pg_meter_not_connected(struct pg_meter *m); /* an attempt failed */
void pg_meter_began(struct pg_meter *m);
/* stmt NULL: statements that are not prepared, all under one name. */
void pg_meter_ended(struct pg_meter *m, const struct pg_stmt *stmt, int64_t took_ns, enum err_code code);
/* Operations that end without an answer. */
void pg_meter_dropped(struct pg_meter *m);

#endif
