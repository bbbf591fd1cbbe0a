/*
 * Requests that a run's shard serves: found, sent, and sent again while the shard moves.
 *
 *     attempt ──reply──▶ finish
 *       ▲ │
 *       │ └─not owner, draining, lost─▶ waiting ──back-off, or the live nodes changed──▶ attempt
 *       │                                  │
 *       └──────────────────────────────────┘     (until the deadline)
 *
 * The request's bytes travel as they came; what is added (a request id) is appended as another field, which is the
 * same as setting it.
 */
#include <stdlib.h>
#include <utlist.h>

#include <perdure/cluster.pb-c.h>

#include "common/edge/internal.h"

#define BACKOFF_MIN_NS	(5 * NS_PER_MS)
#define BACKOFF_MAX_NS	(200 * NS_PER_MS)
#define MOVING_MAX_NS	(20 * NS_PER_MS) /* while a shard moves, which takes milliseconds */
#define DEADLINE_MAX_NS (3600 * NS_PER_S)
/* The last word is ours if we say it a little before the client's deadline. */
#define DEADLINE_MARGIN_NS (50 * NS_PER_MS)
/* A cluster without an owner for a shard will not have one soon. */
#define RETRY_MAX_NS (30 * NS_PER_S)
/* For a read that would wait, of a client that has to leave. */
#define HURRY_NS (1 * NS_PER_S)
/* Wakes after a change come spread over this, so that a new owner isn't met by all at once. */
#define WAKE_SPREAD_NS (5 * NS_PER_MS)

struct forward {
	struct edge_call *call;
	struct edge *edge;
	struct forward *prev, *next; /* in edge->waiting */
	bool waiting;
	struct reach_call sent; /* not under way: waiting for the next attempt */
	struct env_timer timer;
	uint32_t shard;
	int tries;
	uint64_t asked;	  /* hash of the address that the last attempt went to */
	uint64_t refused; /* … that does not own the shard: another is asked at once, then after a pause the owner again
			   */
	bool retry_lost;
	int64_t deadline_ns, give_up_ns;
	int64_t since_ns;      /* the attempt began, or the wait for the next one */
	struct bytes parts[4]; /* the envelope, the request's length, the request, what is appended to it */
};

static void attempt(struct forward *f);

/* ------------------------------------------------------------------ the end */

static void stop_waiting(struct forward *f)
{
	env_timer_stop(f->edge->env, &f->timer);
	if (f->waiting)
		DL_DELETE(f->edge->waiting, f);
	f->waiting = false;
}

/* How an error looks from outside: what only our daemons understand is said in words. */
static struct err outward(const struct forward *f, struct err e)
{
	switch (e.reason) {
	case ERR_REASON_NONE:
		break;
	case ERR_REASON_NOT_OWNER:
	case ERR_REASON_FENCED:
	case ERR_REASON_DRAINING:
		return err_static(ERR_UNAVAILABLE, "The shard of this workflow is moving to another node.");
	case ERR_REASON_PEER_LOST:
	case ERR_REASON_OUTCOME_UNKNOWN:
		return err_static(ERR_UNAVAILABLE, "The node of this workflow's shard was lost; the request may or "
						   "may not have taken effect.");
	}
	if (e.code == ERR_DEADLINE_EXCEEDED && api_method_id_of(f->call->method) == API_METHOD_WORKFLOW_QUERY_WORKFLOW)
		return err_static(ERR_DEADLINE_EXCEEDED, "query timed out before a worker could process it");
	if (e.code == ERR_DEADLINE_EXCEEDED)
		return err_static(ERR_DEADLINE_EXCEEDED, "context deadline exceeded");
	return e;
}

static void on_cancel(struct edge_call *c)
{
	struct forward *f = c->state;
	stop_waiting(f);
	int64_t *spent = f->sent.pending ? &c->history_ns : &c->owner_wait_ns;
	*spent += env_mono_ns(f->edge->env) - f->since_ns;
	if (f->sent.pending)
		reach_cancel(&f->sent);
	edge_fail(c, err_static(ERR_CANCELLED, "context canceled"));
}

/* ------------------------------------------------------------------ again */

static bool may_retry(const struct forward *f, struct err e)
{
	switch (e.reason) {
	case ERR_REASON_NOT_OWNER: /* nothing happened there */
	case ERR_REASON_DRAINING:
	case ERR_REASON_FENCED:
		return true;
	case ERR_REASON_PEER_LOST:
	case ERR_REASON_OUTCOME_UNKNOWN:
		return f->retry_lost;
	case ERR_REASON_NONE:
		return e.code == ERR_UNAVAILABLE && f->retry_lost;
	}
	return false;
}

