/*
 * A shard: the runs of the workflow ids that hash onto it, in memory, with their truth in the journal.
 *
 *                claim            journal read, rows loaded
 *   ABSENT ───► CLAIMING ───► REPLAYING ───► SERVING ───► RELEASING ───► ABSENT
 *                  │               │             │ writer reset           (fold all, release)
 *                  └───────────────┴──── lost ───┤
 *                                                ▼
 *                                            RECLAIMING ───► SERVING (settled) or ABSENT (somebody else has it)
 *
 * Owner: one loop. Everything here is called on it. A run is changed by transition_commit() only, which appends the
 * delta to the shard's open batch; nothing made from it leaves before shard_after() says that the batch is committed.
 */
#ifndef SERVICES_HISTORY_SHARD_SHARD_H
#define SERVICES_HISTORY_SHARD_SHARD_H

#include "common/env/env.h"
#include "common/log/log.h"
#include "common/membership/membership.h"
#include "common/rpc/rpc.h"
#include "common/store/store.h"
#include "services/history/core/core.h"
#include "services/history/core/history_log.h"

struct history;
struct shard;
struct workflow;
struct cached_run;
struct due_load;

enum shard_state {
	SHARD_ABSENT,
	SHARD_CLAIMING,
	SHARD_REPLAYING,
	SHARD_SERVING,
	SHARD_RECLAIMING, /* the writer's connection was lost: what was under way is being settled */
	SHARD_RELEASING,
};

/* Told once what became of the batch that it waits for. Embedded in whatever waits. */
struct waiter {
	void (*fn)(struct waiter *w, struct err e);
	struct waiter *next;
	struct env_task task; /* when there is nothing to wait for */
	struct err result;
	/* Out: it waited for a commit, whose fence proves that the shard was ours then. Else only the lease does (R8).
	 */
	bool proven;
};

/* What gathered for a shard since the last commit. */
struct batch {
	struct buf record; /* perdure.JournalRecord without its first fields */
	size_t deltas;
	int64_t seq;
	struct waiter *waiters, **waiters_tail;
	struct cached_run **touched;
	size_t touched_count, touched_cap;
	struct buf offers; /* perdure.AddTasks encoding: tasks to hand to matching once this is committed */
	size_t offer_count;
	const struct task_trace *trace; /* while offers are collected: what they are part of; NULL: nothing */
};

/* A request for a run that is being loaded. */
struct run_wait {
	/* run NULL: there is none. With an error, wf is NULL too. */
	void (*fn)(struct run_wait *w, struct err e, struct workflow *wf, struct cached_run *run);
	struct run_wait *next;
};

/* A workflow id: its runs in memory, and the requests that wait for one to be loaded. */
struct workflow {
	char *key;		 /* namespace_id '/' workflow_id */
	const char *workflow_id; /* inside key */
	char *namespace_id;
	struct shard *shard;
	struct cached_run *runs;
	struct cached_run *current; /* the open or latest run */
	bool current_known;	    /* current NULL then means: none exists */
	struct run_load *loads;
	int pins; /* keeps an empty workflow from being freed */
	UT_hash_handle hh;
};

struct cached_run {
	struct workflow *wf;
	struct run *run;
	struct history_log *log;      /* events after stored_last_event_id at least */
	int64_t stored_last_event_id; /* history up to here is in the database's chunks */
	int64_t seq;		      /* the last batch that touched it */
	int64_t stored_seq;	      /* applied_seq of its row; 0: no row */
	int64_t dirty_since;	      /* first batch not folded; 0: clean */
	bool folding;
	int64_t aside_until_ns; /* monotonic; not 0: its fold was refused, and is tried again then */
	int readers;		/* history reads under way in the database */
	uint64_t serial;	/* tells it from another at the same address */
	bool loaded_from_row;
	struct heap_node wake;
	int64_t wake_ns;    /* wall clock; INT64_MAX: not in the heap */
	int64_t offered_ns; /* monotonic: when its unstarted task was last offered */
	int64_t used_ns;    /* monotonic */
	struct cached_run *next_in_wf;
	struct cached_run *unstarted_prev, *unstarted_next; /* shard->unstarted */
	bool in_unstarted;
	bool in_heartbeats; /* shard->heartbeats: details newer than the journal */
	struct cached_run *heartbeats_prev, *heartbeats_next;
	struct cached_run *lru_prev, *lru_next; /* shard->lru, most recently used last */
	struct watcher *watchers;		/* history long polls */
	struct query *queries;			/* not answered yet */
	size_t counted_bytes;			/* in the cache's sum */
};

