/*
 * From the door to whoever serves a call: the request is checked against its descriptor, its namespace is found (by
 * name, or from its task token), its state and the method's own checks are looked at. The order of these steps decides
 * which error a client sees, and is that of the API's other server.
 */
#include <utlist.h>

#include "common/edge/internal.h"
#include "common/edge/polls/polls.h"

#define STATES_DEFAULT (NAMESPACE_MAY(REGISTERED) | NAMESPACE_MAY(DEPRECATED))

/* A call whose namespace isn't in the cache, while the cache is read again. */
struct admission {
	struct edge_call *call;
	struct namespaces_wait wait;
};

static void admit(struct edge_call *c, bool refreshed);

static void on_refreshed(struct namespaces_wait *w, struct err e)
{
	struct edge_call *c = container_of(w, struct admission, wait)->call;
	c->on_cancel = NULL;
	c->state = NULL;
	if (err_is(e) && !namespaces_loaded(c->edge->parts.namespaces))
		edge_fail(c, err_make(edge_arena(c), ERR_UNAVAILABLE, "namespaces could not be read: %s", e.message));
	else
		admit(c, true);
}

static void on_cancel_admission(struct edge_call *c)
{
	struct admission *a = c->state;
	namespaces_refresh_cancel(c->edge->parts.namespaces, &a->wait);
	edge_fail(c, err_static(ERR_CANCELLED, "context canceled"));
}

static void refresh_then_admit(struct edge_call *c)
{
	struct admission *a = arena_new0(edge_arena(c), struct admission);
	a->call = c;
	a->wait.fn = on_refreshed;
	c->state = a;
	c->on_cancel = on_cancel_admission;
	namespaces_refresh(c->edge->parts.namespaces, &a->wait);
}

/* ------------------------------------------------------------------ the namespace */

struct lookup {
	const struct namespace *found;
	bool missed; /* not in the cache: read it again before saying so */
};

static struct err look_up(struct edge_call *c, bool by_id, const char *key, bool refreshed, struct lookup *ret)
{
	const struct namespaces *all = c->edge->parts.namespaces;
	ret->found = by_id ? namespaces_by_id(all, key) : namespaces_by_name(all, key);
	ret->missed = !ret->found && !refreshed;
	return ret->found || ret->missed ? err_ok : namespace_not_found(edge_arena(c), key);
}

static struct err find_by_name(struct edge_call *c, bool refreshed, struct lookup *ret)
{
	struct bytes name = edge_field(c, "namespace");
	if (!name.len)
		return err_static(ERR_INVALID_ARGUMENT, "Namespace is empty.");
	try(check_id_len(c->edge, name, "Namespace length exceeds limit."));
	return look_up(c, false, edge_text(c, name), refreshed, ret);
}

/* The token's namespace counts; one in the request must be the same. */
static struct err find_by_token(struct edge_call *c, bool refreshed, struct admitted *a, struct lookup *ret)
{
	struct bytes name = edge_field(c, "namespace"), token = edge_field(c, "task_token");
	try(check_id_len(c->edge, name, "Namespace length exceeds limit."));
	if (!token.len)
		return err_static(ERR_INVALID_ARGUMENT, "Task token not set on request.");
	/* A token comes from outside as much as the request does. */
	struct wire_result checked = wire_check(&perdure__task_token__descriptor, token);
	if (checked.verdict == WIRE_OK)
		a->token = perdure__task_token__unpack(arena_pb(edge_arena(c)), token.len, token.data);
	if (!a->token)
		return err_static(ERR_INVALID_ARGUMENT, "Error deserializing task token.");
	measure_token(c, a->token->traceparent);
	if (str_empty(a->token->namespace_id))
		return err_static(ERR_INVALID_ARGUMENT, "Namespace not set on request.");
	try(look_up(c, true, a->token->namespace_id, refreshed, ret));
	if (!name.len || ret->missed)
		return err_ok;
	struct lookup named;
	try(look_up(c, false, edge_text(c, name), refreshed, &named));
	ret->missed = named.missed;
	if (named.found && named.found != ret->found)
		return err_static(ERR_INVALID_ARGUMENT, "Operation requested with a token from a different namespace.");
	return err_ok;
}

static struct err find_namespace(struct edge_call *c, bool refreshed, struct admitted *a, bool *ret_missed)
{
	struct lookup l = {0};
	*ret_missed = false;
	switch (a->route->need) {
	case NEED_NOTHING:
		return err_ok;
	case NEED_NAMESPACE:
		try(find_by_name(c, refreshed, &l));
		break;
	case NEED_TOKEN:
		try(find_by_token(c, refreshed, a, &l));
		break;
	}
	*ret_missed = l.missed;
	if (l.missed)
		return err_ok;
	a->record = l.found->record;
	a->namespace = arena_strdup(edge_arena(c), l.found->name);
	a->namespace_id = arena_strdup(edge_arena(c), l.found->id);
	measure_namespace(c, a->namespace);
	a->retention_ns = l.found->record->retention_ns;
	return namespace_check_state(edge_arena(c), a->record, a->route->states ? a->route->states : STATES_DEFAULT);
}

static void admit(struct edge_call *c, bool refreshed)
{
	struct admitted *a = arena_new0(edge_arena(c), struct admitted);
	a->route = route_of(c->method);
	a->namespace = a->namespace_id = "";
	bool missed;
	struct err e = find_namespace(c, refreshed, a, &missed);
	if (!err_is(e) && missed) {
		refresh_then_admit(c);
		return;
	}
	if (!err_is(e) && a->route->check)
		e = a->route->check(c, a);
	a->record = NULL;
	if (err_is(e))
		edge_fail(c, e);
	else
		a->route->serve(c, a);
}

/* ------------------------------------------------------------------ the door */

static struct err check_bytes(struct edge_call *c)
{
	struct wire_result r = wire_check(c->method->request, c->request);
	const char *field = r.field ? r.field : "?";
	switch (r.verdict) {
	case WIRE_MALFORMED:
		return err_make(edge_arena(c), ERR_INVALID_ARGUMENT, "Malformed %s.", c->method->request->short_name);
	case WIRE_TOO_DEEP:
		return err_make(edge_arena(c), ERR_INVALID_ARGUMENT, "The %s is nested too deeply.",
				c->method->request->short_name);
	case WIRE_BAD_UTF8:
		return err_make(edge_arena(c), ERR_INVALID_ARGUMENT, "Field %s is not valid UTF-8.", field);
	case WIRE_NUL:
		return err_make(edge_arena(c), ERR_INVALID_ARGUMENT, "Field %s has a NUL character in it.", field);
	case WIRE_OK:
		break;
	}
	if (r.mendable) {
		struct bytes copy = arena_copy(edge_arena(c), c->request);
		wire_mend(c->method->request, (uint8_t *)copy.data, copy.len);
		c->request = copy;
	}
	return err_ok;
}

void edge_serve(struct edge *e, struct edge_call *c)
{
	c->edge = e;
	measure_began(c);
	DL_APPEND(e->calls, c);
	e->call_count++;
	if (!route_of(c->method)) {
		edge_fail(c, err_make(edge_arena(c), ERR_UNIMPLEMENTED, "%s is not implemented by this server.",
				      c->method->name));
		return;
	}
	struct err bad = check_bytes(c);
	if (err_is(bad))
		edge_fail(c, bad);
	else
		admit(c, false);
}

void edge_cancelled(struct edge_call *c)
{
	if (c->on_cancel)
		c->on_cancel(c);
}
