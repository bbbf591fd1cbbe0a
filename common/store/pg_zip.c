/*
 * Compression of what closed runs leave behind.
 */
#include "common/store/pg_store.h"

#define LEVEL	     1
#define WORTH_BYTES  256 /* shorter than this is left as it is */
#define UNZIPPED_MAX ((unsigned long long)1 << 31)

struct bytes pg_zip(struct pg_store *s, struct arena *a, struct bytes v, bool *ret_zipped)
{
	*ret_zipped = false;
	if (v.len < WORTH_BYTES)
		return v;
	size_t bound = ZSTD_compressBound(v.len);
	void *to = arena_alloc(a, bound);
	size_t len = ZSTD_compressCCtx(s->zip, to, bound, v.data, v.len, LEVEL);
	if (ZSTD_isError(len) || len >= v.len)
		return v;
	*ret_zipped = true;
	return bytes_of(to, len);
}

bool pg_unzip(struct pg_store *s, struct arena *a, struct bytes v, struct bytes *ret)
{
	unsigned long long size = ZSTD_getFrameContentSize(v.data, v.len);
	if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > UNZIPPED_MAX)
		return false;
	void *to = arena_alloc(a, (size_t)size);
	size_t len = ZSTD_decompressDCtx(s->unzip, to, (size_t)size, v.data, v.len);
	if (ZSTD_isError(len) || len != size)
		return false;
	*ret = bytes_of(to, len);
	return true;
}
