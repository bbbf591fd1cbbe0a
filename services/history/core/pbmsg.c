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
