/*
 * What the files of matching share: partitions, tasks, gateways and their credits.
 */
#ifndef SERVICES_MATCHING_INTERNAL_H
#define SERVICES_MATCHING_INTERNAL_H

#include <perdure/cluster.pb-c.h>
#include <uthash.h>

#include "common/base/heap.h"
#include "services/matching/matching.h"

enum task_state { TASK_WAITING, TASK_HANDED };

struct task {
	Perdure__DispatchTask *msg;
	char *id; /* run, kind, event or query, stamp: two offers of one task have the same */
	struct partition *partition;
	enum task_state state;
	struct heap_node order;	      /* while waiting */
	int64_t arrival;	      /* breaks ties of age */
	int64_t arrived_ns, waits_ns; /* monotonic: it came, it began to wait (again) */
	size_t bytes;
	UT_hash_handle hh; /* partition->tasks by id */
	/* while handed out */
	uint64_t hand_id;
	struct gateway *gateway; /* NULL: it went away */
	char request_id[37];	 /* of the start that the gateway makes of it */
	char *lost;		 /* that of the last one whose gateway went without a word of what it did; NULL: none */
	int64_t handed_ns;
	UT_hash_handle hh_hand;			/* matching->handed by hand_id */
	struct task *handed_prev, *handed_next; /* matching->handed_order, oldest first */
	struct span *span;			/* NULL: not traced */
};

/* A gateway's open polls for a partition. */
struct credit {
	struct gateway *gateway;
	struct partition *partition;
	uint32_t idle;	   /* as the gateway said last */
	uint64_t received; /* tasks it had received when it said so */
	uint64_t handed;   /* tasks we handed it in this session */
	uint64_t report;   /* the gateway's report that named it last */
	struct credit *in_partition_prev, *in_partition_next;
	struct credit *in_gateway_prev, *in_gateway_next;
};

struct gateway {
	struct matching *m;
	char *address;
	uint64_t session;
	uint64_t reports; /* so many of it were read */
	struct credit *credits;
	struct buf outbox; /* perdure.HandOut but for the session; leaves at the end of the turn */
	struct env_task flush;
	UT_hash_handle hh;
};

/* Somebody who polls, or did. */
struct poller {
	Perdure__PollerInfo *info;
	UT_hash_handle hh; /* partition->pollers by identity */
};

/* By which what waits is counted; others count as the nearest. */
#define PRIORITIES 6

struct sum {
	int64_t count, oldest_ns; /* 0: there are none */
};

/* Everything of a partition that waits, here and in history. */
struct sums {
	struct sum all, of[PRIORITIES];
};

/* A history node that keeps tasks which were refused. */
struct source {
	struct partition *partition;
	char *address;
	int64_t count, oldest_ns; /* not pulled yet, as it said last */
	struct sum of[PRIORITIES];
	int64_t twice[PRIORITIES]; /* of these: may be here too */
	int32_t next_priority;	   /* of the first of them */
	int64_t next_ns;
	int64_t heard_ns; /* monotonic */
	bool again;	  /* an answer of it was lost */
	struct source *prev, *next;
};

/* What the root knows of another partition of its queue. */
struct sibling {
	uint32_t number;
	double hand_rate;
	double load;
	int64_t heard_ns; /* monotonic */
	struct sibling *next;
};

struct partition {
	struct matching *m;
	char *key;
	Perdure__QueueKey *queue;
	uint32_t number;
	struct task *tasks; /* uthash, waiting and handed */
	struct heap waiting;
	size_t waiting_count;
	int64_t bytes;
	struct credit *credits;
	struct credit *turn; /* round robin */
	struct poller *pollers;
	int64_t idle_since_ns, unpolled_since_ns;
	/* How many partitions the queue has, by the newest decision we heard of. One whose number is not below is
	 * closing: it takes nothing new and hands out what it has. */
	uint32_t count;
	int64_t version;
	int64_t shrink_since_ns;  /* root: fewer would do since then; 0: no */
	struct sibling *siblings; /* root */
	size_t hungry;		  /* gateways were told that so many tasks have no poll; 0: none */
	int64_t hungry_since_ns;
	/* rate limit asked for by workers, for the whole queue; 0: none */
	double rate;
	double tokens;
	int64_t tokens_ns;
	struct env_timer rate_timer;
	/* rates over the last seconds */
	double add_rate, hand_rate;
	int64_t rates_ns;
	struct source *sources;
	struct rpc_pending *pull; /* one at a time */
	char *pull_from;	  /* whom it asks */
	UT_hash_handle hh;
};

/* load.c */
struct load {
	int64_t (*waited_ns)(void *ctx); /* NULL: not known */
	void *ctx;
	int64_t looked_ns, seen_waited_ns;
	uint64_t seen_handed;
	double busy, rate; /* of the last seconds */
};

struct matching {
	struct env *env;
	struct rpc *rpc;
	struct membership *membership;
	struct log *log;
	struct matching_config config;
	struct partition *partitions;
	struct gateway *gateways;
	struct task *handed; /* hh_hand */
	struct task *handed_order;
	uint64_t next_hand_id;
	int64_t next_arrival;
	bool draining;
	struct env_timer tend;
	uint64_t tends;
	struct matching_counts counts;
	struct matching_measures measures;
	struct load load;
};

