/*
 * gzip by zlib.
 */
#include "common/grpc/gzip.h"

#include <stdlib.h>
#include <zlib.h>

#include "common/mem/mem.h"

#define GZIP_WINDOW_BITS (15 + 16) /* 16: the gzip format, neither zlib's nor raw */
/* The cheapest level: the aim is fewer bytes on slow links, not the fewest. */
#define GZIP_LEVEL  1
#define OUTPUT_STEP 4096

struct grpc_gzip {
	z_stream inflate, deflate;
	bool inflate_ready, deflate_ready;
};

struct grpc_gzip *grpc_gzip_new(void)
{
	return new0(struct grpc_gzip);
}

void grpc_gzip_free(struct grpc_gzip *g)
{
	if (!g)
		return;
	if (g->inflate_ready)
		inflateEnd(&g->inflate);
	if (g->deflate_ready)
		deflateEnd(&g->deflate);
	free(g);
}

static void inflate_start(struct grpc_gzip *g)
{
	int rc = g->inflate_ready ? inflateReset(&g->inflate) : inflateInit2(&g->inflate, GZIP_WINDOW_BITS);
	assert(rc == Z_OK);
	g->inflate_ready = true;
}

static void deflate_start(struct grpc_gzip *g)
{
	int rc = g->deflate_ready
			 ? deflateReset(&g->deflate)
			 : deflateInit2(&g->deflate, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY);
	assert(rc == Z_OK);
	g->deflate_ready = true;
}

enum grpc_gzip_result grpc_gzip_inflate(struct grpc_gzip *g, struct bytes in, size_t bytes_max, struct buf *out)
{
	const size_t start = out->len;
	inflate_start(g);
	z_stream *z = &g->inflate;
	z->next_in = (uint8_t *)in.data;
	z->avail_in = (uInt)in.len;
	for (;;) {
		/* One byte more than allowed, so that exactly bytes_max is told from too much. */
		size_t room = bytes_max - (out->len - start) + 1;
		if (room > OUTPUT_STEP + in.len)
			room = OUTPUT_STEP + in.len;
		z->next_out = buf_reserve(out, room);
		z->avail_out = (uInt)room;
		int rc = inflate(z, Z_NO_FLUSH);
		out->len += room - z->avail_out;
		if (out->len - start > bytes_max)
			return GRPC_GZIP_TOO_LARGE;
		if (rc == Z_STREAM_END && z->avail_in == 0)
			return GRPC_GZIP_OK;
		if (rc == Z_STREAM_END)
			rc = inflateReset(z); /* the format allows several members */
		if (rc != Z_OK || (z->avail_in == 0 && z->avail_out > 0))
			return GRPC_GZIP_CORRUPT;
	}
}

void grpc_gzip_deflate(struct grpc_gzip *g, const struct bytes *parts, size_t part_count, struct buf *out)
{
	deflate_start(g);
	z_stream *z = &g->deflate;
	size_t total = 0;
	for (size_t i = 0; i < part_count; i++)
		total += parts[i].len;
	/* With the bound of the whole reserved, deflate() never runs out of room. */
	size_t room = deflateBound(z, total) + OUTPUT_STEP;
	z->next_out = buf_reserve(out, room);
	z->avail_out = (uInt)room;
	for (size_t i = 0; i <= part_count; i++) {
		bool last = i == part_count;
		z->next_in = last ? NULL : (uint8_t *)parts[i].data;
		z->avail_in = last ? 0 : (uInt)parts[i].len;
		int rc = deflate(z, last ? Z_FINISH : Z_NO_FLUSH);
		assert(last ? rc == Z_STREAM_END : rc == Z_OK || rc == Z_BUF_ERROR);
		assert(z->avail_in == 0);
	}
	out->len += room - z->avail_out;
}
