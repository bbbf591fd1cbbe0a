/*
 * RegisterNamespace, DescribeNamespace, ListNamespaces, UpdateNamespace, DeprecateNamespace, DeleteNamespace.
 *
 * Each begins with a read of all namespaces, so that it sees what was there when it began; a write is compare-and-set,
 * and begins again when somebody else was faster. It is answered when our own cache has the change: what this client
 * asks next at this node finds it.
 */
#include <perdure/namespace.pb-c.h>
#include <temporal/api/operatorservice/v1/request_response.pb-c.h>

#include "common/edge/internal.h"

#define TRIES_MAX	  10
#define PAGE_SIZE_DEFAULT 100
#define PAGE_SIZE_MAX	  1000

typedef Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest register_request;
typedef Temporal__Api__Workflowservice__V1__DescribeNamespaceRequest describe_request;
typedef Temporal__Api__Workflowservice__V1__ListNamespacesRequest list_request;
typedef Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest update_request;

struct operation {
	struct edge_call *call; /* NULL: the client gave up while the store had it */
	struct edge *edge;
	struct arena *arena; /* ours when call is NULL */
	/* The namespaces are fresh: answer, or say what to write. */
	void (*decide)(struct operation *o);
	ProtobufCMessage *request, *response;
	struct namespaces_wait wait;
	struct store_namespace write;
	bool writing;
	int tries;
};

static void read_then_decide(struct operation *o);

static struct err check_name(struct edge_call *c)
{
	struct bytes name = edge_field(c, "namespace");
	if (!name.len)
		return err_static(ERR_INVALID_ARGUMENT, "Namespace not set on request.");
	return check_id_len(c->edge, name, "Namespace length exceeds limit.");
}

struct err namespace_name_check(struct edge_call *c, struct admitted *a)
{
	(void)a;
	return check_name(c);
}

/* ------------------------------------------------------------------ an operation */

static void on_written_and_read(struct namespaces_wait *w, struct err e)
{
	struct operation *o = container_of(w, struct operation, wait);
	(void)e; /* written it is, whatever becomes of our cache */
	edge_reply(o->call, o->response);
}

static void on_put(void *ctx, struct err e)
{
	struct operation *o = ctx;
	o->writing = false;
	if (!o->call) {
		arena_free(o->arena);
		return;
	}
	if (e.code == ERR_ABORTED && ++o->tries < TRIES_MAX) {
		read_then_decide(o);
	} else if (e.code == ERR_ALREADY_EXISTS) {
		edge_fail(o->call, namespace_exists(o->arena, o->write.name));
	} else if (err_is(e)) {
		edge_fail(o->call,
			  err_make(o->arena, ERR_UNAVAILABLE, "The namespace could not be written: %s", e.message));
	} else {
		o->wait.fn = on_written_and_read;
		namespaces_refresh(o->edge->parts.namespaces, &o->wait);
	}
}

/* version 0 makes a new one. The reply is o->response. */
static void put(struct operation *o, const Perdure__NamespaceRecord *r, int64_t version)
{
	size_t len = perdure__namespace_record__get_packed_size(r);
	uint8_t *info = arena_alloc(o->arena, len);
	perdure__namespace_record__pack(r, info);
	o->write = (struct store_namespace){
		.id = arena_strdup(o->arena, r->id),
		.name = arena_strdup(o->arena, r->name),
		.version = version,
		.info = bytes_of(info, len),
	};
	o->writing = true;
	store_namespace_put(o->edge->parts.store, &o->write, on_put, o);
}

static void on_read(struct namespaces_wait *w, struct err e)
{
	struct operation *o = container_of(w, struct operation, wait);
	if (err_is(e))
		edge_fail(o->call, err_make(o->arena, ERR_UNAVAILABLE, "Namespaces could not be read: %s", e.message));
	else
		o->decide(o);
}

static void read_then_decide(struct operation *o)
{
	o->wait.fn = on_read;
	namespaces_refresh(o->edge->parts.namespaces, &o->wait);
}

static void on_cancel(struct edge_call *c)
{
	struct operation *o = c->state;
	namespaces_refresh_cancel(o->edge->parts.namespaces, &o->wait);
	if (o->writing) {
		/* The store still points to what it writes: the arena stays until it has answered. */
		o->call = NULL;
		c->arena = NULL;
	}
	edge_fail(c, err_static(ERR_CANCELLED, "context canceled"));
}

