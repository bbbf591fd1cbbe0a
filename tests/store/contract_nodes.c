/*
 * The contract of nodes, notifications and cluster facts.
 */
#include "common/store/schema.h"
#include "tests/store/world.h"

static struct world *w;
static struct store *a, *b;

static void setup(void)
{
	w = world_start();
	a = w->ops->open(w);
	b = w->ops->open(w);
}

static void teardown(void)
{
	world_stop(w);
}

static struct store_node node(const char *id, uint64_t incarnation)
{
	return (struct store_node){.node_id = id,
				   .role = "history",
				   .address = "tcp://10.0.0.1:7244",
				   .http_address = "10.0.0.1:7245",
				   .version = "0.1.0",
				   .incarnation = incarnation};
}

static const struct store_node *find(struct world_nodes nodes, const char *id)
{
	for (size_t i = 0; i < nodes.count; i++)
		if (str_eq(nodes.list[i].node_id, id))
			return &nodes.list[i];
	return NULL;
}

START_TEST(a_node_registers_and_sees_all)
{
	struct store_node na = node("a", 7), nb = node("b", UINT64_MAX);
	nb.role = "matching";
	nb.draining = true;
	struct world_nodes first = w_renew(w, a, &na);
	assert_ok(first.e);
	ck_assert_uint_eq(first.count, 1);
	struct world_nodes both = w_renew(w, b, &nb);
	assert_ok(both.e);
	ck_assert_uint_eq(both.count, 2);
	const struct store_node *x = find(both, "a"), *y = find(both, "b");
	ck_assert(x && y);
	ck_assert_str_eq(x->role, "history");
	ck_assert_str_eq(x->address, "tcp://10.0.0.1:7244");
	ck_assert_str_eq(x->http_address, "10.0.0.1:7245");
	ck_assert_str_eq(x->version, "0.1.0");
	ck_assert_uint_eq(x->incarnation, 7);
	ck_assert(!x->draining && !x->dead);
	ck_assert_str_eq(y->role, "matching");
	ck_assert(y->incarnation == UINT64_MAX);
	ck_assert(y->draining);
}
END_TEST

START_TEST(a_renewal_counts_one_up)
{
	struct store_node na = node("a", 7);
	int64_t before = find(w_renew(w, a, &na), "a")->renewals;
	for (int i = 1; i <= 3; i++) {
		struct world_nodes again = w_renew(w, a, &na);
		assert_ok(again.e);
		ck_assert_int_eq(find(again, "a")->renewals, before + i);
	}
}
END_TEST

START_TEST(a_new_incarnation_replaces_the_old_one)
{
	struct store_node old = node("a", 7), fresh = node("a", 8);
	assert_ok(w_renew(w, a, &old).e);
	struct world_nodes nodes = w_renew(w, b, &fresh);
	assert_ok(nodes.e);
	ck_assert_uint_eq(nodes.count, 1);
	ck_assert_uint_eq(nodes.list[0].incarnation, 8);
	struct err e = w_renew(w, a, &old).e;
	assert_code(e, ERR_ABORTED);
	ck_assert_int_eq(e.reason, ERR_REASON_FENCED);
}
END_TEST

START_TEST(leaving_removes_the_row_of_this_incarnation_only)
{
	struct store_node na = node("a", 7), nb = node("b", 1);
	assert_ok(w_renew(w, a, &na).e);
	assert_ok(w_leave(w, a, "a", 6));
	ck_assert_uint_eq(w_renew(w, b, &nb).count, 2);
	assert_ok(w_leave(w, a, "a", 7));
	ck_assert_uint_eq(w_renew(w, b, &nb).count, 1);
	/* It said goodbye: a renewal that was still on its way must not bring it back. */
	assert_code(w_renew(w, a, &na).e, ERR_ABORTED);
}
END_TEST

START_TEST(an_expired_owner_is_declared_dead_and_cannot_renew)
{
	struct store_node na = node("a", 7), nb = node("b", 1);
	struct world_nodes seen = w_renew(w, a, &na);
	assert_ok(w_renew(w, b, &nb).e);
	struct store_claimed claimed;
	struct store_claim mine = {.shard = 3, .node_id = "a", .incarnation = 7};
	assert_ok(w_claim(w, a, &mine, &claimed));
	struct store_claim takeover = {.shard = 3,
				       .node_id = "b",
				       .incarnation = 1,
				       .expired_node_id = "a",
				       .expired_incarnation = 7,
				       .expired_renewals = find(seen, "a")->renewals};
	assert_ok(w_claim(w, b, &takeover, &claimed));
	ck_assert_int_eq(claimed.epoch, 2);
	ck_assert(find(w_renew(w, b, &nb), "a")->dead);
	struct err e = w_renew(w, a, &na).e;
	assert_code(e, ERR_ABORTED);
	ck_assert_int_eq(e.reason, ERR_REASON_FENCED);
	/* Nor can it claim. */
	struct store_claim other = {.shard = 4, .node_id = "a", .incarnation = 7};
	assert_code(w_claim(w, a, &other, &claimed), ERR_ABORTED);
	/* A new start of it can. */
	na.incarnation = 9;
	assert_ok(w_renew(w, a, &na).e);
	other.incarnation = 9;
	assert_ok(w_claim(w, a, &other, &claimed));
}
END_TEST

