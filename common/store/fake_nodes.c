/*
 * The store in memory: nodes and their placement, namespaces and cluster facts.
 */
#include <stdlib.h>

#include "common/store/fake_impl.h"
#include "common/store/schema.h"

/* ------------------------------------------------------------------ nodes */

struct fake_node *fake_node_find(struct fake_db *db, const char *node_id)
{
	struct fake_node *n;
	DL_FOREACH (db->nodes, n) {
		if (str_eq(n->node.node_id, node_id))
			return n;
	}
	return NULL;
}

static void node_clear(struct store_node *n)
{
	free((void *)n->node_id);
	free((void *)n->role);
	free((void *)n->address);
	free((void *)n->http_address);
	free((void *)n->version);
	*n = (struct store_node){0};
}

static void node_set(struct store_node *to, const struct store_node *from)
{
	struct store_node copy = *from;
	copy.node_id = mem_strdup(from->node_id);
	copy.role = mem_strdup(from->role);
	copy.address = mem_strdup(from->address);
	copy.http_address = mem_strdup(from->http_address);
	copy.version = mem_strdup(from->version);
	node_clear(to);
	*to = copy;
}

static bool node_same(const struct store_node *a, const struct store_node *b)
{
	return a->incarnation == b->incarnation && a->draining == b->draining && str_eq(a->role, b->role) &&
	       str_eq(a->address, b->address) && str_eq(a->http_address, b->http_address) &&
	       str_eq(a->version, b->version);
}

static void node_remove(struct fake_db *db, struct fake_node *n)
{
	DL_DELETE(db->nodes, n);
	node_clear(&n->node);
	free(n);
}

struct renew_call {
	struct fake_call call;
	struct store_node self; /* copied: in the arena */
	struct store_nodes nodes;
	store_nodes_fn *fn;
	void *ctx;
};

/* Registers an incarnation, or renews it. False: it was declared dead, or replaced, or has left. */
static bool renew_row(struct fake_store *s, const struct store_node *self)
{
	struct fake_node *n = fake_node_find(s->db, self->node_id);
	bool registered =
		str_eq(s->registered_node_id, self->node_id) && s->registered_incarnation == self->incarnation;
	bool same_incarnation = n && n->node.incarnation == self->incarnation;
	if (same_incarnation ? n->node.dead : registered)
		return false;
	if (!n) {
		n = new0(struct fake_node);
		DL_APPEND(s->db->nodes, n);
	}
	bool changed = !node_same(&n->node, self);
	int64_t renewals = same_incarnation ? n->node.renewals + 1 : 1;
	node_set(&n->node, self);
	n->node.renewals = renewals;
	n->node.dead = false;
	free(s->registered_node_id);
	s->registered_node_id = mem_strdup(self->node_id);
	s->registered_incarnation = self->incarnation;
	if (changed)
		fake_announce(s->db, STORE_TOPIC_NODES);
	return true;
}

static struct store_node node_copy(struct arena *a, const struct store_node *from)
{
	struct store_node n = *from;
	n.node_id = arena_strdup(a, from->node_id);
	n.role = arena_strdup(a, from->role);
	n.address = arena_strdup(a, from->address);
	n.http_address = arena_strdup(a, from->http_address);
	n.version = arena_strdup(a, from->version);
	return n;
}

static void copy_pins(struct arena *a, const struct fake_db *db, struct store_nodes *ret)
{
	struct store_pin *pins = arena_array(a, struct store_pin, db->cluster.shard_count);
	ret->pins = pins;
	for (uint32_t i = 0; i < db->cluster.shard_count; i++)
		if (db->pins[i])
			pins[ret->pin_count++] = (struct store_pin){i, arena_strdup(a, db->pins[i])};
}

static void run_renew(struct fake_call *c)
{
	struct renew_call *r = container_of(c, struct renew_call, call);
	struct fake_db *db = c->s->db;
	if (!renew_row(c->s, &r->self)) {
		c->err = err_static(ERR_ABORTED, "this incarnation of the node was declared dead");
		c->err.reason = ERR_REASON_FENCED;
		return;
	}
	struct fake_node *n;
	size_t count;
	DL_COUNT(db->nodes, n, count);
	struct store_node *list = arena_array(c->arena, struct store_node, count);
	r->nodes = (struct store_nodes){.list = list};
	DL_FOREACH (db->nodes, n) {
		list[r->nodes.count] = node_copy(c->arena, &n->node);
		list[r->nodes.count++].told_to_drain = fake_db_told_to_drain(db, n->node.node_id);
	}
	copy_pins(c->arena, db, &r->nodes);
}

static void reply_renew(struct fake_call *c)
{
	struct renew_call *r = container_of(c, struct renew_call, call);
	r->fn(r->ctx, c->err, err_is(c->err) ? NULL : &r->nodes);
}

