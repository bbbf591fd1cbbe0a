/*
 * Protobuf messages in an arena.
 */
#include "services/history/core/pbmsg.h"

static void *alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void no_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

void *pb_new(struct arena *a, const ProtobufCMessageDescriptor *descriptor)
{
	ProtobufCMessage *m = arena_alloc(a, descriptor->sizeof_message);
	protobuf_c_message_init(descriptor, m);
	return m;
}

ProtobufCBinaryData pb_pack(struct arena *a, const ProtobufCMessage *m)
{
	size_t len = m ? protobuf_c_message_get_packed_size(m) : 0;
	if (len == 0)
		return (ProtobufCBinaryData){0, NULL};
	uint8_t *data = arena_alloc(a, len);
	protobuf_c_message_pack(m, data);
	return (ProtobufCBinaryData){len, data};
}

void *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor, ProtobufCBinaryData packed)
{
	if (packed.len == 0)
		return NULL;
	ProtobufCAllocator allocator = {.alloc = alloc, .free = no_free, .allocator_data = a};
	return protobuf_c_message_unpack(descriptor, &allocator, packed.len, packed.data);
}

char *pb_enum_short_name(struct arena *a, const ProtobufCEnumDescriptor *descriptor, int value, const char *prefix)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(descriptor, value);
	if (!v)
		return arena_printf(a, "%d", value);
	const char *p = strncmp(v->name, prefix, strlen(prefix)) == 0 ? v->name + strlen(prefix) : v->name;
	char *out = arena_alloc(a, strlen(p) + 1), *o = out;
	for (bool first = true; *p; p++) {
		if (*p == '_') {
			first = true;
			continue;
		}
		*o++ = first || *p < 'A' || *p > 'Z' ? *p : (char)(*p - 'A' + 'a');
		first = false;
	}
	return out;
}
