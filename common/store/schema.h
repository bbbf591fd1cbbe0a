/*
 * The database schema that this source tree knows: the number of the last file in deploy/schema.
 */
#ifndef COMMON_STORE_SCHEMA_H
#define COMMON_STORE_SCHEMA_H

#define STORE_SCHEMA_VERSION 7

#include <stdbool.h>

/*
 * Rolling upgrades: the schema is migrated first, while programs of the release before go on, and may start again,
 * until each is replaced. So a migration says which is the oldest program (by its STORE_SCHEMA_VERSION) that may work
 * on what it makes (deploy/schema/SERVES); what says nothing serves only its own. Two numbers: the version, and the
 * newest "serves from" of all migrations that this program doesn't know (0: it knows all).
 */
#define STORE_SCHEMA_TEXT_(n) #n
#define STORE_SCHEMA_TEXT(n)  STORE_SCHEMA_TEXT_(n)
/* (A row's JSON has the column if the table does: a database that was made before it has not.) */
#define STORE_SCHEMA_SQL                                                                                               \
	"SELECT coalesce(max(version), 0)::int4, coalesce(max(coalesce((to_jsonb(s) ->> 'serves_from')::int4, "        \
	"version)) FILTER (WHERE version > " STORE_SCHEMA_TEXT(                                                        \
		STORE_SCHEMA_VERSION) "), 0)::int4 FROM schema_version s"

static inline bool store_schema_serves_us(int version, int serves_from)
{
	return version == STORE_SCHEMA_VERSION ||
	       (version > STORE_SCHEMA_VERSION && serves_from <= STORE_SCHEMA_VERSION);
}

#endif
