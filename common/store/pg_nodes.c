/*
 * Nodes in PostgreSQL: registration, the renewal that is the lease, leaving; and what operators decided about
 * placement, which comes along with it.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

/* An incarnation that was declared dead stays dead; another one of the same node replaces the row. */
static const struct pg_stmt stmt_register = {
	"node_register",
	"WITH put AS ("
	" INSERT INTO node AS n (node_id, incarnation, role, address, http_address, version, draining, dead, renewals,"
	"  renewed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, false, 1, now())"
	" ON CONFLICT (node_id) DO UPDATE SET incarnation = excluded.incarnation, role = excluded.role,"
	"  address = excluded.address, http_address = excluded.http_address, version = excluded.version,"
	"  draining = excluded.draining, dead = false, renewed_at = excluded.renewed_at,"
	"  renewals = CASE WHEN n.incarnation = excluded.incarnation THEN n.renewals + 1 ELSE 1 END"
	" WHERE n.incarnation <> excluded.incarnation OR NOT n.dead"
	" RETURNING 1) "
	"SELECT pg_notify('" PG_CHANNEL "', '" STORE_TOPIC_NODES "') FROM put"};

#define NODE_COLUMNS "node_id, role, address, http_address, version, incarnation, renewals, draining, dead"
#define NODE_TOLD    "EXISTS (SELECT FROM node_drain d WHERE d.node_id = node.node_id) AS told"
/* "SHARD NODE" a line, with our own row only; null: none. */
#define PINS "(SELECT string_agg(p.shard_id || ' ' || p.node_id, E'\\n') FROM shard_pin p)"

/* What every node does every second: one statement. (The update isn't seen by the rest of it, so it answers for
 * itself.) */
static const struct pg_stmt stmt_renew = {
	"node_renew",
	"WITH self AS ("
	" UPDATE node SET renewals = renewals + 1, renewed_at = now()"
	" WHERE node_id = $1 AND incarnation = $2 AND NOT dead RETURNING " NODE_COLUMNS ", " NODE_TOLD
	") SELECT " NODE_COLUMNS ", told, " PINS " FROM self UNION ALL SELECT " NODE_COLUMNS ", " NODE_TOLD
	", NULL FROM node WHERE node_id <> $1 AND EXISTS (SELECT FROM self) ORDER BY node_id"};

static const struct pg_stmt stmt_change = {
	"node_change",
	"WITH put AS ("
	" UPDATE node SET renewals = renewals + 1, renewed_at = now(), role = $3, address = $4, http_address = $5,"
	"  version = $6, draining = $7 WHERE node_id = $1 AND incarnation = $2 AND NOT dead RETURNING 1) "
	"SELECT pg_notify('" PG_CHANNEL "', '" STORE_TOPIC_NODES "') FROM put"};

static const struct pg_stmt stmt_list = {"node_list",
					 "SELECT " NODE_COLUMNS ", " NODE_TOLD ", CASE WHEN node_id = $1 THEN " PINS
					 " END FROM node ORDER BY node_id"};

static const struct pg_stmt stmt_leave = {
	"node_leave", "WITH gone AS (DELETE FROM node WHERE node_id = $1 AND incarnation = $2 RETURNING 1) "
		      "SELECT pg_notify('" PG_CHANNEL "', '" STORE_TOPIC_NODES "') FROM gone"};

struct renew_ctx {
	struct pg_store *s;
	char *node_id;
	uint64_t incarnation;
	char *announced;
	int64_t writer_waited_ns; /* when it left; 0: none or nothing under way */
	store_nodes_fn *fn;
	void *ctx;
};

static void remember(struct pg_store *s, const struct renew_ctx *c)
{
	free(s->registered_node_id);
	free(s->announced);
	s->registered_node_id = mem_strdup(c->node_id);
	s->registered_incarnation = c->incarnation;
	s->announced = mem_strdup(c->announced);
}

static void read_pins(struct arena *a, const char *text, struct store_nodes *ret)
{
	size_t lines = 1;
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	struct store_pin *pins = arena_array(a, struct store_pin, lines);
	ret->pins = pins;
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		char *id;
		unsigned long shard = strtoul(line, &id, 10);
		if (*id == ' ' && id < line + len)
			pins[ret->pin_count++] = (struct store_pin){
				(uint32_t)shard, arena_printf(a, "%.*s", (int)(line + len - id - 1), id + 1)};
		line += len + (line[len] == '\n');
	}
}

