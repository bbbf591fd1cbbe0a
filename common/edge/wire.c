/*
 * Walking encoded messages.
 */
#include "common/edge/wire.h"

#include <temporal/api/failure/v1/message.pb-c.h>

/* The format's wire types; groups (3, 4) are refused. */
enum { TYPE_VARINT = 0, TYPE_FIXED64 = 1, TYPE_BYTES = 2, TYPE_FIXED32 = 5 };

static bool take_varint(struct bytes *rest, uint64_t *ret)
{
	uint64_t v = 0;
	for (size_t i = 0; i < 10 && i < rest->len; i++) {
		uint8_t byte = rest->data[i];
		v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		*ret = v;
		rest->data += i + 1;
		rest->len -= i + 1;
		return true;
	}
	return false;
}

static bool take_bytes(struct bytes *rest, uint64_t len, struct bytes *ret)
{
	if (len > rest->len)
		return false;
	*ret = bytes_of(rest->data, len);
	rest->data += len;
	rest->len -= len;
	return true;
}

static uint64_t little_endian(struct bytes b)
{
	uint64_t v = 0;
	for (size_t i = b.len; i-- > 0;)
		v = v << 8 | b.data[i];
	return v;
}

/* One field; *ret_type is its wire type. */
static bool take_field(struct bytes *rest, struct wire_field *f, unsigned *ret_type)
{
	uint64_t key, len;
	if (!take_varint(rest, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff)
		return false;
	*f = (struct wire_field){.number = (uint32_t)(key >> 3)};
	*ret_type = key & 7;
	struct bytes fixed;
	switch (key & 7) {
	case TYPE_VARINT:
		return take_varint(rest, &f->value);
	case TYPE_BYTES:
		return take_varint(rest, &len) && take_bytes(rest, len, &f->bytes);
	case TYPE_FIXED64:
	case TYPE_FIXED32:
		if (!take_bytes(rest, (key & 7) == TYPE_FIXED64 ? 8 : 4, &fixed))
			return false;
		f->value = little_endian(fixed);
		return true;
	default:
		return false;
	}
}

/* ------------------------------------------------------------------ text */

/* The length of the UTF-8 sequence at p, 0 when there is none (also for surrogates and overlong forms). */
static size_t sequence_len(const uint8_t *p, size_t len)
{
	uint8_t c = p[0];
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f))
		return 0;
	if ((c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* How many bytes from the start are ASCII and not NUL; stops somewhere at or before the first that isn't. */
static size_t plain_run(const uint8_t *p, size_t len)
{
	size_t i = 0;
	for (; i + 8 <= len; i += 8) {
		uint64_t w;
		memcpy(&w, p + i, 8);
		/* A byte below 1 or above 0x7f sets its top bit in one of the two. */
		if (((w - 0x0101010101010101u) | w) & 0x8080808080808080u)
			break;
	}
	return i;
}

static enum wire_verdict check_text(struct bytes text)
{
	size_t i = plain_run(text.data, text.len);
	enum wire_verdict found = WIRE_OK;
	while (i < text.len) {
		if (text.data[i] == 0)
			found = WIRE_NUL;
		size_t n = sequence_len(text.data + i, text.len - i);
		if (n == 0)
			return WIRE_BAD_UTF8;
		i += n;
	}
	return found;
}

/* ------------------------------------------------------------------ the check */

struct walk {
	struct wire_result result;
	bool mend; /* replace what is mendable; the bytes are ours to write */
	int depth;
};

static bool fail(struct walk *w, enum wire_verdict verdict, const ProtobufCFieldDescriptor *f)
{
	w->result.verdict = verdict;
	w->result.field = f ? f->name : NULL;
	return false;
}

static bool walk_message(struct walk *w, const ProtobufCMessageDescriptor *d, struct bytes message);

static bool walk_text(struct walk *w, const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f,
		      struct bytes text)
{
	enum wire_verdict v = check_text(text);
	if (v == WIRE_NUL && d == &temporal__api__failure__v1__failure__descriptor) {
		w->result.mendable = true;
		for (size_t i = 0; w->mend && i < text.len; i++)
			if (text.data[i] == 0)
				((uint8_t *)text.data)[i] = ' ';
		return true;
	}
	return v == WIRE_OK || fail(w, v, f);
}

static unsigned wire_type_of(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return TYPE_BYTES;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return TYPE_FIXED32;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return TYPE_FIXED64;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM:
		return TYPE_VARINT;
	}
	return TYPE_VARINT;
}

static bool packed_ok(unsigned type, struct bytes packed)
{
	if (type == TYPE_FIXED32 || type == TYPE_FIXED64)
		return packed.len % (type == TYPE_FIXED32 ? 4 : 8) == 0;
	uint64_t ignored;
	while (packed.len)
		if (!take_varint(&packed, &ignored))
			return false;
	return true;
}

static bool walk_field(struct walk *w, const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f,
		       const struct wire_field *value, unsigned type)
{
	unsigned expected = wire_type_of(f->type);
	if (type != expected) {
		bool packed = type == TYPE_BYTES && f->label == PROTOBUF_C_LABEL_REPEATED;
		return (packed && packed_ok(expected, value->bytes)) || fail(w, WIRE_MALFORMED, f);
	}
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return walk_text(w, d, f, value->bytes);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return walk_message(w, f->descriptor, value->bytes);
	return true;
}

/* Which fields of a message have been seen, by their place in its descriptor. */
#define FIELDS_MAX 256

struct seen {
	uint64_t bits[FIELDS_MAX / 64];
};

/*
 * A message field may come in pieces, which are to be merged. No encoder does that, and protobuf-c cannot always merge:
 * so such a request is refused here, rather than later and in parts.
 */
static bool in_pieces(struct seen *seen, const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f)
{
	size_t place = (size_t)(f - d->fields);
	if (f->type != PROTOBUF_C_TYPE_MESSAGE || f->label == PROTOBUF_C_LABEL_REPEATED)
		return false;
	assert(place < FIELDS_MAX);
	uint64_t bit = (uint64_t)1 << place % 64;
	bool before = seen->bits[place / 64] & bit;
	seen->bits[place / 64] |= bit;
	return before;
}

static bool walk_message(struct walk *w, const ProtobufCMessageDescriptor *d, struct bytes message)
{
	struct seen seen = {0};
	if (w->depth == WIRE_DEPTH_MAX)
		return fail(w, WIRE_TOO_DEEP, NULL);
	w->depth++;
	while (message.len) {
		struct wire_field value;
		unsigned type;
		if (!take_field(&message, &value, &type))
			return fail(w, WIRE_MALFORMED, NULL);
		const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, value.number);
		if (f && in_pieces(&seen, d, f))
			return fail(w, WIRE_MALFORMED, f);
		if (f && !walk_field(w, d, f, &value, type))
			return false;
	}
	w->depth--;
	return true;
}