/* ------------------------------------------------------------------ partition.c */

struct partition *partition_find(struct matching *m, const Perdure__QueueKey *q, uint32_t number);
struct partition *partition_get(struct matching *m, const Perdure__QueueKey *q, uint32_t number);
/* NULL: no matching node is known. */
const struct member *partition_owner(const struct matching *m, const Perdure__QueueKey *q, uint32_t number);
bool partition_owned(const struct matching *m, const Perdure__QueueKey *q, uint32_t number);
/* Frees it with its tasks and credits. */
void partition_drop(struct partition *p);
/* Of a task; unset: the default. */
int partition_priority(const Perdure__DispatchTask *t);
/* Memory its tasks may take. */
int64_t partition_bytes_max(const struct partition *p);
/* Whether there is memory for so much more. */
bool partition_has_room(const struct partition *p, int64_t bytes);
/* REFUSED_FULL, or ACCEPTED: the task is copied (or was there already). */
Perdure__AddTasksReply__Verdict partition_add(struct partition *p, const Perdure__DispatchTask *task);
/* The same for a task we asked for: never refused. */
void partition_put(struct partition *p, const Perdure__DispatchTask *task);
/* Hands out what credits allow. */
void partition_match(struct partition *p);
/* What was dropped here, the tasks' history nodes should offer again. */
void partition_ask_again(struct partition *p);
/* Forgets all tasks that wait. */
void partition_drop_waiting(struct partition *p);

/* ------------------------------------------------------------------ rate.c */

void rate_added(struct partition *p);
void rate_handed(struct partition *p);
/* As of now, tasks a second. */
void rate_look(struct partition *p, double *ret_add, double *ret_hand);
/* Takes one of what the workers' limit allows; when there is none, the partition is matched again when there will be.
 */
bool rate_allows(struct partition *p);
/* The workers' limit may have changed. */
void rate_set_limit(struct partition *p);

/* ------------------------------------------------------------------ load.c */

void load_tend(struct matching *m);
/* How busy the node is, 0 to 1, because of this partition among few: 0 when it is little of what the node does. */
double load_of(struct partition *p);

/* ------------------------------------------------------------------ pollers.c */

void pollers_take(struct partition *p, Perdure__PollerInfo *const *list, size_t count);
/* Those who have not polled for five minutes are not listed any more. */
void pollers_expire(struct partition *p);
void pollers_free(struct partition *p);

/* ------------------------------------------------------------------ scale.c */

bool partition_closing(const struct partition *p);
/* Keeps it when it is newer. */
void scale_learn(struct partition *p, uint32_t count, int64_t version);
/* What the partition knows, for somebody who knows less. The message refers to p. */
Perdure__QueuePartitions scale_news(const struct partition *p);
/* Tells gateways whether tasks here want for polls. */
void scale_hunger(struct partition *p);
/* Twice a second. */
void scale_tend(struct partition *p);
void scale_serve(struct matching *m);
void scale_free(struct partition *p);

/* ------------------------------------------------------------------ pull.c */

/* Pulls when there is room and something to pull. */
void pull_more(struct partition *p);
/* Walks what waits here. */
struct sums pull_sum(const struct partition *p);
void pull_tend(struct partition *p);
/* The node at that address went. */
void pull_lost(struct partition *p, const char *address);
void pull_serve(struct matching *m);
void pull_free(struct partition *p);

/* ------------------------------------------------------------------ requests.c, describe.c */

void requests_serve(struct matching *m);
void describe_serve(struct matching *m);
/* The last worker of a sticky queue is gone: history sends what waits here to the normal queue. */
void sticky_worker_gone(struct partition *p);

/* ------------------------------------------------------------------ task.c */

void task_wait(struct task *t);
void task_hand(struct task *t, struct gateway *g);
/* Removes it for good. */
void task_end(struct task *t);
/* Waiting again; its credit is gone. */
void task_back(struct task *t);

/* ------------------------------------------------------------------ measure.c */

void task_measure_arrived(struct task *t);
void task_measure_handed(struct task *t);
/* It waits again: nobody reported, or the gateway had no poll for it any more. */
void task_measure_back(struct task *t);
/* What became of it; NULL: nothing, it leaves this node. May come before task_measure_ended(). */
void task_measure_outcome(struct task *t, const char *outcome);
void task_measure_ended(struct task *t);

/* ------------------------------------------------------------------ gateway.c */

struct gateway *gateway_get(struct matching *m, const char *address, uint64_t session);
/* Joins what leaves for it at the end of the turn: a field of perdure.HandOut. */
void gateway_say(struct gateway *g, uint32_t field, const ProtobufCMessage *msg);
void gateway_send(struct gateway *g, struct task *t);
void gateway_drop(struct gateway *g);
/* A gateway that went (t->lost) may have had the task started, and nobody does it now: history is told. */
void gateway_tell_lost(struct matching *m, const struct task *t);
struct credit *credit_find(struct gateway *g, struct partition *p);
struct credit *credit_get(struct gateway *g, struct partition *p);
void credit_drop(struct credit *c);
int64_t credit_available(const struct credit *c);
void credit_set(struct credit *c, const Perdure__QueueCredit *msg);

/* A message as malloc'ed bytes. */
struct bytes matching_pack(const ProtobufCMessage *msg);

#endif