struct shard {
	struct history *h;
	uint32_t id;
	enum shard_state state;
	bool wanted;  /* the map says it should be ours */
	bool leaving; /* it serves, and is folded before it stands still */
	int64_t epoch;
	int64_t last_seq; /* committed */
	int64_t checkpoint_seq;
	int64_t journal_bytes;	 /* committed since the checkpoint */
	int64_t claim_from_ns;	 /* monotonic: when we last set out to get it */
	int64_t served_since_ns; /* wall clock */
	int64_t grace_until_ns;	 /* wall clock: worker-dependent timeouts wait until then after a takeover */
	struct batch *open, *inflight;
	bool in_dirty; /* in the committer's list */
	struct shard *dirty_next;
	struct workflow *workflows; /* uthash by key */
	size_t run_count;
	struct heap wakes;
	struct env_timer wake_timer;
	struct env_timer tend_timer;
	struct cached_run *unstarted;	   /* utlist DL, oldest offer first */
	struct shard_queue *backlog;	   /* tasks that matching had no room for, by queue */
	struct backlog_run *backlog_runs;  /* those in memory, by run */
	struct backlog_task *backlog_gone; /* whose rows are to go with a fold */
	bool unlisted;			   /* a clean run may have tasks without rows */
	struct cached_run *lru;
	struct cached_run *heartbeats; /* flushed by the shard's tending */
	int64_t start_counter;	       /* within a batch, for start_seq */
	int64_t due_loaded_until_ns;   /* rows with an earlier wake_at are in memory */
	struct due_load *due_load;     /* NULL: none under way */
	bool fold_under_way;
	bool fold_unsure;   /* the last one failed: the database may have it all the same */
	size_t fold_most;   /* runs in the next fold, after one that failed; 0: as many as usual */
	int64_t fold_epoch; /* of the fold under way */
	int64_t last_fold_ns;
	struct waiter *fold_waiters;
	uint64_t gone_incarnation; /* of an owner whose row went, and since when we know */
	int64_t gone_since_ns;
	int64_t retry_claim_ns;	   /* monotonic: not before */
	int64_t recovery_pause_ns; /* before that, when the last recovery failed; 0: it didn't */
	/* The database may call it ours though we neither serve nor want it: a claim or a release of unknown outcome.
	 */
	bool stray;
};

/* ------------------------------------------------------------------ shard.c */

struct shard *shard_new(struct history *h, uint32_t id);
void shard_free(struct shard *s);
/* Starts to own it; `takeover` when another node had it (grace for workers). */
void shard_claim(struct shard *s, const struct store_claim *claim, bool takeover);
/* Folds while it still serves, stands still, releases, drops; unless it is wanted again meanwhile. */
void shard_release(struct shard *s);
/* Releases what the database says is ours at that epoch, though we have nothing of it. Precondition: ABSENT. */
void shard_give_back(struct shard *s, int64_t epoch);
/* The shard has a newer owner (or cannot be settled): everything waiting fails with a retryable error, memory is
 * dropped. */
void shard_lose(struct shard *s, const char *why);
bool shard_serving(const struct shard *s);
/* The writer's connection is new: own it again (epoch + 1) before anything else is written. */
void shard_reclaim(struct shard *s);

/* ------------------------------------------------------------------ workflow.c */

/* Made when missing; never NULL. */
struct workflow *workflow_get(struct shard *s, const char *namespace_id, const char *workflow_id);
/* Frees it when nothing is left in it. */
void workflow_put(struct workflow *wf);
/* run_id NULL or "": the current run. True: *ret_run says which (NULL: none exists). False: unknown, load it. A run
 * that is gone does not exist. */
bool workflow_find(struct workflow *wf, const char *run_id, struct cached_run **ret_run);
/* What memory has, gone or not; NULL: nothing. */
struct cached_run *workflow_run(const struct workflow *wf, const char *run_id);
/* Which run is the current one must be found out again. */
void workflow_forget_current(struct workflow *wf);
/* The last batch that touched any of its runs in memory: what "there is none" rests on. */
int64_t workflow_seq(const struct workflow *wf);
/* Loads a run; w->fn is called later, after those that asked before. */
void workflow_load(struct workflow *wf, const char *run_id, struct run_wait *w);
struct cached_run *workflow_add_run(struct workflow *wf, struct run *run);
/* A row that was read becomes a cached run, unless memory has it already. NOT_OWNER: it is newer than what we know. */
struct cached_run *workflow_add_row(struct shard *s, const struct store_run_row *row, struct err *ret_err);
/* Precondition: nothing waits on it (watchers, queries). */
void cached_run_drop(struct cached_run *r);
/* The loads' waiters get e; the loads' results will be thrown away. */
void workflow_abandon_loads(struct workflow *wf, struct err e);
/* Deleted, or its retention is over: nobody finds it any more, whether or not the database still has it. */
bool cached_run_gone(const struct cached_run *r);
/* Bookkeeping after its state changed: wake heap, unstarted list, cache bytes, use. */
void cached_run_update(struct cached_run *r);
void cached_run_used(struct cached_run *r);
/* An activity's heartbeat changed it in place: journalled with the next tending at the latest. */
void cached_run_heartbeat(struct cached_run *r);
int64_t cached_run_bytes(const struct cached_run *r);

