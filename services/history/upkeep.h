/*
 * What one history node does for all of them, now and then: room for closed runs is made ahead, and partitions whose
 * retention is over leave.
 */
#ifndef SERVICES_HISTORY_UPKEEP_H
#define SERVICES_HISTORY_UPKEEP_H

#include <stdint.h>

struct history;
struct upkeep;

/* For metrics. */
struct upkeep_counts {
	uint64_t done, failed, dropped;
	int64_t last_ns; /* wall clock, of the last that succeeded here; 0: none */
};

struct upkeep *upkeep_new(struct history *h);
/* Accepts NULL. The store goes in the same turn: it may still have a call of ours. */
void upkeep_free(struct upkeep *u);
struct upkeep_counts upkeep_counts(const struct upkeep *u);

#endif
