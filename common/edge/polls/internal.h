/*
 * What the files about polls share. For common/edge/polls only.
 */
#ifndef COMMON_EDGE_POLLS_INTERNAL_H
#define COMMON_EDGE_POLLS_INTERNAL_H

#include <perdure/cluster.pb-c.h>
#include <uthash.h>

#include "common/edge/polls/polls.h"

struct hand;
struct peer;

/* Of a task queue; credits are granted to each for its own polls. */
struct partition {
	struct poll *polls; /* waiting, counted for it; oldest first */
	uint32_t idle;	    /* so many */
	uint64_t received;  /* tasks handed to us in this session */
	uint32_t hungry;    /* tasks it has no poll for, as it said last, less those it handed us since */
	int64_t hungry_ns;  /* monotonic: when it said so */
	int64_t at_ns;	    /* while it is hungry: when the task that it handed us last was scheduled; 0: not known */
	bool changed;	    /* since its owner was told */
};

/* Somebody who polls, for DescribeTaskQueue. */
struct poller {
	UT_hash_handle hh;
	struct poll_queue *queue;
	int polls;
	bool changed;		/* since it was last told to matching */
	int64_t last_access_ns; /* wall clock */
	double rate;
	struct bytes versions, deployment; /* as in the request; owned */
	char identity[];
};

/* A task queue that somebody polls, or did a moment ago. */
struct poll_queue {
	UT_hash_handle hh;
	struct polls *polls;
	Perdure__QueueKey key; /* strings owned */
	uint32_t poll_count;   /* idle or with a task on its way */
	uint32_t hand_count;
	struct poller *pollers;
	bool dirty;	/* matching is told at the end of the turn: of the partitions that changed … */
	bool all_dirty; /* … or of all */
	struct poll_queue *dirty_prev, *dirty_next;
	struct env_timer grace; /* sticky: the worker's connection was lost */
	bool gone;		/* sticky: the grace is over */
	bool shut_down;		/* sticky: the worker said goodbye */
	struct partition *partitions;
	uint32_t partition_cap;
	/* As the queue's root decided; see services/matching/scale.c. */
	uint32_t partition_count;
	int64_t partitions_version;
	/* Those below are told of our credits: closing partitions may still have tasks for us. */
	uint32_t reach;
	int64_t reach_until_ns;
	uint32_t next_partition; /* where the next of several equal choices begins */
};

/* One waiting request. Holds no arena: what starting a task for it takes is in `start`, packed. */
struct poll {
	struct edge_call *call;
	struct poll_queue *queue;
	struct poll *prev, *next; /* in its partition's polls, when hand is NULL */
	struct hand *hand;	  /* a task is on its way to it */
	struct poller *poller;
	struct env_timer timer;
	uint32_t partition; /* whose credit it is */
	size_t start_len;
	uint8_t start[]; /* perdure.StartTask but for the task and the request id */
};

enum hand_state {
	HAND_STARTING,	/* history is asked to start the task */
	HAND_REVERTING, /* … to take the start back */
};

/* A task that matching handed to us, until its outcome is reported. */
struct hand {
	struct polls *polls;
	struct hand *prev, *next;
	struct poll_queue *queue;
	struct poll *poll; /* NULL: it ended meanwhile */
	enum hand_state state;
	uint64_t hand_id;
	char *matching;	     /* inbox of the node that handed it */
	char request_id[37]; /* the same at every attempt: a start that was lost on the way is recognised */
	uint32_t shard;
	struct reach_call sent; /* not under way: between two attempts */
	struct env_timer timer;
	int tries;
	int64_t give_up_ns;
	bool maybe_started; /* an attempt's outcome is unknown */
	bool query;
	const struct api_method *method; /* of the poll */
	int64_t began_ns, poll_waited_ns;
	int attempts;	   /* of starting it */
	struct span *span; /* NULL: not traced */
	size_t task_len;
	uint8_t task[]; /* perdure.DispatchTask */
};

