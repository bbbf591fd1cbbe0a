/*
 * gzip for messages, in both directions, with one pair of zlib states a server: a state is 40 to 300 KB, so calls
 * don't have their own. Belongs to one loop.
 */
#ifndef COMMON_GRPC_GZIP_H
#define COMMON_GRPC_GZIP_H

#include "common/base/bytes.h"

struct grpc_gzip;

enum grpc_gzip_result {
	GRPC_GZIP_OK,
	GRPC_GZIP_CORRUPT,
	GRPC_GZIP_TOO_LARGE,
};

struct grpc_gzip *grpc_gzip_new(void);
/* Accepts NULL. */
void grpc_gzip_free(struct grpc_gzip *g);
/* Appends what `in` unpacks to, at most bytes_max; on failure `out` holds a part. */
must_check enum grpc_gzip_result grpc_gzip_inflate(struct grpc_gzip *g, struct bytes in, size_t bytes_max,
						   struct buf *out);
/* Appends the parts, one after the other, as one gzip member. */
void grpc_gzip_deflate(struct grpc_gzip *g, const struct bytes *parts, size_t part_count, struct buf *out);

#endif