/*
 * A writer that had waited for twice the lease when this renewal left, while the database answers the renewal, has lost
 * its connection without a word. TCP tells if it can (tcp_user_timeout), but not behind a proxy that has forgotten it;
 * and its statement's own timeout is far longer.
 */
static void look_at_writer(const struct renew_ctx *c)
{
	int64_t most = 3 * c->s->link_config.tcp_timeout_ns; /* which is two thirds of the lease */
	if (most > 0 && c->writer_waited_ns > most && pg_link_waiting_ns(c->s->writer) > c->writer_waited_ns)
		pg_link_give_up(c->s->writer, "the database answers others, but not this connection");
}

static void on_renewed(void *ctx, const struct pg_done *d)
{
	struct renew_ctx *c = ctx;
	if (err_is(d->e)) {
		c->fn(c->ctx, pg_store_err(d->e), NULL);
		return;
	}
	/* No row: neither put nor renewed. */
	if (pg_row_count(d->rows[0]) == 0) {
		c->fn(c->ctx, pg_store_fenced("this incarnation of the node was declared dead"), NULL);
		return;
	}
	remember(c->s, c);
	look_at_writer(c);
	const PGresult *r = d->rows[d->count - 1];
	struct arena *a = arena_new(0);
	size_t count = pg_row_count(r);
	struct store_node *list = arena_array(a, struct store_node, count);
	struct store_nodes nodes = {.list = list, .count = count};
	for (size_t i = 0; i < count; i++) {
		list[i] = (struct store_node){.node_id = pg_text(r, i, 0),
					      .role = pg_text(r, i, 1),
					      .address = pg_text(r, i, 2),
					      .http_address = pg_text(r, i, 3),
					      .version = pg_text(r, i, 4),
					      .incarnation = (uint64_t)pg_int8(r, i, 5),
					      .renewals = pg_int8(r, i, 6),
					      .draining = pg_bool(r, i, 7),
					      .dead = pg_bool(r, i, 8),
					      .told_to_drain = pg_bool(r, i, 9)};
		if (!pg_null(r, i, 10))
			read_pins(a, pg_text(r, i, 10), &nodes);
	}
	c->fn(c->ctx, err_ok, &nodes);
	arena_free(a);
}

static const char *text(const char *s)
{
	return s ? s : "";
}

static void put_node(struct pg_op *op, const struct store_node *n)
{
	pg_op_text(op, text(n->role));
	pg_op_text(op, text(n->address));
	pg_op_text(op, text(n->http_address));
	pg_op_text(op, text(n->version));
	pg_op_bool(op, n->draining);
}

/* What an announcement would say. */
static char *facts(struct arena *a, const struct store_node *n)
{
	return arena_printf(a, "%s\x01%s\x01%s\x01%s\x01%d", text(n->role), text(n->address), text(n->http_address),
			    text(n->version), n->draining);
}

void pg_node_renew(struct store *base, const struct store_node *self, store_nodes_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	struct arena *a = pg_op_arena(op);
	struct renew_ctx *c = arena_new0(a, struct renew_ctx);
	*c = (struct renew_ctx){.s = s,
				.node_id = arena_strdup(a, self->node_id),
				.incarnation = self->incarnation,
				.announced = facts(a, self),
				.writer_waited_ns = s->writer ? pg_link_waiting_ns(s->writer) : 0,
				.fn = fn,
				.ctx = ctx};
	bool registered = s->registered_node_id && str_eq(s->registered_node_id, self->node_id) &&
			  s->registered_incarnation == self->incarnation;
	bool changed = !registered || !str_eq(s->announced, c->announced);
	pg_op_add(op, !registered ? &stmt_register : changed ? &stmt_change : &stmt_renew);
	pg_op_text(op, self->node_id);
	pg_op_int8(op, (int64_t)self->incarnation);
	if (changed) {
		put_node(op, self);
		pg_op_add(op, &stmt_list);
		pg_op_text(op, self->node_id);
	}
	pg_link_submit(s->control, op, on_renewed, c);
}

void pg_node_leave(struct store *base, const char *node_id, uint64_t incarnation, store_done_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	pg_op_add(op, &stmt_leave);
	pg_op_text(op, node_id);
	pg_op_int8(op, (int64_t)incarnation);
	pg_link_submit(s->control, op, pg_store_on_done, pg_done_ctx_new(s, op, fn, ctx));
}
