/*
 * Inside the auditor; for audit*.c only.
 *
 *   turn ──► memory ──► row of a sampled run ──► journal, compare ──► pages of rows ──► next turn
 *                                                                      └─► rows looked at one by one (audit_look.c)
 */
#ifndef SERVICES_HISTORY_ADMIN_AUDIT_IMPL_H
#define SERVICES_HISTORY_ADMIN_AUDIT_IMPL_H

#include "services/history/admin/audit.h"

#define AUDIT_RECENT_MAX 50
#define AUDIT_ASKED_MAX	 500
#define AUDIT_PAGE_ROWS	 100

struct finding {
	enum audit_kind kind;
	int64_t shard;
	char *namespace_id, *workflow_id, *run_id, *text, *repaired; /* repaired NULL: it was not */
	int64_t time_ns;
};

struct findings {
	struct finding *list;
	size_t count;
};

/* Which rows come next. */
struct audit_cursor {
	bool closed;				   /* in the partitions */
	bool ended;				   /* all were seen, in this round */
	char *namespace_id, *workflow_id, *run_id; /* NULL: from the start */
	int64_t start_seq;
};

/* A row that wants a closer look. */
struct audit_look {
	char *namespace_id, *workflow_id, *run_id;
	char *other_run_id; /* that seems to be open, too; NULL: none */
	bool closed;	    /* it was seen among the closed ones */
	bool again;	    /* it was looked at, and something found */
	int64_t applied_seq;
	/* of the look under way */
	struct run *run;
	struct audit_history history;
	struct audit_tasks *tasks; /* NULL: it is in memory, or closed */
	struct findings found;
};

/* A shard's turn. */
struct audit_turn {
	struct shard *s;
	int64_t epoch, last_seq, checkpoint_seq, last_fold_ns;
	struct audit_journal journal;
	/* the sampled run; run_id NULL: none */
	char *namespace_id, *workflow_id, *run_id;
	uint64_t serial;
	int64_t seq, stored_seq;
	struct audit_rebuild rebuild;
	bool failed;	       /* the database could not be asked */
	struct findings found; /* told when it has proved conclusive */
	/* rows */
	struct audit_cursor *cursor;
	struct store_scan scan;
	int64_t rows_left; /* of what it may read */
	struct audit_look *looks;
	size_t look_count, look_next;
	char *open_workflow, *open_run; /* the last open row, to be compared with the next */
};

/* A round that was asked for. */
struct audit_asked {
	uint64_t id; /* 0: none ever was */
	bool active;
	int64_t shard;
	char *namespace_id, *workflow_id;
	int64_t rows_per_second;
	bool repair;
	struct audit_cursor cursor;
	uint32_t next_shard;
	int64_t shards, runs, rows, histories, inconclusive, began_ns, ended_ns;
	int64_t found, repaired;
	struct findings list;
};

struct shard_seen {
	struct audit_cursor cursor;
	int64_t checkpoint_seq, since_ns; /* monotonic: when it was seen to move, or to have nothing to do */
	bool fold_told;
};

struct auditor {
	struct history *h;
	struct metrics *metrics;
	struct auditor_config config;
	struct env_timer timer;
	int64_t turn_due_ns;	 /* monotonic */
	struct audit_turn *turn; /* NULL: none under way */
	uint32_t next_shard;
	struct shard_seen *seen;
	struct audit_asked asked;
	int64_t rounds, turns, runs, rows, histories, inconclusive, repaired, counts[AUDIT_KINDS];
	int64_t round_began_ns, round_took_ns, round_ended_ns, round_found, last_round_found;
	struct finding recent[AUDIT_RECENT_MAX];
	size_t recent_count; /* in all */
};

/* ------------------------------------------------------------------ audit_findings.c */

void findings_add(struct findings *f, enum audit_kind kind, const char *workflow_id, const char *run_id,
		  const char *text);
void findings_done(struct findings *f);
void finding_done(struct finding *f);
/* It is so. namespace_id, repaired: may be NULL. */
void audit_tell(struct auditor *a, const struct shard *s, const struct finding *f, const char *namespace_id,
		const char *repaired);
bool audit_may_repair(const struct auditor *a);

/* ------------------------------------------------------------------ audit_turn.c */

void audit_turn_begin(struct auditor *a, struct shard *s, struct audit_cursor *cursor, int64_t rows);
void audit_turn_free(struct audit_turn *t);
bool audit_turn_shard_unchanged(const struct audit_turn *t);
bool audit_in_scope(const struct auditor *a, const char *namespace_id, const char *workflow_id);

/* A worker looks at it once more, which does no harm when there is nothing new. */
void audit_schedule_workflow_task(struct cached_run *r);
/* A row against memory: an open one that is cold is woken in time, and its tasks are in the backlog. */
bool audit_row_cold(struct shard *s, const struct store_run_row *row);
void audit_row_live(struct shard *s, const struct store_run_row *row, const struct run *run,
		    const struct audit_sink *sink);

/* ------------------------------------------------------------------ audit_rows.c, audit_look.c, audit.c */

void audit_cursor_reset(struct audit_cursor *c);
/* Pages until the turn has read what it may, or all. */
void audit_rows(struct auditor *a);
/* The rows that want a closer look, one after the other; then on with the pages. */
void audit_looks(struct auditor *a);
void audit_looked(struct auditor *a);
void audit_look_add(struct audit_turn *t, const struct store_run_row *row, const char *other_run_id);
void audit_looks_free(struct audit_turn *t);
/* All of the row under way has been seen. */
void audit_look_ends(struct auditor *a);
/* The tasks that a cold run must have rows of; then the look ends. */
struct audit_tasks *audit_tasks_of(const struct shard *s, const struct run *run);
void audit_tasks_free(struct audit_tasks *t);
void audit_tasks(struct auditor *a);
/* The turn is over. */
void audit_turn_end(struct auditor *a);

#endif
