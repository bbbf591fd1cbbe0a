/*
 * What the schema's subcommands share: which files the database has.
 */
#ifndef TOOLS_PERDURECTL_SCHEMA_H
#define TOOLS_PERDURECTL_SCHEMA_H

#include "tools/perdurectl/ctl.h"

/* 0: an empty database. FAILED_PRECONDITION: a file that was applied isn't the one this program has. */
must_check struct err schema_applied(struct ctl *c, int *ret_version);

#endif
