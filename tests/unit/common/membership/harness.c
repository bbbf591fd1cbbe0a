/* Some nodes in virtual time on the database in memory. */
#include "tests/unit/common/membership/harness.h"

#include <check.h>
#include <stdio.h>

struct fake_world world;
struct fake_db *db;
struct node nodes[NODES];

/* ------------------------------------------------------------------ fixture */

void node_on_change(void *ctx)
{
	struct node *n = ctx;
	n->changes++;
}

static void on_fenced(void *ctx)
{
	((struct node *)ctx)->fenced++;
}

static void on_gone(void *ctx, const char *address)
{
	struct node *n = ctx;
	size_t len = strlen(n->gone);
	snprintf(n->gone + len, sizeof n->gone - len, "%s ", address);
}

void node_on_left(void *ctx, struct err e)
{
	ck_assert(!err_is(e));
	((struct node *)ctx)->left++;
}

struct node *node_up(int i, enum member_role role, uint64_t incarnation)
{
	struct node *n = &nodes[i];
	*n = (struct node){0};
	snprintf(n->id, sizeof n->id, "node-%d", i);
	snprintf(n->address, sizeof n->address, "mem://node-%d", i);
	fake_env_init(&n->env, &world);
	n->store = fake_store_new(&n->env.env, db);
	n->m = membership_new(&n->env.env, n->store,
			      &(struct membership_config){.node_id = n->id,
							  .role = role,
							  .address = n->address,
							  .http_address = "http",
							  .version = "1",
							  .incarnation = incarnation});
	membership_on_change(n->m, node_on_change, n);
	membership_on_fenced(n->m, on_fenced, n);
	membership_on_gone(n->m, on_gone, n);
	membership_start(n->m);
	return n;
}

void node_kill(struct node *n)
{
	if (!n->m)
		return;
	membership_free(n->m);
	store_free(n->store);
	fake_env_done(&n->env);
	n->m = NULL;
}

void nodes_setup(void)
{
	fake_world_init(&world, 1);
	db = fake_db_new(8, 1);
}

void nodes_teardown(void)
{
	for (int i = 0; i < NODES; i++)
		node_kill(&nodes[i]);
	fake_db_free(db);
}

void advance_ms(int64_t ms)
{
	fake_world_advance(&world, ms * NS_PER_MS);
}

size_t live_count(const struct node *n, enum member_role role)
{
	size_t count;
	membership_live(n->m, role, &count);
	return count;
}

void three_history_nodes(void)
{
	for (int i = 0; i < 3; i++)
		node_up(i, MEMBER_HISTORY, (uint64_t)i + 1);
	advance_ms(100);
}
