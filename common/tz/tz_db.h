/*
 * Time zones by name, from the system's files.
 */
#ifndef COMMON_TZ_TZ_DB_H
#define COMMON_TZ_TZ_DB_H

#include "common/tz/tz.h"

/* Zones that were asked for, read once and kept. Belongs to one loop. */
struct tz_db;

/* dir: where the zone files are; NULL: the system's. A missing folder is one without zones. */
struct tz_db *tz_db_new(const char *dir);
/* Accepts NULL. Its zones go with it. */
void tz_db_free(struct tz_db *db);
/* Whether there is such a zone ("Europe/Berlin"). *ret NULL: UTC. The first time, a small local file is read. */
bool tz_db_find(struct tz_db *db, const char *name, const struct tz **ret);

#endif
