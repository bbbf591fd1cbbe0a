/*
 * The auditor: looks by itself, all the time and slowly, whether the design's invariants hold over what is stored and
 * what is in memory (check.h). A turn looks at one shard: its runs in memory, its whole journal, one of its runs
 * against snapshot plus journal, and a page of its rows, open ones and closed ones; of some rows the history, too.
 * Where the pages ended is remembered; a round is over when all rows have been seen.
 *
 * The same can be asked for (perdurectl audit): a round over everything, or over a shard, a namespace or a workflow id,
 * without pauses and with every row's history. The usual turns wait meanwhile.
 *
 * Nothing is told that may be gone by now: what is found while the database was asked counts only if the memory that it
 * was compared with hasn't changed, and what is found in rows is looked at a second time.
 *
 * What can be derived again is repaired, if the configuration or whoever asks says so, and told: timers, offers to
 * matching, rows' wake_at and outbound. What can't (a gap, a cause that isn't there) is only told.
 *
 * Belongs to the history's loop.
 */
#ifndef SERVICES_HISTORY_ADMIN_AUDIT_H
#define SERVICES_HISTORY_ADMIN_AUDIT_H

#include <jansson.h>

#include "services/history/admin/check.h"

struct auditor;
struct metrics;

struct auditor_config {
	int64_t interval_ns; /* between turns */
	int64_t rows_per_second;
	bool repair; /* by itself, too */
};

/* metrics may be NULL; both outlive it. */
struct auditor *auditor_new(struct history *h, struct metrics *metrics, const struct auditor_config *config);
/* Accepts NULL. In the turn in which the store goes, before it. */
void auditor_free(struct auditor *a);

/* From the next turn on. */
void auditor_set_config(struct auditor *a, const struct auditor_config *config);

/* What is to be looked at. */
struct audit_scope {
	int64_t shard;		  /* -1: all that this node serves */
	const char *namespace_id; /* NULL: all */
	const char *workflow_id;  /* NULL: all; else with a namespace */
	int64_t rows_per_second;  /* 0: without pauses */
	bool repair;
};
/* Begins a round over it; its number. 0: another one is under way. */
uint64_t auditor_ask(struct auditor *a, const struct audit_scope *scope);

/* What was found so far, and the round that was asked for last. */
json_t *auditor_json(const struct auditor *a);
/* How often each kind was found. */
int64_t auditor_count(const struct auditor *a, enum audit_kind kind);
int64_t auditor_repaired(const struct auditor *a);
/* Of those that it makes by itself. */
int64_t auditor_rounds(const struct auditor *a);

#endif
