/*
 * Zone files (TZif): a table of changes, and a rule for the time after it.
 */
#include "common/tz/tz.h"

#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/tz/tz_rule.h"

#define HEADER_BYTES 44
#define CHANGES_MAX  10000
#define OFFSET_S_MAX (26 * 3600)

struct tz {
	size_t count;
	int64_t *at_s;	   /* of each change, growing */
	int64_t *offset_s; /* from then on */
	int64_t first_offset_s;
	bool has_rule;
	struct tz_rule rule; /* after the last change */
};

/* ------------------------------------------------------------------ the file */

struct header {
	int version;
	uint32_t utc_flags, standard_flags, leaps, changes, types, name_bytes;
};

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static bool read_header(struct bytes b, struct header *h)
{
	if (b.len < HEADER_BYTES || memcmp(b.data, "TZif", 4) != 0)
		return false;
	uint32_t n[6];
	for (size_t i = 0; i < array_len(n); i++)
		n[i] = (uint32_t)big_endian(b.data + 20 + i * 4, 4);
	*h = (struct header){b.data[4] >= '2' ? b.data[4] - '0' : 1, n[0], n[1], n[2], n[3], n[4], n[5]};
	return h->changes <= CHANGES_MAX && h->types >= 1 && h->types <= 256 && h->name_bytes <= 4096 &&
	       h->leaps <= 4096 && h->utc_flags <= 256 && h->standard_flags <= 256;
}

static size_t block_bytes(const struct header *h, size_t time_bytes)
{
	return h->changes * (time_bytes + 1) + h->types * 6 + h->name_bytes + h->leaps * (time_bytes + 4) +
	       h->standard_flags + h->utc_flags;
}

static bool type_offset(const uint8_t *types, const struct header *h, uint8_t index, int64_t *ret)
{
	if (index >= h->types)
		return false;
	*ret = (int32_t)big_endian(types + (size_t)index * 6, 4);
	return *ret >= -OFFSET_S_MAX && *ret <= OFFSET_S_MAX;
}

static bool read_block(struct tz *z, const uint8_t *p, const struct header *h, size_t time_bytes)
{
	const uint8_t *times = p, *indices = p + h->changes * time_bytes, *types = indices + h->changes;
	if (!type_offset(types, h, 0, &z->first_offset_s))
		return false;
	z->at_s = mem_alloc(h->changes * sizeof *z->at_s);
	z->offset_s = mem_alloc(h->changes * sizeof *z->offset_s);
	for (uint32_t i = 0; i < h->changes; i++) {
		uint64_t at = big_endian(times + i * time_bytes, time_bytes);
		z->at_s[i] = time_bytes == 4 ? (int32_t)at : (int64_t)at;
		if ((i && z->at_s[i] <= z->at_s[i - 1]) || !type_offset(types, h, indices[i], &z->offset_s[i]))
			return false;
		z->count++;
	}
	return true;
}

/* "\nrule\n"; an empty rule is none. */
static bool read_footer(struct tz *z, struct bytes rest)
{
	if (rest.len < 2 || rest.data[0] != '\n')
		return false;
	const uint8_t *end = memchr(rest.data + 1, '\n', rest.len - 1);
	if (!end)
		return false;
	struct bytes text = bytes_of(rest.data + 1, (size_t)(end - rest.data - 1));
	z->has_rule = text.len > 0;
	return !z->has_rule || tz_rule_parse(text, &z->rule);
}

static bool read_file(struct tz *z, struct bytes file)
{
	struct header h;
	if (!read_header(file, &h))
		return false;
	size_t size = HEADER_BYTES + block_bytes(&h, 4);
	if (file.len < size)
		return false;
	if (h.version == 1)
		return read_block(z, file.data + HEADER_BYTES, &h, 4);
	struct bytes second = bytes_of(file.data + size, file.len - size);
	if (!read_header(second, &h))
		return false;
	size = HEADER_BYTES + block_bytes(&h, 8);
	return second.len >= size && read_block(z, second.data + HEADER_BYTES, &h, 8) &&
	       read_footer(z, bytes_of(second.data + size, second.len - size));
}

struct tz *tz_parse(struct bytes file)
{
	struct tz *z = new0(struct tz);
	if (read_file(z, file))
		return z;
	tz_free(z);
	return NULL;
}

void tz_free(struct tz *z)
{
	if (!z)
		return;
	free(z->at_s);
	free(z->offset_s);
	free(z);
}

/* ------------------------------------------------------------------ asking */

/* How many changes were before or at that moment. */
static size_t changes_until(const struct tz *z, int64_t utc_s)
{
	size_t low = 0, high = z->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (z->at_s[middle] <= utc_s)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct tz_span tz_span_at(const struct tz *z, int64_t utc_s)
{
	if (!z)
		return (struct tz_span){INT64_MIN, INT64_MAX, 0};
	size_t n = changes_until(z, utc_s);
	struct tz_span span = {
		.from_s = n ? z->at_s[n - 1] : INT64_MIN,
		.to_s = n < z->count ? z->at_s[n] : INT64_MAX,
		.offset_s = n ? z->offset_s[n - 1] : z->first_offset_s,
	};
	if (n < z->count || !z->has_rule)
		return span;
	struct tz_span by_rule = tz_rule_span_at(&z->rule, utc_s);
	by_rule.from_s = max_i64(by_rule.from_s, span.from_s);
	return by_rule;
}