static uint64_t address_hash(const struct member *m)
{
	return m ? placement_hash(bytes_str(m->address)) : 0;
}

/* The owner; or, when it is who has just refused, who had the shard before. NULL: nobody. */
static const struct member *target(const struct forward *f)
{
	const struct membership *m = f->edge->parts.membership;
	const struct member *owner = membership_shard_owner(m, f->shard);
	if (!f->refused || address_hash(owner) != f->refused)
		return owner;
	const struct member *other = membership_shard_other(m, f->shard);
	return other ? other : owner;
}

static bool is_moving(struct err e)
{
	return e.reason == ERR_REASON_NOT_OWNER || e.reason == ERR_REASON_DRAINING || e.reason == ERR_REASON_FENCED;
}

static void retry_or_fail(struct forward *f, struct err e)
{
	struct env *env = f->edge->env;
	int64_t now = env_mono_ns(env);
	if (!may_retry(f, e) || now >= f->give_up_ns) {
		edge_fail(f->call, outward(f, e));
		return;
	}
	if (is_moving(e) && f->asked && !f->refused) {
		f->refused = f->asked;
		if (address_hash(target(f)) != f->refused) {
			attempt(f);
			return;
		}
	}
	f->refused = 0;
	int64_t max = is_moving(e) ? MOVING_MAX_NS : BACKOFF_MAX_NS;
	int64_t backoff = BACKOFF_MIN_NS << (f->tries < 8 ? f->tries : 8);
	backoff = min_i64(backoff, max);
	uint32_t r;
	env_random(env, &r, sizeof r);
	backoff = backoff / 2 + (int64_t)((uint64_t)r * (uint64_t)backoff >> 32);
	f->tries++;
	f->waiting = true;
	DL_APPEND(f->edge->waiting, f);
	env_timer_start(env, &f->timer, min_i64(backoff, f->give_up_ns - now));
}

static void on_timer(struct env_timer *t)
{
	struct forward *f = container_of(t, struct forward, timer);
	stop_waiting(f);
	attempt(f);
}

void forward_wake(struct edge *e)
{
	struct forward *f;
	DL_FOREACH (e->waiting, f) {
		uint32_t r;
		env_random(e->env, &r, sizeof r);
		env_timer_start(e->env, &f->timer, r % WAKE_SPREAD_NS);
	}
}

/* ------------------------------------------------------------------ an attempt */

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct forward *f = ctx;
	int64_t now = env_mono_ns(f->edge->env);
	f->call->history_ns += now - f->since_ns;
	f->since_ns = now;
	if (err_is(e))
		retry_or_fail(f, e);
	else
		edge_finish(f->call, err_ok, &body, 1);
}

static void attempt(struct forward *f)
{
	const struct member *owner = target(f);
	int64_t now = env_mono_ns(f->edge->env);
	f->asked = address_hash(owner);
	f->call->owner_wait_ns += now - f->since_ns;
	f->since_ns = now;
	f->call->tries++;
	if (!owner) {
		struct err none = err_static(ERR_UNAVAILABLE, "No history node is there for this workflow's shard.");
		none.reason = ERR_REASON_NOT_OWNER;
		if (now >= f->give_up_ns)
			none.reason = ERR_REASON_NONE; /* keeps its text */
		retry_or_fail(f, none);
		return;
	}
	struct rpc_call call = {
		.address = owner->address,
		.method = RPC_HISTORY_CALL,
		.parts = f->parts,
		.part_count = array_len(f->parts),
		.deadline_ns = f->deadline_ns,
		.traceparent = f->call->span ? span_traceparent(f->call->span) : edge_header(f->call, "traceparent"),
		.fn = on_reply,
		.ctx = f,
	};
	reach_begin(f->edge->reach, &f->sent, &call);
}

static bool waits_for_events(const struct edge_call *c)
{
	return c->on_cancel == on_cancel &&
	       api_method_id_of(c->method) == API_METHOD_WORKFLOW_GET_WORKFLOW_EXECUTION_HISTORY &&
	       wire_value(c->request, edge_field_number(c, "wait_new_event")) != 0;
}

/* Asked again with little time left, history answers as it does when nothing came: the client comes back elsewhere. */
void forward_hurry(struct edge *e)
{
	int64_t now = env_mono_ns(e->env);
	struct edge_call *c, *tmp;
	DL_FOREACH_SAFE (e->calls, c, tmp) {
		struct forward *f = c->state;
		if (!waits_for_events(c) || now + HURRY_NS >= f->deadline_ns)
			continue;
		f->deadline_ns = now + HURRY_NS;
		f->give_up_ns = min_i64(f->give_up_ns, f->deadline_ns - DEADLINE_MARGIN_NS);
		if (!f->sent.pending)
			continue;
		reach_cancel(&f->sent);
		attempt(f);
	}
}

