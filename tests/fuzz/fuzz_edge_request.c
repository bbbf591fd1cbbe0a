/*
 * A request of the public API as bytes. The first byte chooses the method. What the edge's check lets through,
 * protobuf-c must unpack, with strings that are as long as they look.
 */
#include <api_methods.h>

#include "common/edge/wire.h"
#include "common/mem/arena.h"
#include "common/mem/mem.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#define ARENA_LIMIT (64u << 20)

static void check(const ProtobufCMessageDescriptor *d, struct bytes request)
{
	struct wire_result r = wire_check(d, request);
	if (r.verdict != WIRE_OK)
		return;
	uint8_t *copy = mem_dup(request.data, request.len);
	if (r.mendable) {
		wire_mend(d, copy, request.len);
		struct wire_result again = wire_check(d, bytes_of(copy, request.len));
		assert(again.verdict == WIRE_OK && !again.mendable);
	}
	struct arena *a = arena_new(ARENA_LIMIT);
	ProtobufCMessage *m = protobuf_c_message_unpack(d, arena_pb(a), request.len, copy);
	assert(m || arena_full(a));
	/* What is packed again is checked again; a hidden NUL would have cut a string short of its check. */
	if (m) {
		size_t len = protobuf_c_message_get_packed_size(m);
		uint8_t *packed = arena_alloc(a, len);
		protobuf_c_message_pack(m, packed);
		assert(wire_check(d, bytes_of(packed, len)).verdict == WIRE_OK);
	}
	for (uint32_t field = 1; field < 8; field++) {
		wire_bytes(bytes_of(copy, request.len), field);
		wire_bytes_in(bytes_of(copy, request.len), field, 1);
		wire_value_in(bytes_of(copy, request.len), field, 2);
	}
	arena_free(a);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	check(api_methods[data[0] % API_METHOD_COUNT].request, bytes_of(data + 1, size - 1));
	return 0;
}
