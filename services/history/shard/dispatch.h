/*
 * What the files about handing tasks to matching share: queues as this node knows them, and the shards' backlogs.
 *
 *   dispatch.c   what is offered, and when
 *   lanes.c      offers on their way to matching nodes, and what these answer
 *   queues.c     queues: how many partitions they have, who owns these
 *   backlog*.c   tasks that matching had no room for (backlog.h)
 */
#ifndef SERVICES_HISTORY_SHARD_DISPATCH_H
#define SERVICES_HISTORY_SHARD_DISPATCH_H

#include <perdure/cluster.pb-c.h>
#include <uthash.h>

#include "common/base/heap.h"
#include "services/history/history.h"

struct pull;
struct backlog_task;

struct queue_part {
	char *owner; /* inbox; NULL: no matching node is known */
	uint64_t incarnation;
	size_t parked;	  /* tasks of our shards that wait for being pulled */
	bool report;	  /* its owner is to be told of these */
	bool report_none; /* it believes that there are some */
};

/* A task queue that our shards have tasks for. */
struct task_queue {
	struct history *h;
	char *key;
	Perdure__QueueKey *queue;
	uint32_t count; /* of partitions, by the newest decision of its root */
	int64_t version;
	struct queue_part *parts; /* count */
	bool moved;		  /* a partition has a new owner, and not all shards have followed yet */
	size_t holds;		  /* shard queues and pulls that refer to it */
	int64_t used_ns;	  /* monotonic */
	UT_hash_handle hh;
};

struct dispatch {
	struct history *h;
	struct task_queue *queues;
	struct lane *lanes;
	struct retry *retries;
	struct env_task report;
	struct pull *pulls; /* pages that wait for the database */
	struct env_task pull;
	struct env_timer tend;
	int64_t backlog_bytes;
};

/* Appends a task as a field of perdure.AddTasks. */
void dispatch_put(struct buf *b, const Perdure__QueuedTask *q);

/* ------------------------------------------------------------------ lanes.c */

/* False: too much waits for that node already, and this need not. */
bool lanes_offer(struct dispatch *d, const char *address, const Perdure__QueuedTask *q);
/* Owners changed: what has not left yet may have to go elsewhere. */
void lanes_follow(struct dispatch *d);
void lanes_tend(struct dispatch *d);
void lanes_free(struct dispatch *d);

/* ------------------------------------------------------------------ queues.c */

/* Made when it isn't there. */
struct task_queue *queues_get(struct history *h, const Perdure__QueueKey *key);
struct task_queue *queues_find(struct history *h, const Perdure__QueueKey *key);
void queues_free(struct task_queue *q);
/* Of that shard's tasks. */
uint32_t queues_partition(const struct task_queue *q, const struct shard *s);
/* Whether it was news. */
bool queues_learn(struct task_queue *q, uint32_t count, int64_t version);
/* Looks up the owners anew; whether any changed. A task may be with the owner of another partition than its present
 * one, since their number changes: so all of the queue has moved then. */
bool queues_follow(struct task_queue *q);
/* Those that nobody needs. */
void queues_tend(struct dispatch *d);

/* ------------------------------------------------------------------ backlog.c */

struct shard_queue;

/* Whether matching had no room for the task: it is offered when matching asks. */
bool backlog_has(const struct shard *s, const Perdure__DispatchTask *task);
void backlog_park(struct shard *s, struct task_queue *q, const Perdure__DispatchTask *task);
/* What was pulled of these waits for being pulled again: UINT32_MAX: of any partition. */
void backlog_take_back(struct task_queue *q, uint32_t partition);
/* The partitions' numbers have changed. */
void backlog_recount(struct task_queue *q);
/* The shard was claimed: what its rows sum up to. */
void backlog_sums(struct shard *s, const struct store_task_sum *sums, size_t count);
/* … and serves. */
void backlog_serving(struct shard *s);
/* A start was refused: nobody need take the task. */
void backlog_refused(struct shard *s, const Perdure__DispatchTask *task);
/* A row became a run in memory: its tasks that have rows are known again. */
void backlog_run_loaded(struct cached_run *r, struct bytes snapshot);
/* It leaves memory, and so do its tasks that have rows. */
void backlog_run_dropped(const struct cached_run *r);
/* Whether all tasks of the run that wait have rows: it may leave memory. */
bool backlog_stored(const struct cached_run *r);
/* Whether one could have a row and has none. */
bool backlog_unlisted(const struct cached_run *r);
void backlog_pull_free(struct dispatch *d);

/* What a fold changes. Zeroed but for strings, an arena that outlives the fold. */
struct backlog_fold {
	struct arena *strings;
	struct store_task *rows, *gone_rows;
	struct backlog_task **tasks, **gone; /* the same indexes */
	size_t count, cap, gone_count, gone_cap;
};
/* Puts the run's tasks in, and in front of the snapshot. Returns whether all that wait have rows then. */
bool backlog_fold_run(struct backlog_fold *f, struct cached_run *r, struct buf *snapshot);
/* When all runs are in: rows to be removed. */
void backlog_fold_gone(struct backlog_fold *f, struct shard *s);
/* It was committed, and the shard is still what it was. */
void backlog_folded(struct backlog_fold *f);
void backlog_fold_done(struct backlog_fold *f);
/* At the end of the turn. */
void backlog_report_soon(struct dispatch *d);
void backlog_tend(struct dispatch *d);
void backlog_serve(struct dispatch *d);

#endif