/* ------------------------------------------------------------------ transition.c */

/* Fills the `in` part of a transition of `run` (NULL: a run that begins). */
void transition_begin(struct txn *t, struct shard *s, struct workflow *wf, struct cached_run *run, struct arena *arena);
/* Journals what the transition wrote and applies it; also t->next. Returns the run (the new one for a run that begins),
 * or `run` when nothing was written. */
struct cached_run *transition_commit(struct txn *t, struct workflow *wf, struct cached_run *run);

/* ------------------------------------------------------------------ commit.c */

struct committer;
struct committer *committer_new(struct history *h);
void committer_free(struct committer *c);
struct batch *shard_open_batch(struct shard *s);
void batch_touch(struct batch *b, struct cached_run *r);
/* Calls w->fn when everything that `seq` covers is committed (or the shard is lost); never inline. */
void shard_after(struct shard *s, int64_t seq, struct waiter *w);
void batch_fail(struct batch *b, struct err e);
/* After a claim: settles what was under way when the writer's connection was lost. */
void shard_settle(struct shard *s, int64_t last_seq);
void committer_kick(struct committer *c);

/* ------------------------------------------------------------------ recover.c, timers.c, dispatch.c, backlog.c, fold.c
 */

/* Journal and rows into memory; then SERVING. */
void shard_replay(struct shard *s);
void shard_timers_init(struct shard *s);
void shard_timers_arm(struct shard *s);
/* Brings runs that are due soon into memory (look-ahead). */
void shard_load_due(struct shard *s);
/* Sends a committed batch's offers to matching. */
void dispatch_offers(struct shard *s, struct bytes offers);
/* Collects what the run must offer into the batch. */
void dispatch_collect(struct cached_run *r, struct batch *b, const struct task_trace *trace);
/* Regularly: offers again what was offered long ago, or in vain. */
void dispatch_tend(struct shard *s);
/* Offers everything unstarted again: all (age 0), or what was last offered at least `age_ns` ago. */
void dispatch_again(struct shard *s, int64_t age_ns);
/* Everything of a queue, over all shards of the node. */
void dispatch_queue_again(struct history *h, const Perdure__QueueKey *queue);
/* The nodes changed: what is with an owner that is none any more is offered to the new one. */
void dispatch_members_changed(struct history *h);
struct dispatch *dispatch_new(struct history *h);
/* The shards have been freed. */
void dispatch_free(struct dispatch *d);
/* The run changed: tasks that no longer wait leave the backlog. */
void backlog_recheck(const struct cached_run *r);
/* Whether all tasks of the run that wait are in the backlog. */
bool backlog_covers(const struct cached_run *r);
/* The shard's memory goes. */
void backlog_forget(struct shard *s);
/* A backoff is over: offers what became due without a transition. */
void dispatch_due(struct cached_run *r);
/* One task that is not part of a run's state (a query). */
void dispatch_task(struct shard *s, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task);
/* Folds dirty runs and moves the checkpoint; `done` (may be NULL) is called when one fold that started after this call
 * has ended. */
void shard_fold(struct shard *s, struct waiter *done);
/* Runs and the backlog in memory take more than they may. */
bool shard_memory_is_short(const struct history *h);
/* Drops cold runs until the node's cache is within its bounds. */
void shard_evict(struct shard *s);

/* ------------------------------------------------------------------ api/: those who wait on a run */

/* Something of the run was committed: long polls look again. */
void watchers_notify(struct cached_run *r);
/* The run leaves memory with its shard: all its long polls and queries end with e. */
void watchers_fail(struct cached_run *r, struct err e);
void queries_fail(struct cached_run *r, struct err e);
/* The run changed: queries attached to a workflow task that is over wait for the next, or go directly. */
void queries_recheck(struct cached_run *r);
/* The run was deleted: its queries end as not found. (Long polls have been told by watchers_notify().) */
void queries_gone(struct cached_run *r);
/* The sticky queue that a query was sent to has no worker any more. */
void query_sticky_gone(struct cached_run *r, const char *query_id);

/* ------------------------------------------------------------------ events.c */

/* Event bytes [first, last] of a run, from memory and the database. fn is called inline when they are all in memory. */
struct events_read {
	void (*fn)(struct events_read *r, struct err e, struct bytes events);
	struct cached_run *run;
	int64_t first, last;
	struct buf out;
};
void events_read(struct events_read *r);
/* Cuts spliced events to at most count_max events and bytes_max bytes (at least one); returns how many remain. */
size_t events_cut(struct bytes *events, size_t count_max, size_t bytes_max);
/* The i-th event's own bytes (without tag and length); false past the end. */
bool events_next(struct bytes *rest, struct bytes *ret_event);

#endif
