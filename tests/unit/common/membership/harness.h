/*
 * Some nodes in virtual time on the database in memory: joined, killed, and looked at.
 */
#ifndef TESTS_UNIT_COMMON_MEMBERSHIP_HARNESS_H
#define TESTS_UNIT_COMMON_MEMBERSHIP_HARNESS_H

#include "common/membership/membership.h"
#include "common/store/fake.h"
#include "tests/support/fake_env.h"

#define NODES 4

struct node {
	struct fake_env env;
	struct store *store;
	struct membership *m;
	char id[16], address[32];
	unsigned changes, fenced, left;
	char gone[256];
};

extern struct fake_world world;
extern struct fake_db *db;
extern struct node nodes[NODES];

/* For membership_on_change() and membership_leave(): they count. */
void node_on_change(void *ctx);
void node_on_left(void *ctx, struct err e);
/* Node i joins. */
struct node *node_up(int i, enum member_role role, uint64_t incarnation);
/* kill -9 */
void node_kill(struct node *n);
void nodes_setup(void);
void nodes_teardown(void);
void advance_ms(int64_t ms);
size_t live_count(const struct node *n, enum member_role role);
void three_history_nodes(void);

#endif
