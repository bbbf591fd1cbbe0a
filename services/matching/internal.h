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
	struct heap_node order; /* while waiting */
	int64_t arrival;	/* breaks ties of age */
	size_t bytes;
	UT_hash_handle hh; /* partition->tasks by id */
	/* while handed out */
	uint64_t hand_id;
	struct gateway *gateway; /* NULL: it went away */
	int64_t handed_ns;
	UT_hash_handle hh_hand;			/* matching->handed by hand_id */
	struct task *handed_prev, *handed_next; /* matching->handed_order, oldest first */
};

/* A gateway's open polls for a partition. */
struct credit {
	struct gateway *gateway;
	struct partition *partition;
	uint32_t idle;	   /* as the gateway said last */
	uint64_t received; /* tasks it had received when it said so */
	uint64_t handed;   /* tasks we handed it in this session */
	Perdure__PollerInfo **pollers;
	size_t poller_count;
	struct credit *in_partition_prev, *in_partition_next;
	struct credit *in_gateway_prev, *in_gateway_next;
};

struct gateway {
	struct matching *m;
	char *address;
	uint64_t session;
	struct credit *credits;
	Perdure__HandedTask **outbox; /* leaves at the end of the turn */
	size_t outbox_count, outbox_cap;
	struct env_task flush;
	UT_hash_handle hh;
};

struct partition {
	struct matching *m;
	char *key;
	Perdure__QueueKey *queue;
	uint32_t number;
	uint64_t placement;
	struct task *tasks; /* uthash, waiting and handed */
	struct heap waiting;
	size_t waiting_count;
	int64_t bytes;
	struct credit *credits;
	struct credit *turn; /* round robin */
	bool refused;	     /* history was told "full": ask it again when there is room */
	int64_t idle_since_ns;
	/* rate limit asked for by workers; 0: none */
	double rate;
	double tokens;
	int64_t tokens_ns;
	struct env_timer rate_timer;
	/* rates over the last seconds, for DescribeTaskQueue */
	double add_rate, hand_rate;
	int64_t rates_ns;
	UT_hash_handle hh;
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
	struct matching_counts counts;
};

/* ------------------------------------------------------------------ partition.c */

struct partition *partition_find(struct matching *m, const Perdure__QueueKey *q, uint32_t number);
struct partition *partition_get(struct matching *m, const Perdure__QueueKey *q, uint32_t number);
bool partition_owned(const struct matching *m, const Perdure__QueueKey *q, uint32_t number);
/* Frees it with its tasks and credits. */
void partition_drop(struct partition *p);
/* REFUSED_FULL, or ACCEPTED: the task is copied (or was there already). */
Perdure__AddTasksReply__Verdict partition_add(struct partition *p, const Perdure__DispatchTask *task);
/* Hands out what credits allow. */
void partition_match(struct partition *p);
void partition_set_rate(struct partition *p);
/* What the tasks' history nodes should offer again. */
void partition_ask_again(struct partition *p);

/* ------------------------------------------------------------------ task.c */

void task_free(struct task *t);
void task_wait(struct task *t);
void task_hand(struct task *t, struct gateway *g);
/* Removes it for good. */
void task_end(struct task *t);
/* Waiting again; its credit is gone. */
void task_back(struct task *t);

/* ------------------------------------------------------------------ gateway.c */

struct gateway *gateway_get(struct matching *m, const char *address, uint64_t session);
void gateway_send(struct gateway *g, struct task *t);
void gateway_drop(struct gateway *g);
struct credit *credit_get(struct gateway *g, struct partition *p);
void credit_drop(struct credit *c);
int64_t credit_available(const struct credit *c);
void credit_set(struct credit *c, const Perdure__QueueCredit *msg);

#endif