struct wire_result wire_check(const ProtobufCMessageDescriptor *descriptor, struct bytes message)
{
	struct walk w = {0};
	walk_message(&w, descriptor, message);
	return w.result;
}

void wire_mend(const ProtobufCMessageDescriptor *descriptor, uint8_t *message, size_t len)
{
	struct walk w = {.mend = true};
	walk_message(&w, descriptor, bytes_of(message, len));
}

/* ------------------------------------------------------------------ reading */

bool wire_next(struct bytes *rest, struct wire_field *ret)
{
	unsigned type;
	return rest->len && take_field(rest, ret, &type);
}

struct bytes wire_bytes(struct bytes message, uint32_t number)
{
	struct wire_field f;
	struct bytes found = {0};
	while (wire_next(&message, &f))
		if (f.number == number && f.bytes.data)
			found = f.bytes;
	return found;
}

struct bytes wire_bytes_in(struct bytes message, uint32_t outer, uint32_t inner)
{
	struct wire_field f;
	struct bytes found = {0};
	while (wire_next(&message, &f)) {
		if (f.number != outer || !f.bytes.data)
			continue;
		struct bytes piece = wire_bytes(f.bytes, inner);
		if (piece.data)
			found = piece;
	}
	return found;
}

uint64_t wire_value(struct bytes message, uint32_t number)
{
	struct wire_field f;
	uint64_t found = 0;
	while (wire_next(&message, &f))
		if (f.number == number)
			found = f.value;
	return found;
}

uint64_t wire_value_in(struct bytes message, uint32_t outer, uint32_t inner)
{
	struct wire_field f;
	uint64_t found = 0;
	while (wire_next(&message, &f))
		if (f.number == outer && f.bytes.data && wire_has(f.bytes, inner))
			found = wire_value(f.bytes, inner);
	return found;
}

bool wire_has(struct bytes message, uint32_t number)
{
	struct wire_field f;
	while (wire_next(&message, &f))
		if (f.number == number)
			return true;
	return false;
}
