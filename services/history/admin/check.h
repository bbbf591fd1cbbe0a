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
	AUDIT_ROW,	   /* row and snapshot disagree whether it is open */
	AUDIT_DEADLINE,	   /* wakes later than its earliest deadline */
	AUDIT_TWO_OPEN,	   /* of one workflow id */
	AUDIT_MEMORY,	   /* snapshot plus journal isn't the owner's memory */
	AUDIT_STUCK,	   /* an open run that waits for nothing */
	AUDIT_NOT_OFFERED, /* an unstarted task that neither matching nor the backlog is told of */
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

/* A stored run, and its snapshot; *ret_next_event is the snapshot's (0: it can't be read). */
void audit_row(const struct store_run_row *row, const struct audit_sink *sink, int64_t *ret_next_event);
/* Chunks of its history, in order; *next_event begins with 1. */
void audit_chunk(const struct store_history_chunk *chunk, int64_t *next_event, const struct audit_sink *sink);

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

/* What can be seen in memory alone: it waits for something, is woken in time, its tasks are listed to be offered. */
void audit_cached_run(const struct cached_run *r, const struct audit_sink *sink);
/* At most one of its runs is open. */
void audit_workflow(const struct workflow *wf, const struct audit_sink *sink);

#endif