/* A matching node, and what the end of the turn sends it. */
struct peer {
	UT_hash_handle hh;
	struct buf credits;  /* perdure.Credits.queues */
	struct buf outcomes; /* perdure.TaskOutcomes.outcomes */
	bool had_queues;     /* named some in the last whole report */
	char address[];
};

struct polls {
	struct edge *edge;
	struct env *env;
	uint64_t session;
	struct poll_queue *queues;
	struct poll_queue *dirty;
	struct peer *peers;
	struct hand *hands;
	size_t poll_count;
	uint64_t received_floor; /* at least what any forgotten queue had received */
	struct env_task flush;
	bool outcomes_wait; /* for responses that leave in this turn */
	struct env_timer tick;
	bool draining;
	void (*drained)(void *ctx);
	void *drained_ctx;
	struct env_task drained_task;
	struct gauge *polls_gauge;
	struct counter *outcome_counters[PERDURE__TASK_OUTCOME__VERDICT__HANDED_BACK + 1];
};

/* ------------------------------------------------------------------ queue.c */

/* Made when it isn't there. */
struct poll_queue *queue_get(struct polls *p, const Perdure__QueueKey *key);
struct poll_queue *queue_find(struct polls *p, const Perdure__QueueKey *key);
/* Nobody needs it any more, and everybody has been told. */
bool queue_forgettable(const struct poll_queue *q);
void queue_free(struct poll_queue *q);
void queue_add(struct poll_queue *q, struct poll *poll);
void queue_remove(struct poll_queue *q, struct poll *poll);
/* Between waiting and having a task on its way. */
void queue_occupy(struct poll_queue *q, struct poll *poll, struct hand *h);
void queue_release(struct poll_queue *q, struct poll *poll);
/* The oldest waiting poll, one of that partition if it has any; NULL: none. */
struct poll *queue_choose(struct poll_queue *q, uint32_t partition);
/* That task of that partition was handed to us. */
void queue_received(struct poll_queue *q, uint32_t partition, const Perdure__DispatchTask *task);
/* What matching says: how many partitions there are, and which has tasks but no poll. */
void queue_set_partitions(struct poll_queue *q, uint32_t count, int64_t version);
void queue_feed(struct poll_queue *q, uint32_t partition, uint32_t tasks);
/* Closing partitions that have nothing left are not told any more. */
void queue_tend(struct poll_queue *q);
void queue_end_idle(struct poll_queue *q);
/* Sticky: the last poll went with its connection. */
void queue_lost_connection(struct poll_queue *q);
struct poller *poller_touch(struct poll_queue *q, const char *identity, double rate, struct bytes versions,
			    struct bytes deployment);
void poller_release(struct poller *r);

/* ------------------------------------------------------------------ poll.c */

/* Ends an idle poll, or one whose hand has let go of it. */
void poll_end_empty(struct poll *poll);
/* Returns whether the worker will get it; the poll is gone either way. */
bool poll_deliver(struct poll *poll, struct bytes response);

/* ------------------------------------------------------------------ hand.c */

void hands_serve(struct polls *p); /* registers RPC_GATEWAY_TASKS */
void hand_lost_poll(struct hand *h);
void hands_wake(struct polls *p);
void hand_free(struct hand *h);

/* ------------------------------------------------------------------ credits.c */

/* The queue's numbers changed: told to matching at the end of the turn. UINT32_MAX: those of all partitions. */
void credits_dirty(struct poll_queue *q, uint32_t partition);
void credits_outcome(struct polls *p, const char *matching, uint64_t hand_id, Perdure__TaskOutcome__Verdict verdict);
const char *credits_verdict_name(Perdure__TaskOutcome__Verdict v);
void credits_on_flush(struct env_task *t);
void credits_on_tick(struct env_timer *t);
/* ShutdownWorker may arrive elsewhere than the worker's polls: told to the owner of its sticky queue anyway. */
void credits_shut_down(struct polls *p, const Perdure__QueueKey *key);
/* Ends the drain when nothing is left. */
void polls_check_drained(struct polls *p);

#endif