static void begin(struct edge_call *c, void (*decide)(struct operation *o))
{
	struct operation *o = arena_new0(edge_arena(c), struct operation);
	o->call = c;
	o->edge = c->edge;
	o->arena = edge_arena(c);
	o->decide = decide;
	struct err e = edge_unpack(c, &o->request);
	if (err_is(e)) {
		edge_fail(c, e);
		return;
	}
	o->response = arena_alloc(o->arena, c->method->response->sizeof_message);
	protobuf_c_message_init(c->method->response, o->response);
	c->state = o;
	c->on_cancel = on_cancel;
	read_then_decide(o);
}

/* ------------------------------------------------------------------ register */

static void decide_register(struct operation *o)
{
	const register_request *req = (const register_request *)o->request;
	char id[37];
	env_uuid(o->edge->env, id);
	Perdure__NamespaceRecord *r = NULL;
	struct err e = namespace_register_check(&o->edge->namespace_api, req);
	if (!err_is(e) && namespaces_by_name(o->edge->parts.namespaces, req->namespace_))
		e = namespace_exists(o->arena, req->namespace_);
	if (!err_is(e))
		e = namespace_register(&o->edge->namespace_api, req, id, env_wall_ns(o->edge->env), o->arena, &r);
	if (err_is(e))
		edge_fail(o->call, e);
	else
		put(o, r, 0);
}

void namespace_register_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	begin(c, decide_register);
}

/* ------------------------------------------------------------------ describe */

static void decide_describe(struct operation *o)
{
	const describe_request *req = (const describe_request *)o->request;
	const struct namespaces *all = o->edge->parts.namespaces;
	bool by_name = !str_empty(req->namespace_);
	const struct namespace *ns =
		by_name ? namespaces_by_name(all, req->namespace_) : namespaces_by_id(all, req->id);
	if (!ns)
		edge_fail(o->call, namespace_not_found(o->arena, by_name ? req->namespace_ : req->id));
	else
		edge_reply(o->call, &namespace_describe(&o->edge->namespace_api, ns->record, o->arena)->base);
}

void namespace_describe_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	struct bytes name = edge_field(c, "namespace"), id = edge_field(c, "id");
	struct err e = id.len && !name.len ? err_ok : check_name(c);
	if (!err_is(e) && id.len && name.len)
		e = err_static(ERR_INVALID_ARGUMENT,
			       "GetNamespace operation failed. Both ID and Name specified in request.");
	if (!err_is(e) && id.len && !is_uuid(id))
		e = err_make(edge_arena(c), ERR_UNKNOWN, "invalid UUID length: %zu", id.len);
	if (err_is(e))
		edge_fail(c, e);
	else
		begin(c, decide_describe);
}

/* ------------------------------------------------------------------ list */

static struct bytes page_token(struct arena *a, const char *after_name)
{
	Perdure__NamespacePageToken t = PERDURE__NAMESPACE_PAGE_TOKEN__INIT;
	t.after_name = (char *)after_name;
	size_t len = perdure__namespace_page_token__get_packed_size(&t);
	uint8_t *data = arena_alloc(a, len);
	perdure__namespace_page_token__pack(&t, data);
	return bytes_of(data, len);
}

static void decide_list(struct operation *o)
{
	const list_request *req = (const list_request *)o->request;
	Temporal__Api__Workflowservice__V1__ListNamespacesResponse *resp = (void *)o->response;
	bool deleted = req->namespace_filter && req->namespace_filter->include_deleted;
	size_t limit = req->page_size > 0 ? (size_t)req->page_size : PAGE_SIZE_DEFAULT;
	limit = limit > PAGE_SIZE_MAX ? PAGE_SIZE_MAX : limit;
	Perdure__NamespacePageToken *t = perdure__namespace_page_token__unpack(
		arena_pb(o->arena), req->next_page_token.len, req->next_page_token.data);
	if (!t || req->page_size < 0) {
		edge_fail(o->call,
			  err_static(ERR_INVALID_ARGUMENT, t ? "Invalid PageSize." : "Invalid NextPageToken."));
		return;
	}
	size_t count;
	const struct namespace *all = namespaces_all(o->edge->parts.namespaces, &count);
	resp->namespaces =
		arena_array(o->arena, Temporal__Api__Workflowservice__V1__DescribeNamespaceResponse *, limit);
	const char *last = NULL;
	for (size_t i = 0; i < count; i++) {
		bool gone = all[i].record->state == TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_DELETED;
		if (strcmp(all[i].name, t->after_name) <= 0 || (gone && !deleted))
			continue;
		if (resp->n_namespaces == limit) {
			struct bytes next = page_token(o->arena, last);
			resp->next_page_token = (ProtobufCBinaryData){next.len, (uint8_t *)next.data};
			break;
		}
		last = all[i].name;
		resp->namespaces[resp->n_namespaces++] =
			namespace_describe(&o->edge->namespace_api, all[i].record, o->arena);
	}
	edge_reply(o->call, o->response);
}

