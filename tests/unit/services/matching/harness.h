/*
 * Matching nodes in virtual time between endpoints that play history and gateways, as the test says.
 */
#ifndef TESTS_UNIT_SERVICES_MATCHING_HARNESS_H
#define TESTS_UNIT_SERVICES_MATCHING_HARNESS_H

#include <check.h>

#include <perdure/cluster.pb-c.h>

#include "common/store/fake.h"
#include "services/matching/matching.h"
#include "tests/support/fake_env.h"
#include "tests/support/fake_net.h"

#define MS	      NS_PER_MS
#define SECOND	      NS_PER_S
#define WORKFLOW      PERDURE__TASK_KIND__TASK_KIND_WORKFLOW
#define ACTIVITY      PERDURE__TASK_KIND__TASK_KIND_ACTIVITY
#define VERDICT(name) PERDURE__ADD_TASKS_REPLY__VERDICT__##name
#define OUTCOME(name) PERDURE__TASK_OUTCOME__VERDICT__##name
#define NOBODY	      ((Perdure__AddTasksReply__Verdict)-1)

#define HANDED_MAX 1024
#define STOCK_MAX  1024

/* A process with an inbox and a row. */
struct node_under_test {
	struct fake_env env;
	struct store *store;
	struct rpc *rpc;
	struct membership *membership;
	bool alive;
	uint64_t incarnation;
	struct matching *matching; /* matching nodes only */
	/* gateways */
	uint64_t session;
	struct {
		uint64_t hand_id;
		char workflow_id[32];
		char request_id[40];
		char from[64];
		uint32_t partition;
	} handed[HANDED_MAX];
	size_t handed_count, taken;
	uint32_t partitions; /* as it heard last; 0: nothing */
	int64_t partitions_version;
	uint32_t hungry_partition, hungry; /* as it heard last */
	size_t hungry_count;		   /* so often */
	/* histories: what waits there, best first */
	size_t asked_again, taken_back;
	char lost_request_id[40]; /* of what was taken back last */
	struct stocked {
		char workflow_id[32];
		int64_t scheduled_ns;
	} stock[STOCK_MAX];
	size_t stock_count, pulls, page_max;
	int stock_priority; /* of all of it; 0: unset */
	bool pulled_again, mute;
};

struct matching_world {
	struct fake_world world;
	struct fake_net *net;
	struct fake_db *db;
	struct matching_config config; /* of nodes that start from now on */
	struct node_under_test matching[2], gateway[2], history[2];
};

extern struct matching_world w;

/* One matching node, two gateways, a history node; joined. */
void world_setup(void);
void world_teardown(void);
void advance(int64_t ns);

void matching_start(size_t i);
void node_kill(struct node_under_test *n);

/* A task of that queue and its verdict; NOBODY: no answer. */
struct add {
	const char *queue, *workflow_id;
	int priority;
	int64_t scheduled_ns, expires_ns;
	bool sticky;
	uint32_t partition, partitions;
	int64_t version;
	const char *down; /* a node that the sender passes over */
};
Perdure__AddTasksReply__Verdict add(const struct add *a);
#define ADD(q, id, ...) add(&(struct add){.queue = (q), .workflow_id = (id), __VA_ARGS__})

/* What the last answer said of partitions; 0: nothing. */
extern uint32_t told_partitions;

struct credit_report {
	const char *queue;
	uint32_t idle;
	uint64_t received;
	double rate;
	const char *identity; /* NULL: no poller is named */
	bool sticky, gone, shut_down;
	uint32_t partition, partitions;
	int64_t version;
};
/* One report of the gateway, to the matching node. */
void report(struct node_under_test *gateway, const struct credit_report *r);
#define REPORT(gateway, q, ...) report(&(gateway), &(struct credit_report){.queue = (q), __VA_ARGS__})
/* A whole report that names nothing. */
void report_nothing(struct node_under_test *gateway);

/* The workflow id of the next task that the gateway was handed; NULL: none. */
const char *next_handed(struct node_under_test *gateway);
/* What became of the task that it was handed last (by next_handed()). */
void outcome(struct node_under_test *gateway, Perdure__TaskOutcome__Verdict verdict);

/* The history node keeps a task that was refused; said with backlog(). */
void stock(struct node_under_test *history, const char *workflow_id, int64_t scheduled_ns);
void backlog(struct node_under_test *history, const char *queue);

/* The matching node that owns it. */
struct node_under_test *owner_of(const char *queue, uint32_t partition);

/* Unpacked in place; valid until the next call. */
Perdure__DescribeQueueReply *describe(const char *queue);

int run_suite(const char *name, const TTest *const *tests, size_t count);

#endif