START_TEST(an_owner_that_renewed_since_keeps_its_shard)
{
	struct store_node na = node("a", 7), nb = node("b", 1);
	int64_t seen = find(w_renew(w, a, &na), "a")->renewals;
	assert_ok(w_renew(w, b, &nb).e);
	struct store_claimed claimed;
	struct store_claim mine = {.shard = 3, .node_id = "a", .incarnation = 7};
	assert_ok(w_claim(w, a, &mine, &claimed));
	assert_ok(w_renew(w, a, &na).e);
	struct store_claim takeover = {.shard = 3,
				       .node_id = "b",
				       .incarnation = 1,
				       .expired_node_id = "a",
				       .expired_incarnation = 7,
				       .expired_renewals = seen};
	assert_code(w_claim(w, b, &takeover, &claimed), ERR_ABORTED);
	ck_assert(!find(w_renew(w, b, &nb), "a")->dead);
	assert_ok(w_renew(w, a, &na).e);
	w_append(w, a, 3, 1, 1, "still mine");
}
END_TEST

struct heard {
	int nodes, namespaces;
	bool any;
};

static void on_topic(void *ctx, const char *topic)
{
	struct heard *h = ctx;
	h->nodes += str_eq(topic, "nodes");
	h->namespaces += str_eq(topic, "namespaces");
	h->any = true;
}

START_TEST(changes_are_announced_and_plain_renewals_are_not)
{
	struct store_node na = node("a", 7);
	struct heard heard = {0};
	store_on_notify(b, on_topic, &heard);
	assert_ok(w_namespaces(w, b).e); /* connected, so that its first announcements are behind us */
	world_settle(w);
	heard = (struct heard){0};

	assert_ok(w_renew(w, a, &na).e);
	world_wait(w, &heard.any);
	ck_assert_int_eq(heard.nodes, 1);

	heard = (struct heard){0};
	assert_ok(w_renew(w, a, &na).e);
	assert_ok(w_renew(w, a, &na).e);
	world_settle(w);
	ck_assert(!heard.any);

	na.draining = true;
	assert_ok(w_renew(w, a, &na).e);
	world_wait(w, &heard.any);

	heard = (struct heard){0};
	struct store_namespace ns = {.id = "n1", .name = "first", .info = bytes_str("x")};
	assert_ok(w_namespace_put(w, a, &ns));
	world_wait(w, &heard.any);
	ck_assert_int_eq(heard.namespaces, 1);

	heard = (struct heard){0};
	assert_ok(w_leave(w, a, "a", 7));
	world_wait(w, &heard.any);
	ck_assert_int_eq(heard.nodes, 1);
}
END_TEST

static const char *pinned(struct world_nodes nodes, uint32_t shard)
{
	for (size_t i = 0; i < nodes.pin_count; i++)
		if (nodes.pins[i].shard == shard)
			return nodes.pins[i].node_id;
	return "";
}