void namespace_list_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	begin(c, decide_list);
}

/* ------------------------------------------------------------------ update */

static void decide_update(struct operation *o)
{
	const update_request *req = (const update_request *)o->request;
	const struct namespace *ns = namespaces_by_name(o->edge->parts.namespaces, req->namespace_);
	if (!ns) {
		edge_fail(o->call, namespace_not_found(o->arena, req->namespace_));
		return;
	}
	Perdure__NamespaceRecord *r = NULL;
	struct err e =
		namespace_update(&o->edge->namespace_api, ns->record, req, env_wall_ns(o->edge->env), o->arena, &r);
	if (err_is(e)) {
		edge_fail(o->call, e);
		return;
	}
	/* The response shares the cache's strings: it is packed now, while they are there, or copied with the write. */
	const Temporal__Api__Workflowservice__V1__DescribeNamespaceResponse *d =
		namespace_describe(&o->edge->namespace_api, r ? r : ns->record, o->arena);
	Temporal__Api__Workflowservice__V1__UpdateNamespaceResponse *resp = (void *)o->response;
	resp->namespace_info = d->namespace_info;
	resp->config = d->config;
	resp->replication_config = d->replication_config;
	if (!r) {
		edge_reply(o->call, o->response);
		return;
	}
	size_t len = protobuf_c_message_get_packed_size(o->response);
	uint8_t *data = arena_alloc(o->arena, len);
	protobuf_c_message_pack(o->response, data);
	o->response = protobuf_c_message_unpack(o->response->descriptor, arena_pb(o->arena), len, data);
	assert(o->response);
	put(o, r, ns->version);
}

void namespace_update_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	begin(c, decide_update);
}

static void decide_deprecate(struct operation *o)
{
	const Temporal__Api__Workflowservice__V1__DeprecateNamespaceRequest *req = (const void *)o->request;
	const struct namespace *ns = namespaces_by_name(o->edge->parts.namespaces, req->namespace_);
	if (!ns)
		edge_fail(o->call, namespace_not_found(o->arena, req->namespace_));
	else
		put(o, namespace_deprecate(ns->record, o->arena), ns->version);
}

void namespace_deprecate_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	begin(c, decide_deprecate);
}

/* ------------------------------------------------------------------ delete */

typedef Temporal__Api__Operatorservice__V1__DeleteNamespaceRequest delete_request;

static bool name_is_taken(void *ctx, const char *name)
{
	const struct operation *o = ctx;
	return namespaces_by_name(o->edge->parts.namespaces, name) != NULL;
}

static void decide_delete(struct operation *o)
{
	const delete_request *req = (const delete_request *)o->request;
	Temporal__Api__Operatorservice__V1__DeleteNamespaceResponse *resp = (void *)o->response;
	const struct namespaces *all = o->edge->parts.namespaces;
	bool by_name = !str_empty(req->namespace_);
	const struct namespace *ns =
		by_name ? namespaces_by_name(all, req->namespace_) : namespaces_by_id(all, req->namespace_id);
	if (!ns) {
		edge_fail(o->call, namespace_not_found(o->arena, by_name ? req->namespace_ : req->namespace_id));
		return;
	}
	const Google__Protobuf__Duration *delay = req->namespace_delete_delay;
	int64_t delay_ns = delay ? min_i64(delay->seconds, INT32_MAX) * NS_PER_S + delay->nanos
				 : o->edge->config.namespace_delete_delay_ns;
	Perdure__NamespaceRecord *r = NULL;
	struct err e =
		namespace_delete(ns->record, delay_ns, env_wall_ns(o->edge->env), name_is_taken, o, o->arena, &r);
	if (err_is(e)) {
		edge_fail(o->call, e);
		return;
	}
	resp->deleted_namespace = arena_strdup(o->arena, r->name);
	put(o, r, ns->version);
}

void namespace_delete_serve(struct edge_call *c, struct admitted *a)
{
	(void)a;
	struct bytes name = edge_field(c, "namespace"), id = edge_field(c, "namespace_id");
	struct err e = check_id_len(c->edge, name, "Namespace length exceeds limit.");
	if (!err_is(e) && !name.len && !id.len)
		e = err_static(ERR_INVALID_ARGUMENT, "Namespace not set on request.");
	if (!err_is(e) && name.len && id.len)
		e = err_static(ERR_INVALID_ARGUMENT, "Only one of namespace name or Id should be set on request.");
	if (err_is(e))
		edge_fail(c, e);
	else
		begin(c, decide_delete);
}
