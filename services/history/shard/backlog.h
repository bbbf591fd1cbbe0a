/*
 * What the files of the backlog share.
 *
 *   backlog.c        tasks in memory, and their rows as the folds of their runs change them
 *   backlog_rows.c   tasks that are in the database only: how many there are, and reading them, best first
 *   backlog_pull.c   what matching is told, and the pages that it pulls
 *
 * A task that nobody has taken is in one of these states while it is in memory:
 *
 *     OUT ───── refused ────► PARKED ──── pulled ────► GIVEN
 *      │                       │  ▲                     │ │
 *      │                       │  └── lost, or long ago ┘ │
 *      └───── started, timed out, its run closed … ───────┴──► GONE (until its row is)
 *
 * and may have a row besides. What has a row, and whose run is not in memory, needs no memory either: it is dropped and
 * read again when its turn comes.
 */
#ifndef SERVICES_HISTORY_SHARD_BACKLOG_H
#define SERVICES_HISTORY_SHARD_BACKLOG_H

#include "services/history/shard/dispatch.h"

/* Of RunSnapshot.listed, which comes first in a stored snapshot. */
#define BACKLOG_LISTED_TAG (10 << 3 | 2)
/* By which counts are kept; others count as the nearest. */
#define BACKLOG_PRIORITIES 6

enum backlog_state {
	BACKLOG_OUT,	/* with matching, or on the way there, since it was offered */
	BACKLOG_PARKED, /* waits for being pulled */
	BACKLOG_GIVEN,	/* was pulled */
	BACKLOG_GONE,	/* nobody need take it any more; its row is to go */
};

enum backlog_row {
	BACKLOG_ROW_NONE,
	BACKLOG_ROW_MAYBE, /* a fold that writes it is under way, or has failed */
	BACKLOG_ROW_STORED,
};

/* The order in which tasks are pulled, and the end of the row's key. */
struct backlog_key {
	int32_t priority;
	int64_t scheduled_ns;
	const char *run_id;
	int64_t event_id, stamp;
};

struct backlog_task {
	struct shard_queue *sq;
	struct backlog_run *run;
	enum backlog_state state;
	enum backlog_row row;
	int64_t given_ns;		  /* GIVEN, monotonic */
	struct heap_node order, age;	  /* PARKED */
	struct backlog_task *prev, *next; /* GIVEN: sq->given; GONE: shard->backlog_gone */
	struct backlog_task *next_of_run;
	struct backlog_key key;
	int64_t expires_ns;
	int32_t attempt;
	float weight;
	uint32_t trace_tasks;
	const char *traceparent; /* in text */
	size_t bytes;
	char text[]; /* the fairness key, and what else is text */
};

struct backlog_run {
	struct backlog_task *tasks;
	struct cached_run *cached; /* NULL: not in memory */
	const char *workflow_id;   /* behind run_id */
	UT_hash_handle hh;	   /* shard->backlog_runs by run_id */
	char run_id[];
};

struct backlog_sum {
	int64_t rows;	   /* in the database, as far as we know */
	int64_t known;	   /* of these, whose tasks are in memory */
	int64_t oldest_ns; /* none of the others is older */
};

/* Of one queue, in one shard. */
struct shard_queue {
	struct shard *shard;
	struct task_queue *q;
	size_t tasks;				/* that refer to it */
	struct heap by_order;			/* PARKED */
	struct heap by_age[BACKLOG_PRIORITIES]; /* the same */
	struct backlog_task *given;		/* the longest ago first */
	struct backlog_sum sums[BACKLOG_PRIORITIES];
	int64_t again[BACKLOG_PRIORITIES]; /* were given, and wait again for they were not started; matching may have
					      them */
	/* Rows from this key on (itself included) may not be in memory; of all before, the tasks are. */
	bool unread;
	struct backlog_key from; /* run_id owned; NULL: from the first */
	struct backlog_read *reading;
	int64_t read_ns;	/* monotonic: when rows were read last; 0: since then they have been dropped again */
	size_t counted;		/* in its partition's sum */
	struct heap_node merge; /* while a page is made */
	UT_hash_handle hh;	/* shard->backlog by q */
};

int backlog_key_order(const struct backlog_key *a, const struct backlog_key *b);
/* As what tasks of that priority are counted. */
int backlog_priority(int32_t priority);
/* Where they are. */
struct backlog_sum *backlog_sum(struct shard_queue *sq, int32_t priority);

/* ------------------------------------------------------------------ backlog.c */

struct shard_queue *backlog_queue_get(struct shard *s, struct task_queue *q);
/* NULL: there is nothing. */
struct shard_queue *backlog_queue_find(const struct task_queue *q, uint32_t shard);
/* Frees it when nothing is left in it. */
void backlog_queue_put(struct shard_queue *sq);
/* The number of those that wait has changed: its partition's sum follows. */
void backlog_count(struct shard_queue *sq);
/* How many wait for being pulled, in memory and not. */
int64_t backlog_waiting(const struct shard_queue *sq);
/* The same, of those that are counted as that priority, with the time of the oldest; 0: there are none. */
int64_t backlog_waiting_of(const struct shard_queue *sq, int priority, int64_t *ret_oldest_ns);
/* The first of the PARKED; NULL: none. */
struct backlog_task *backlog_first(const struct shard_queue *sq);
void backlog_give(struct backlog_task *t);
/* So many more wait again though matching may have them. */
void backlog_again(struct shard_queue *sq, int32_t priority, int change);
void backlog_take_back_task(struct backlog_task *t);
/* Made, as OUT, when it isn't there. */
struct backlog_task *backlog_task_of(struct shard *s, const Perdure__QueueKey *queue,
				     const Perdure__DispatchTask *task);
/* Frees a task that is GONE when its row is. */
void backlog_row_set(struct backlog_task *t, enum backlog_row row);
/* A row was read. */
void backlog_row_read(struct shard_queue *sq, const struct store_task *row);
/* Precondition: PARKED, with a row; its run is not in memory. */
void backlog_drop(struct backlog_task *t);

/* ------------------------------------------------------------------ backlog_rows.c */

/* Whether it must be known what comes next before anything is given. */
bool backlog_blocked(const struct shard_queue *sq);
/* Begins to read unless it is being read; then calls backlog_pull_again() (or …_failed). */
void backlog_read(struct shard_queue *sq, size_t limit);
/* A row whose task leaves memory. */
void backlog_unread(struct shard_queue *sq, const struct backlog_key *key);
/* The queue goes: what is being read comes to nothing. */
void backlog_read_abandon(struct shard_queue *sq);
/* Drops what was read long ago and nobody asked for, and looks where counts and rows disagree. */
void backlog_rows_tend(struct shard_queue *sq);

/* ------------------------------------------------------------------ backlog_pull.c */

void backlog_pull_again(struct dispatch *d);
void backlog_pull_failed(struct dispatch *d, const struct task_queue *q);
void backlog_pull_free(struct dispatch *d);

#endif