void fake_node_renew(struct store *s, const struct store_node *self, store_nodes_fn *fn, void *ctx)
{
	struct renew_call *r = fake_call_new(fake_of(s), struct renew_call, FAKE_LANE_CONTROL, run_renew, reply_renew);
	r->self = node_copy(r->call.arena, self);
	r->fn = fn;
	r->ctx = ctx;
}

/* A call whose reply is only an error. */
struct done_call {
	struct fake_call call;
	store_done_fn *fn;
	void *ctx;
	const char *id;
	uint64_t incarnation;
	int64_t version;
	struct store_namespace ns;
};

static void reply_done(struct fake_call *c)
{
	struct done_call *d = container_of(c, struct done_call, call);
	d->fn(d->ctx, c->err);
}

static void run_leave(struct fake_call *c)
{
	struct done_call *d = container_of(c, struct done_call, call);
	struct fake_node *n = fake_node_find(c->s->db, d->id);
	if (!n || n->node.incarnation != d->incarnation)
		return;
	node_remove(c->s->db, n);
	fake_announce(c->s->db, STORE_TOPIC_NODES);
}

static struct done_call *done_call(struct store *s, void (*run)(struct fake_call *), store_done_fn *fn, void *ctx)
{
	struct done_call *d = fake_call_new(fake_of(s), struct done_call, FAKE_LANE_CONTROL, run, reply_done);
	d->fn = fn;
	d->ctx = ctx;
	return d;
}

void fake_node_leave(struct store *s, const char *node_id, uint64_t incarnation, store_done_fn *fn, void *ctx)
{
	struct done_call *d = done_call(s, run_leave, fn, ctx);
	d->id = arena_strdup(d->call.arena, node_id);
	d->incarnation = incarnation;
}

/* ------------------------------------------------------------------ what operators decide */

void fake_db_pin(struct fake_db *db, uint32_t shard, const char *node_id)
{
	assert(shard < db->cluster.shard_count);
	free(db->pins[shard]);
	db->pins[shard] = node_id ? mem_strdup(node_id) : NULL;
	fake_announce(db, STORE_TOPIC_NODES);
}

static struct fake_drain *drain_find(const struct fake_db *db, const char *node_id)
{
	struct fake_drain *d;
	LL_FOREACH (db->drains, d) {
		if (str_eq(d->node_id, node_id))
			return d;
	}
	return NULL;
}

bool fake_db_told_to_drain(const struct fake_db *db, const char *node_id)
{
	return drain_find(db, node_id) != NULL;
}

static void drain_remove(struct fake_db *db, struct fake_drain *d)
{
	LL_DELETE(db->drains, d);
	free(d->node_id);
	free(d);
}

void fake_db_tell_to_drain(struct fake_db *db, const char *node_id, bool drain)
{
	struct fake_drain *d = drain_find(db, node_id);
	if (drain && !d) {
		d = new0(struct fake_drain);
		d->node_id = mem_strdup(node_id);
		LL_PREPEND(db->drains, d);
	} else if (!drain && d) {
		drain_remove(db, d);
	}
	fake_announce(db, STORE_TOPIC_NODES);
}

static void placement_free(struct fake_db *db)
{
	while (db->drains)
		drain_remove(db, db->drains);
	for (uint32_t i = 0; i < db->cluster.shard_count; i++)
		free(db->pins[i]);
	free(db->pins);
}

/* ------------------------------------------------------------------ namespaces */

static struct fake_namespace *namespace_find(struct fake_db *db, const char *id, const char *name)
{
	struct fake_namespace *n;
	DL_FOREACH (db->namespaces, n) {
		if ((id && str_eq(n->id, id)) || (name && str_eq(n->name, name)))
			return n;
	}
	return NULL;
}

static void namespace_remove(struct fake_db *db, struct fake_namespace *n)
{
	DL_DELETE(db->namespaces, n);
	free(n->id);
	free(n->name);
	fake_bytes_free(&n->info);
	free(n);
}

static int namespace_order(struct fake_namespace *a, struct fake_namespace *b)
{
	return strcmp(a->name, b->name);
}

static void namespace_insert(struct fake_db *db, const struct store_namespace *ns, int64_t version)
{
	struct fake_namespace *n = new0(struct fake_namespace);
	n->id = mem_strdup(ns->id);
	n->name = mem_strdup(ns->name);
	n->version = version;
	n->info = fake_bytes_dup(ns->info);
	DL_INSERT_INORDER(db->namespaces, n, namespace_order);
}

struct namespaces_call {
	struct fake_call call;
	struct store_namespace *list;
	size_t count;
	store_namespaces_fn *fn;
	void *ctx;
};

static void run_namespaces(struct fake_call *c)
{
	struct namespaces_call *l = container_of(c, struct namespaces_call, call);
	struct fake_namespace *n;
	size_t count;
	DL_COUNT(c->s->db->namespaces, n, count);
	l->list = arena_array(c->arena, struct store_namespace, count);
	DL_FOREACH (c->s->db->namespaces, n) {
		l->list[l->count++] = (struct store_namespace){.id = arena_strdup(c->arena, n->id),
							       .name = arena_strdup(c->arena, n->name),
							       .version = n->version,
							       .info = arena_copy(c->arena, n->info)};
	}
}

