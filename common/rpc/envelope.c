/*
 * Reading and writing the wire format of envelope.h.
 */
#include "common/rpc/envelope.h"

/* ------------------------------------------------------------------ writing */

static void put_u64(struct buf *b, uint64_t v)
{
	uint8_t *p = buf_reserve(b, 8);
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
	b->len += 8;
}

static void put_sized(struct buf *b, struct bytes v)
{
	buf_put_varint(b, v.len);
	buf_put_bytes(b, v);
}

/* The longest prefix within max that does not cut a UTF-8 character, and ends before a NUL. */
static struct bytes text_prefix(struct bytes v, size_t max)
{
	const uint8_t *nul = v.len ? memchr(v.data, 0, v.len) : NULL;
	if (nul)
		v.len = (size_t)(nul - v.data);
	if (v.len <= max)
		return v;
	v.len = max;
	while (v.len > 0 && (v.data[v.len] & 0xc0) == 0x80)
		v.len--;
	return v;
}

void envelope_put_header(struct buf *b, const struct envelope_header *h)
{
	assert(h->from.len <= ENVELOPE_ADDRESS_BYTES_MAX);
	buf_put(b, &(uint8_t){ENVELOPE_VERSION}, 1);
	put_u64(b, h->from_incarnation);
	put_u64(b, h->to_incarnation);
	put_u64(b, h->epoch);
	put_u64(b, h->dropped);
	put_sized(b, h->from);
}

static void put_body(struct buf *b, const struct bytes *parts, size_t part_count)
{
	size_t len = 0;
	for (size_t i = 0; i < part_count; i++)
		len += parts[i].len;
	buf_put_varint(b, len);
	buf_reserve(b, len);
	for (size_t i = 0; i < part_count; i++)
		buf_put_bytes(b, parts[i]);
}

void envelope_put_frame(struct buf *b, const struct envelope_frame *f, const struct bytes *parts, size_t part_count)
{
	assert(f->traceparent.len <= ENVELOPE_TRACEPARENT_BYTES_MAX);
	buf_put(b, &(uint8_t){(uint8_t)f->kind}, 1);
	if (f->kind != ENVELOPE_ONE_WAY)
		buf_put_varint(b, f->id);
	switch (f->kind) {
	case ENVELOPE_REQUEST:
		buf_put_varint(b, f->method);
		buf_put_varint(b, f->remaining_us);
		put_sized(b, f->traceparent);
		put_body(b, parts, part_count);
		return;
	case ENVELOPE_ONE_WAY:
		buf_put_varint(b, f->method);
		put_sized(b, f->traceparent);
		put_body(b, parts, part_count);
		return;
	case ENVELOPE_CANCEL:
		return;
	case ENVELOPE_REPLY:
		put_body(b, parts, part_count);
		return;
	case ENVELOPE_ERROR:
		buf_put_varint(b, f->code);
		buf_put_varint(b, f->reason);
		put_sized(b, text_prefix(f->message, ENVELOPE_MESSAGE_BYTES_MAX));
		put_sized(b, text_prefix(f->detail_type, ENVELOPE_DETAIL_TYPE_BYTES_MAX));
		put_sized(b, f->detail);
		return;
	}
	assert(!"known kind");
}

/* ------------------------------------------------------------------ reading */

static size_t left(const struct envelope_reader *r)
{
	return (size_t)(r->end - r->at);
}

static bool read_u64(struct envelope_reader *r, uint64_t *ret)
{
	if (left(r) < 8)
		return false;
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v |= (uint64_t)r->at[i] << (8 * i);
	r->at += 8;
	*ret = v;
	return true;
}

static bool read_varint(struct envelope_reader *r, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (r->at == r->end)
			return false;
		uint8_t byte = *r->at++;
		/* The tenth byte has room for one bit. */
		if (shift == 63 && byte > 1)
			return false;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool read_u32(struct envelope_reader *r, uint32_t *ret)
{
	uint64_t v;
	if (!read_varint(r, &v) || v > UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static bool read_sized(struct envelope_reader *r, struct bytes *ret)
{
	uint64_t len;
	if (!read_varint(r, &len) || len > left(r))
		return false;
	*ret = bytes_of(r->at, (size_t)len);
	r->at += len;
	return true;
}

static bool read_text(struct envelope_reader *r, size_t max, struct bytes *ret)
{
	return read_sized(r, ret) && ret->len <= max && (ret->len == 0 || !memchr(ret->data, 0, ret->len));
}

bool envelope_read_header(struct envelope_reader *r, struct bytes message, struct envelope_header *ret)
{
	*ret = (struct envelope_header){0};
	if (message.len == 0 || message.data[0] != ENVELOPE_VERSION)
		return false;
	*r = (struct envelope_reader){message.data + 1, message.data + message.len};
	return read_u64(r, &ret->from_incarnation) && read_u64(r, &ret->to_incarnation) && read_u64(r, &ret->epoch) &&
	       read_u64(r, &ret->dropped) && read_text(r, ENVELOPE_ADDRESS_BYTES_MAX, &ret->from) &&
	       ret->from.len > 0 && ret->from_incarnation != 0 && ret->epoch != 0;
}

static bool read_request(struct envelope_reader *r, struct envelope_frame *f)
{
	return read_u32(r, &f->method) && read_varint(r, &f->remaining_us) &&
	       read_text(r, ENVELOPE_TRACEPARENT_BYTES_MAX, &f->traceparent) && read_sized(r, &f->body);
}

static bool read_one_way(struct envelope_reader *r, struct envelope_frame *f)
{
	return read_u32(r, &f->method) && read_text(r, ENVELOPE_TRACEPARENT_BYTES_MAX, &f->traceparent) &&
	       read_sized(r, &f->body);
}

static bool read_error(struct envelope_reader *r, struct envelope_frame *f)
{
	return read_u32(r, &f->code) && f->code != 0 && read_u32(r, &f->reason) &&
	       read_text(r, ENVELOPE_MESSAGE_BYTES_MAX, &f->message) &&
	       read_text(r, ENVELOPE_DETAIL_TYPE_BYTES_MAX, &f->detail_type) && read_sized(r, &f->detail);
}

bool envelope_read_frame(struct envelope_reader *r, struct envelope_frame *ret)
{
	if (r->at == r->end)
		return false;
	*ret = (struct envelope_frame){0};
	uint8_t kind = *r->at++;
	switch (kind) {
	case ENVELOPE_REQUEST:
		ret->kind = ENVELOPE_REQUEST;
		return read_varint(r, &ret->id) && read_request(r, ret);
	case ENVELOPE_ONE_WAY:
		ret->kind = ENVELOPE_ONE_WAY;
		return read_one_way(r, ret);
	case ENVELOPE_CANCEL:
		ret->kind = ENVELOPE_CANCEL;
		return read_varint(r, &ret->id);
	case ENVELOPE_REPLY:
		ret->kind = ENVELOPE_REPLY;
		return read_varint(r, &ret->id) && read_sized(r, &ret->body);
	case ENVELOPE_ERROR:
		ret->kind = ENVELOPE_ERROR;
		return read_varint(r, &ret->id) && read_error(r, ret);
	default:
		return false;
	}
}

bool envelope_frames_valid(struct envelope_reader r)
{
	while (!envelope_at_end(&r)) {
		struct envelope_frame f;
		if (!envelope_read_frame(&r, &f))
			return false;
	}
	return true;
}
