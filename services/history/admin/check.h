/*
 * The design's invariants as functions over what is stored and what is in memory: the online auditor and the simulation
 * both call them. Nothing here changes anything; each violation is told to the sink.
 */
#ifndef SERVICES_HISTORY_ADMIN_CHECK_H
#define SERVICES_HISTORY_ADMIN_CHECK_H

#include "services/history/history.h"

enum audit_kind {
	AUDIT_JOURNAL_GAP, /* a seq is missing, or twice */
	AUDIT_EPOCH,	   /* it went down as seq went up */
	AUDIT_UNREADABLE,  /* a snapshot, a record */
	AUDIT_EVENTS,	   /* not numbered 1..n */
	AUDIT_CAUSE,	   /* an event names one that is not there, comes later or is none that could cause it */
	AUDIT_TWICE,	   /* something started or ended twice */
	AUDIT_PENDING,	   /* what the history leaves open isn't what the snapshot has pending */
	AUDIT_ROW,	   /* row and snapshot disagree */
	AUDIT_CLOSED,	   /* a closed run isn't as it was left: its last event, its row, an open one beside it */
	AUDIT_OUTBOUND,	   /* a row doesn't say that it has a task to start */
	AUDIT_DEADLINE,	   /* wakes later than its earliest deadline */
	AUDIT_TWO_OPEN,	   /* of one workflow id */
	AUDIT_MEMORY,	   /* snapshot plus journal isn't the owner's memory */
	AUDIT_STUCK,	   /* an open run that waits for nothing */
	AUDIT_NOT_OFFERED, /* an unstarted task that neither matching nor the backlog is told of */
	AUDIT_OVERDUE,	   /* a deadline passed and nobody woke the run */
	AUDIT_FOLD,	   /* a change that has waited for its fold for too long */
	AUDIT_KINDS,
};

/* "journal_gap", … : the metric's label. */
const char *audit_kind_name(enum audit_kind kind);

struct audit_sink {
	/* workflow_id, run_id: NULL when it is about a shard. Strings live during the call. */
	void (*found)(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text);
	void *ctx;
};

/* A shard's journal, row by row; seq begins with the checkpoint's. */
struct audit_journal {
	uint32_t shard;
	int64_t seq, epoch;
};
void audit_journal_row(struct audit_journal *j, int64_t seq, int64_t epoch, const struct audit_sink *sink);

/*
 * A stored run against its snapshot, which is returned (NULL: it can't be read), to be run_free()d. `shards`: their
 * number.
 */
struct run *audit_row(const struct store_run_row *row, uint32_t shards, const struct audit_sink *sink);

/* ------------------------------------------------------------------ history (check_history.c) */

struct audit_event;

/* A run's events, seen from the first to the last. */
struct audit_history {
	const char *workflow_id, *run_id;
	int64_t next_event;	    /* begins with 1 */
	int64_t until;		    /* later ones are not looked at */
	struct audit_event *events; /* by id */
	size_t cap;
	bool broken; /* events are missing or can't be read: the rest would only be consequences */
};
void audit_history_init(struct audit_history *h, const char *workflow_id, const char *run_id, int64_t until);
void audit_history_done(struct audit_history *h);
/* Chunks in order; the first may begin before what is still missing. */
void audit_history_chunk(struct audit_history *h, const struct store_history_chunk *chunk,
			 const struct audit_sink *sink);
/* After the last chunk: what it leaves open, against the snapshot. */
void audit_history_end(struct audit_history *h, const struct run *run, const struct audit_sink *sink);

/* ------------------------------------------------------------------ memory */

/* Snapshot plus journal, as recovery would make it. */
struct audit_rebuild {
	const char *run_id;
	struct run *run; /* the snapshot's; NULL: no row. To be run_free()d */
	int64_t applied; /* the row's */
};
/* false: the snapshot can't be read. */
bool audit_rebuild_row(struct audit_rebuild *b, const struct store_run_row *row);
void audit_rebuild_record(struct audit_rebuild *b, int64_t seq, struct bytes record, const struct audit_sink *sink);
/* Whether it is the same as the memory. */
void audit_compare(const struct audit_rebuild *b, const struct run *memory, const struct audit_sink *sink);

/* No task, no timer, no activity; and not because a worker has seen it and left it to wait for a signal. */
bool audit_waits_for_nothing(const struct run *run);
/* What can be seen in memory alone: it waits for something, is woken in time, its tasks are listed to be offered. */
void audit_cached_run(const struct cached_run *r, const struct audit_sink *sink);
/* At most one of its runs is open. */
void audit_workflow(const struct workflow *wf, const struct audit_sink *sink);

#endif