/* ------------------------------------------------------------------ the message */

/* What history may want to know of the client. */
static const char *const passed_headers[] = {"client-name", "client-version", "supported-features"};

static size_t headers_of(struct edge_call *c, Perdure__HistoryCall__HeadersEntry *entries,
			 Perdure__HistoryCall__HeadersEntry **list)
{
	size_t n = 0;
	for (size_t i = 0; i < array_len(passed_headers); i++) {
		const char *value = edge_header(c, passed_headers[i]);
		if (!value)
			continue;
		perdure__history_call__headers_entry__init(&entries[n]);
		entries[n].key = (char *)passed_headers[i];
		entries[n].value = (char *)value;
		list[n] = &entries[n];
		n++;
	}
	return n;
}

static const char *workflow_id_of(struct edge_call *c, const struct admitted *a)
{
	if (a->route->execution)
		return edge_text(c, edge_field_in(c, a->route->execution, "workflow_id"));
	if (a->route->workflow_id)
		return edge_text(c, edge_field(c, a->route->workflow_id));
	return a->token->workflow_id;
}

static void append_text(struct edge_call *c, struct buf *b, const char *field, const char *value)
{
	if (!edge_field(c, field).len)
		buf_put_field(b, edge_field_number(c, field), bytes_str(value));
}

/* Defaults that must be the same at every attempt, as fields to append to the request. */
static struct bytes defaults_of(struct edge_call *c, const struct admitted *a)
{
	struct buf b = {0};
	if (a->route->request_id == REQUEST_ID_FILLED) {
		char id[37];
		env_uuid(c->edge->env, id);
		append_text(c, &b, "request_id", id);
	}
	if (api_method_id_of(c->method) == API_METHOD_WORKFLOW_TERMINATE_WORKFLOW_EXECUTION) {
		append_text(c, &b, "reason", "terminated by user via frontend");
		append_text(c, &b, "identity", "frontend-service");
	}
	struct bytes kept = arena_copy(edge_arena(c), buf_view(&b));
	buf_done(&b);
	return kept;
}

static void compose(struct forward *f, const struct admitted *a, const char *workflow_id)
{
	struct edge_call *c = f->call;
	struct arena *arena = edge_arena(c);
	Perdure__HistoryCall__HeadersEntry entries[array_len(passed_headers)];
	Perdure__HistoryCall__HeadersEntry *list[array_len(passed_headers)];
	Perdure__HistoryCall m = PERDURE__HISTORY_CALL__INIT;
	m.service = (char *)c->method->service;
	m.method = (char *)c->method->name;
	m.namespace_id = (char *)a->namespace_id;
	m.namespace_ = (char *)a->namespace;
	m.workflow_id = (char *)workflow_id;
	m.retention_ns = a->retention_ns;
	m.n_headers = headers_of(c, entries, list);
	m.headers = list;
	char retry_id[37];
	if (a->route->request_id == REQUEST_ID_HIDDEN && !edge_field(c, "request_id").len) {
		env_uuid(c->edge->env, retry_id);
		m.retry_id = retry_id;
	}
	size_t len = perdure__history_call__get_packed_size(&m);
	uint8_t *envelope = arena_alloc(arena, len);
	perdure__history_call__pack(&m, envelope);

	struct bytes request = oversize_replace(c), more = defaults_of(c, a);
	struct buf head = {0};
	buf_put_varint(&head, 6u << 3 | 2); /* HistoryCall.request */
	buf_put_varint(&head, request.len + more.len);
	f->parts[0] = bytes_of(envelope, len);
	f->parts[1] = arena_copy(arena, buf_view(&head));
	f->parts[2] = request;
	f->parts[3] = more;
	buf_done(&head);
}

void forward_serve(struct edge_call *c, struct admitted *a)
{
	struct edge *e = c->edge;
	struct forward *f = arena_new0(edge_arena(c), struct forward);
	f->call = c;
	f->edge = e;
	f->timer.fn = on_timer;
	f->retry_lost = a->route->retry_lost;
	const char *workflow_id = workflow_id_of(c, a);
	compose(f, a, workflow_id);
	f->shard = shard_of(a->namespace_id, workflow_id, e->config.shard_count);

	int64_t now = env_mono_ns(e->env);
	f->since_ns = now;
	c->workflow_id = workflow_id;
	f->deadline_ns = min_i64(edge_deadline_ns(c), now + DEADLINE_MAX_NS);
	f->give_up_ns = min_i64(f->deadline_ns - DEADLINE_MARGIN_NS, now + RETRY_MAX_NS);
	c->state = f;
	c->on_cancel = on_cancel;
	attempt(f);
}