static void reply_namespaces(struct fake_call *c)
{
	struct namespaces_call *l = container_of(c, struct namespaces_call, call);
	bool ok = !err_is(c->err);
	l->fn(l->ctx, c->err, ok ? l->list : NULL, ok ? l->count : 0);
}

void fake_namespaces(struct store *s, store_namespaces_fn *fn, void *ctx)
{
	struct namespaces_call *l =
		fake_call_new(fake_of(s), struct namespaces_call, FAKE_LANE_CONTROL, run_namespaces, reply_namespaces);
	l->fn = fn;
	l->ctx = ctx;
}

static void run_namespace_put(struct fake_call *c)
{
	struct done_call *d = container_of(c, struct done_call, call);
	struct fake_db *db = c->s->db;
	const struct store_namespace *ns = &d->ns;
	struct fake_namespace *old = namespace_find(db, ns->id, NULL);
	struct fake_namespace *taken = namespace_find(db, NULL, ns->name);
	if (ns->version == 0 ? (old || taken) : (taken && taken != old)) {
		c->err = err_static(ERR_ALREADY_EXISTS, "the namespace exists");
		return;
	}
	if (ns->version != 0 && (!old || old->version != ns->version)) {
		c->err = err_static(ERR_ABORTED, "the namespace was changed by somebody else");
		return;
	}
	if (old)
		namespace_remove(db, old);
	namespace_insert(db, ns, ns->version + 1);
	fake_announce(db, STORE_TOPIC_NAMESPACES);
}

void fake_namespace_put(struct store *s, const struct store_namespace *ns, store_done_fn *fn, void *ctx)
{
	struct done_call *d = done_call(s, run_namespace_put, fn, ctx);
	struct arena *a = d->call.arena;
	d->ns = (struct store_namespace){.id = arena_strdup(a, ns->id),
					 .name = arena_strdup(a, ns->name),
					 .version = ns->version,
					 .info = arena_copy(a, ns->info)};
}

bool fake_db_has_namespace(const struct fake_db *db, const char *id)
{
	return namespace_find((struct fake_db *)db, id, NULL) != NULL;
}

static void run_namespace_delete(struct fake_call *c)
{
	struct done_call *d = container_of(c, struct done_call, call);
	struct fake_namespace *n = namespace_find(c->s->db, d->id, NULL);
	if (!n || n->version != d->version) {
		c->err = err_static(ERR_ABORTED, "the namespace was changed by somebody else");
		return;
	}
	namespace_remove(c->s->db, n);
	fake_purges_forget(c->s->db, d->id);
	fake_announce(c->s->db, STORE_TOPIC_NAMESPACES);
}

void fake_namespace_delete(struct store *s, const char *id, int64_t version, store_done_fn *fn, void *ctx)
{
	struct done_call *d = done_call(s, run_namespace_delete, fn, ctx);
	d->id = arena_strdup(d->call.arena, id);
	d->version = version;
}

void fake_db_put_namespace(struct fake_db *db, const char *id, const char *name, struct bytes info)
{
	struct fake_namespace *old = namespace_find(db, id, name);
	int64_t version = old ? old->version : 0;
	if (old)
		namespace_remove(db, old);
	const struct store_namespace ns = {.id = id, .name = name, .info = info};
	namespace_insert(db, &ns, version + 1);
	fake_announce(db, STORE_TOPIC_NAMESPACES);
}

/* ------------------------------------------------------------------ cluster facts */

struct cluster_call {
	struct fake_call call;
	struct store_cluster cluster;
	store_cluster_fn *fn;
	void *ctx;
};

static void run_cluster(struct fake_call *c)
{
	struct cluster_call *k = container_of(c, struct cluster_call, call);
	k->cluster = c->s->db->cluster;
	if (!store_schema_serves_us(k->cluster.schema_version, c->s->db->schema_serves_from))
		c->err = err_make(c->arena, ERR_FAILED_PRECONDITION,
				  "the database schema is version %d, this program needs %d: run 'perdurectl schema "
				  "migrate'",
				  k->cluster.schema_version, STORE_SCHEMA_VERSION);
}

static void reply_cluster(struct fake_call *c)
{
	struct cluster_call *k = container_of(c, struct cluster_call, call);
	k->fn(k->ctx, c->err, err_is(c->err) ? NULL : &k->cluster);
}

void fake_cluster(struct store *s, store_cluster_fn *fn, void *ctx)
{
	struct cluster_call *k =
		fake_call_new(fake_of(s), struct cluster_call, FAKE_LANE_CONTROL, run_cluster, reply_cluster);
	k->fn = fn;
	k->ctx = ctx;
}

void fake_nodes_free(struct fake_db *db)
{
	while (db->nodes)
		node_remove(db, db->nodes);
	while (db->namespaces)
		namespace_remove(db, db->namespaces);
	placement_free(db);
}
