/*
 * What the tests of PostgreSQL alone need of its world: a second session, beside the stores.
 */
#ifndef TESTS_STORE_WORLD_PG_H
#define TESTS_STORE_WORLD_PG_H

#include "tests/store/world.h"

/* Before any test: waits for nothing, makes the template database from deploy/schema in `schema_folder`. */
void world_pg_prepare(const char *dsn, const char *schema_folder);
/* Runs SQL in a session of its own; the same one each time. Fails the test on an error. */
void world_pg_sql(struct world *w, const char *sql);
/* The first column of the first row; "" when there is none. In the world's arena. */
const char *world_pg_value(struct world *w, const char *sql);
/* Turns the loop until the query's value is `want`. */
void world_pg_until(struct world *w, const char *sql, const char *want);
/* No byte that the stores send reaches the server, until released. */
void world_pg_hold(struct world *w, bool hold);

TCase *postgres_fence(void);
TCase *postgres_partitions(void);

#endif