START_TEST(what_operators_decide_comes_with_every_renewal)
{
	struct store_node na = node("a", 7), nb = node("b", 1);
	w->ops->pin(w, 3, "b");
	w->ops->tell_to_drain(w, "a", true);
	struct world_nodes first = w_renew(w, a, &na); /* registers */
	assert_ok(first.e);
	ck_assert(find(first, "a")->told_to_drain && !find(first, "a")->draining);
	ck_assert_uint_eq(first.pin_count, 1);
	ck_assert_str_eq(pinned(first, 3), "b");
	assert_ok(w_renew(w, b, &nb).e);

	w->ops->pin(w, 5, "no such node");
	w->ops->pin(w, 3, "a");
	w->ops->tell_to_drain(w, "b", true);
	struct world_nodes plain = w_renew(w, a, &na);
	ck_assert_uint_eq(plain.count, 2);
	ck_assert(find(plain, "a")->told_to_drain && find(plain, "b")->told_to_drain);
	ck_assert_uint_eq(plain.pin_count, 2);
	ck_assert_str_eq(pinned(plain, 3), "a");
	ck_assert_str_eq(pinned(plain, 5), "no such node");

	na.draining = true; /* says something new */
	w->ops->pin(w, 5, NULL);
	struct world_nodes changed = w_renew(w, a, &na);
	ck_assert_uint_eq(changed.pin_count, 1);
	ck_assert_str_eq(pinned(changed, 3), "a");
	ck_assert(find(changed, "a")->told_to_drain && find(changed, "a")->draining);

	/* It holds for the process that comes after. */
	struct store_node fresh = node("a", 8);
	ck_assert(find(w_renew(w, a, &fresh), "a")->told_to_drain);
	w->ops->tell_to_drain(w, "a", false);
	w->ops->pin(w, 3, NULL);
	struct world_nodes last = w_renew(w, a, &fresh);
	ck_assert(!find(last, "a")->told_to_drain);
	ck_assert_uint_eq(last.pin_count, 0);
}
END_TEST

START_TEST(what_operators_decide_is_announced)
{
	struct heard heard = {0};
	store_on_notify(b, on_topic, &heard);
	assert_ok(w_namespaces(w, b).e);
	world_settle(w);
	for (int i = 0; i < 4; i++) {
		heard = (struct heard){0};
		if (i % 2 == 0)
			w->ops->pin(w, 1, i ? NULL : "a");
		else
			w->ops->tell_to_drain(w, "a", i == 1);
		world_wait(w, &heard.any);
		ck_assert_int_eq(heard.nodes, 1);
	}
}
END_TEST

START_TEST(cluster_facts)
{
	struct store_cluster c;
	assert_ok(w_cluster(w, a, &c));
	ck_assert_uint_eq(c.shard_count, WORLD_SHARDS);
	ck_assert_uint_eq(strlen(c.cluster_id), 36);
	ck_assert(!str_empty(c.database_version));
	ck_assert_int_ge(c.schema_version, 1);
}
END_TEST

START_TEST(an_unknown_schema_is_refused_with_the_command_to_run)
{
	struct store_cluster c;
	w->ops->set_schema_version(w, 999);
	struct err e = w_cluster(w, a, &c);
	assert_code(e, ERR_FAILED_PRECONDITION);
	ck_assert_ptr_nonnull(strstr(e.message, "999"));
	ck_assert_ptr_nonnull(strstr(e.message, "perdurectl schema migrate"));
}
END_TEST

/* A rolling upgrade: the database is migrated first, and programs of the release before may start again. */
START_TEST(a_newer_schema_that_serves_us_is_taken)
{
	struct store_cluster c;
	w->ops->add_schema(w, STORE_SCHEMA_VERSION + 1, STORE_SCHEMA_VERSION);
	assert_ok(w_cluster(w, a, &c));
	ck_assert_int_eq(c.schema_version, STORE_SCHEMA_VERSION + 1);
	w->ops->add_schema(w, STORE_SCHEMA_VERSION + 2, 1);
	assert_ok(w_cluster(w, a, &c));
}
END_TEST

START_TEST(a_newer_schema_that_does_not_serve_us_is_refused)
{
	struct store_cluster c;
	w->ops->add_schema(w, STORE_SCHEMA_VERSION + 1, _i ? STORE_SCHEMA_VERSION + 1 : 0);
	assert_code(w_cluster(w, a, &c), ERR_FAILED_PRECONDITION);
}
END_TEST

TCase *contract_nodes(void)
{
	TCase *t = tcase_create("nodes");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_node_registers_and_sees_all);
	tcase_add_test(t, a_renewal_counts_one_up);
	tcase_add_test(t, a_newer_schema_that_serves_us_is_taken);
	tcase_add_loop_test(t, a_newer_schema_that_does_not_serve_us_is_refused, 0, 2);
	tcase_add_test(t, a_new_incarnation_replaces_the_old_one);
	tcase_add_test(t, leaving_removes_the_row_of_this_incarnation_only);
	tcase_add_test(t, an_expired_owner_is_declared_dead_and_cannot_renew);
	tcase_add_test(t, an_owner_that_renewed_since_keeps_its_shard);
	tcase_add_test(t, changes_are_announced_and_plain_renewals_are_not);
	tcase_add_test(t, what_operators_decide_comes_with_every_renewal);
	tcase_add_test(t, what_operators_decide_is_announced);
	tcase_add_test(t, cluster_facts);
	tcase_add_test(t, an_unknown_schema_is_refused_with_the_command_to_run);
	return t;
}
