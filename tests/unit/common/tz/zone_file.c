/*
 * Zone files made for tests: each change has a type of its own.
 */
#include "zone_file.h"

static void put_number(struct buf *out, uint64_t v, int bytes)
{
	for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
		buf_put(out, &(uint8_t){(uint8_t)(v >> shift)}, 1);
}

static void put_header(struct buf *out, size_t changes, size_t types)
{
	buf_put(out, "TZif2", 5);
	for (int i = 0; i < 15; i++)
		put_number(out, 0, 1);
	const size_t counts[] = {0, 0, 0, changes, types, 4};
	for (size_t i = 0; i < array_len(counts); i++)
		put_number(out, counts[i], 4);
}

static void put_type(struct buf *out, int offset_s)
{
	put_number(out, (uint32_t)offset_s, 4);
	put_number(out, 0, 2);
}

void zone_file(struct buf *out, int first_offset_s, const struct zone_change *changes, size_t count, const char *rule)
{
	put_header(out, 0, 1); /* the old form, which nobody reads */
	put_type(out, 0);
	buf_put(out, "UTC", 4);

	put_header(out, count, count + 1);
	for (size_t i = 0; i < count; i++)
		put_number(out, (uint64_t)changes[i].at_s, 8);
	for (size_t i = 0; i < count; i++)
		put_number(out, i + 1, 1);
	put_type(out, first_offset_s);
	for (size_t i = 0; i < count; i++)
		put_type(out, changes[i].offset_s);
	buf_put(out, "ABC", 4);
	buf_printf(out, "\n%s\n", rule);
}
