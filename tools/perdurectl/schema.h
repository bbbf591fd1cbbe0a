/*
 * What the schema's subcommands share: which files the database has.
 */
#ifndef TOOLS_PERDURECTL_SCHEMA_H
#define TOOLS_PERDURECTL_SCHEMA_H

#include "tools/perdurectl/ctl.h"

/* 0: an empty database. FAILED_PRECONDITION: a file that was applied isn't the one this program has. */
must_check struct err schema_applied(struct ctl *c, int *ret_version);
/* Whether this program may work on it although it is newer (or the same). */
must_check struct err schema_serves_us(struct ctl *c, bool *ret);
/* Whether programs that know the schema up to `version` may go on while the files after it are applied, and afterwards.
 */
bool schema_plan_serves(int version);

#endif
