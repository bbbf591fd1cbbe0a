/*
 * Cutting a gRPC byte stream into messages.
 */
#include "common/grpc/deframe.h"

#include <stdlib.h>

#include "common/grpc/gzip.h"
#include "common/mem/mem.h"

/* A prefix alone makes us allocate no more than this: the rest follows as the bytes arrive. */
#define FIRST_ROOM_BYTES 16384

static struct grpc_msg *msg_resize(struct grpc_msg *m, size_t cap)
{
	return mem_realloc(m, sizeof *m + cap);
}

static struct err check_prefix(struct grpc_deframer *d, const struct grpc_deframe_rules *rules)
{
	const uint8_t *p = d->prefix;
	d->declared = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	if (p[0] > 1)
		return err_make(rules->errors, ERR_INTERNAL, "grpc: received unexpected payload format %d", p[0]);
	if (p[0] == 1 && !rules->gzip)
		return err_static(ERR_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
	if (d->declared > rules->message_bytes_max)
		return err_make(rules->errors, ERR_RESOURCE_EXHAUSTED,
				"grpc: received message larger than max (%u vs. %zu)", d->declared,
				rules->message_bytes_max);
	return err_ok;
}

static struct err unpack(struct grpc_msg *packed, const struct grpc_deframe_rules *rules, struct grpc_msg **ret)
{
	struct buf out = {0};
	/* Room for the header of a message in front, so that the buffer becomes the message. */
	buf_reserve(&out, sizeof(struct grpc_msg) + packed->len * 2);
	out.len = sizeof(struct grpc_msg);
	enum grpc_gzip_result result =
		grpc_gzip_inflate(rules->zip, bytes_of(packed->data, packed->len), rules->message_bytes_max, &out);
	free(packed);
	if (result != GRPC_GZIP_OK) {
		buf_done(&out);
		if (result == GRPC_GZIP_TOO_LARGE)
			return err_make(rules->errors, ERR_RESOURCE_EXHAUSTED,
					"grpc: received message after decompression larger than max %zu",
					rules->message_bytes_max);
		return err_static(ERR_INTERNAL, "grpc: failed to decompress the received message: not valid gzip");
	}
	size_t len;
	struct grpc_msg *m = (struct grpc_msg *)buf_take(&out, &len);
	*m = (struct grpc_msg){.len = len - sizeof *m};
	*ret = m;
	return err_ok;
}

/* Takes bytes of the message under way. */
static void fill(struct grpc_deframer *d, struct bytes *in)
{
	size_t want = d->declared - d->partial->len;
	size_t n = in->len < want ? in->len : want;
	size_t need = d->partial->len + n;
	if (need > d->cap) {
		size_t cap = (size_t)d->cap * 2 > need ? (size_t)d->cap * 2 : need;
		d->cap = (uint32_t)(cap < d->declared ? cap : d->declared);
		d->partial = msg_resize(d->partial, d->cap);
	}
	memcpy(d->partial->data + d->partial->len, in->data, n);
	d->partial->len += n;
	*in = bytes_of(in->data + n, in->len - n);
}

static void begin_message(struct grpc_deframer *d)
{
	d->cap = d->declared < FIRST_ROOM_BYTES ? d->declared : FIRST_ROOM_BYTES;
	d->partial = msg_resize(NULL, d->cap);
	*d->partial = (struct grpc_msg){0};
}

struct err grpc_deframe(struct grpc_deframer *d, const struct grpc_deframe_rules *rules, struct bytes *in,
			struct grpc_msg **ret)
{
	*ret = NULL;
	while (d->prefix_len < GRPC_PREFIX_BYTES && in->len > 0) {
		d->prefix[d->prefix_len++] = in->data[0];
		*in = bytes_of(in->data + 1, in->len - 1);
		if (d->prefix_len == GRPC_PREFIX_BYTES) {
			try(check_prefix(d, rules));
			begin_message(d);
		}
	}
	if (d->prefix_len < GRPC_PREFIX_BYTES)
		return err_ok;
	if (in->len > 0)
		fill(d, in);
	if (d->partial->len < d->declared)
		return err_ok;
	struct grpc_msg *m = d->partial;
	bool packed = d->prefix[0] == 1;
	*d = (struct grpc_deframer){0};
	if (packed)
		return unpack(m, rules, ret);
	*ret = m;
	return err_ok;
}

bool grpc_deframer_idle(const struct grpc_deframer *d)
{
	return d->prefix_len == 0;
}

size_t grpc_deframer_bytes(const struct grpc_deframer *d)
{
	return d->partial ? d->partial->len : 0;
}

void grpc_deframer_done(struct grpc_deframer *d)
{
	free(d->partial);
	*d = (struct grpc_deframer){0};
}

void grpc_prefix(uint8_t out[GRPC_PREFIX_BYTES], bool compressed, size_t len)
{
	assert(len <= UINT32_MAX);
	out[0] = compressed;
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
}
