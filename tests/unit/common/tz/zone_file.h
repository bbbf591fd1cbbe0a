/*
 * Zone files made for tests.
 */
#ifndef TESTS_UNIT_COMMON_TZ_ZONE_FILE_H
#define TESTS_UNIT_COMMON_TZ_ZONE_FILE_H

#include "common/tz/tz.h"

struct zone_change {
	int64_t at_s;
	int offset_s; /* from then on */
};

/* A TZif file of version 2 with the first offset, the changes, and the rule behind them. */
void zone_file(struct buf *out, int first_offset_s, const struct zone_change *changes, size_t count, const char *rule);

#endif
