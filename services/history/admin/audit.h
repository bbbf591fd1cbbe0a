/*
 * The auditor: looks by itself, a shard a second, whether the design's invariants hold over what is stored and what is
 * in memory (check.h). A shard's pass looks at all its runs in memory, its whole journal, one of the runs against
 * snapshot plus journal, that run's stored history, and a page of rows that are not in memory. A finding counts only
 * when nothing of it changed while the database was asked.
 *
 * What can be derived again is repaired: timers, the list of tasks to offer, rows with a wrong wake_at.
 *
 * Belongs to the history's loop.
 */
#ifndef SERVICES_HISTORY_ADMIN_AUDIT_H
#define SERVICES_HISTORY_ADMIN_AUDIT_H

#include <jansson.h>

#include "services/history/admin/check.h"

struct auditor;
struct metrics;

/* metrics may be NULL; both outlive it. */
struct auditor *auditor_new(struct history *h, struct metrics *metrics);
/* Accepts NULL. In the turn in which the store goes, before it. */
void auditor_free(struct auditor *a);
/* A round over all shards begins now and takes no breath; ends when `rounds` of the answer grows by two at most. */
void auditor_hurry(struct auditor *a);
json_t *auditor_json(const struct auditor *a);
/* How often each kind was found. */
int64_t auditor_count(const struct auditor *a, enum audit_kind kind);
int64_t auditor_rounds(const struct auditor *a);

#endif
