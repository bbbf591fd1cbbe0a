/*
 * A call's life at the edge: its arena, its fields, its end.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/edge/internal.h"
#include "common/mem/mem.h"

struct arena *edge_arena(struct edge_call *c)
{
	if (!c->arena)
		c->arena = arena_new(CALL_ARENA_LIMIT);
	return c->arena;
}

const char *edge_header(const struct edge_call *c, const char *key)
{
	return c->ops->header(c, key);
}

int64_t edge_deadline_ns(const struct edge_call *c)
{
	if (c->deadline_ns != INT64_MAX)
		return c->deadline_ns;
	return c->began_ns + c->edge->config.request_timeout_ns;
}

/* ------------------------------------------------------------------ fields */

uint32_t edge_field_number(const struct edge_call *c, const char *name)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(c->method->request, name);
	assert(f);
	return f->id;
}

struct bytes edge_field(const struct edge_call *c, const char *name)
{
	return wire_bytes(c->request, edge_field_number(c, name));
}

struct bytes edge_field_in(const struct edge_call *c, const char *outer, const char *inner)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(c->method->request, outer);
	assert(f && f->type == PROTOBUF_C_TYPE_MESSAGE);
	const ProtobufCFieldDescriptor *g = protobuf_c_message_descriptor_get_field_by_name(f->descriptor, inner);
	assert(g);
	return wire_bytes_in(c->request, f->id, g->id);
}

const char *edge_text(struct edge_call *c, struct bytes field)
{
	if (!field.len)
		return "";
	char *s = arena_alloc(edge_arena(c), field.len + 1);
	memcpy(s, field.data, field.len);
	return s;
}

struct err edge_unpack(struct edge_call *c, void *ret_message)
{
	struct arena *a = edge_arena(c);
	ProtobufCMessage *m =
		protobuf_c_message_unpack(c->method->request, arena_pb(a), c->request.len, c->request.data);
	if (!m)
		return err_static(arena_full(a) ? ERR_RESOURCE_EXHAUSTED : ERR_INVALID_ARGUMENT,
				  arena_full(a) ? "The request takes too much memory." : "Malformed request.");
	*(ProtobufCMessage **)ret_message = m;
	return err_ok;
}

/* ------------------------------------------------------------------ the end */

bool edge_finish(struct edge_call *c, struct err e, const struct bytes *parts, size_t part_count)
{
	struct edge *edge = c->edge;
	struct arena *arena = c->arena;
	measure_ended(c, e, part_count);
	if (e.code == ERR_INTERNAL || e.code == ERR_UNKNOWN || e.code == ERR_DATA_LOSS)
		log_warn(edge->parts.log, "request failed", log_str("method", c->method->name), log_err(e));
	DL_DELETE(edge->calls, c);
	edge->call_count--;
	bool accepted = c->ops->finish(c, e, parts, part_count);
	arena_free(arena); /* parts and the error's text may live in it */
	return accepted;
}

void edge_fail(struct edge_call *c, struct err e)
{
	assert(err_is(e));
	edge_finish(c, e, NULL, 0);
}

void edge_reply(struct edge_call *c, const ProtobufCMessage *response)
{
	assert(response->descriptor == c->method->response);
	size_t len = protobuf_c_message_get_packed_size(response);
	uint8_t *data = arena_alloc(edge_arena(c), len);
	protobuf_c_message_pack(response, data);
	struct bytes part = bytes_of(data, len);
	edge_finish(c, err_ok, &part, 1);
}
