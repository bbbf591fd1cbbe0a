/* The wire format: what is written is read back; whatever is damaged is refused, never read beyond its end. */
#include <check.h>
#include <stdlib.h>

#include "common/rpc/envelope.h"

static const struct envelope_header header = {
	.from_incarnation = 0x1122334455667788,
	.to_incarnation = 7,
	.epoch = 3,
	.dropped = UINT64_MAX,
	.from = {(const uint8_t *)"tcp://10.0.0.7:7244", 19},
};

static void put_all_kinds(struct buf *b)
{
	envelope_put_header(b, &header);
	struct bytes parts[] = {bytes_str("one "), bytes_str(""), bytes_str("body")};
	struct envelope_frame f = {.kind = ENVELOPE_REQUEST,
				   .id = UINT64_MAX,
				   .method = 22,
				   .remaining_us = 5000000,
				   .traceparent = bytes_str("00-aa-bb-01")};
	envelope_put_frame(b, &f, parts, array_len(parts));
	f = (struct envelope_frame){.kind = ENVELOPE_ONE_WAY, .method = 40};
	envelope_put_frame(b, &f, parts, 1);
	f = (struct envelope_frame){.kind = ENVELOPE_CANCEL, .id = 300};
	envelope_put_frame(b, &f, NULL, 0);
	f = (struct envelope_frame){.kind = ENVELOPE_REPLY, .id = 301};
	envelope_put_frame(b, &f, NULL, 0);
	f = (struct envelope_frame){.kind = ENVELOPE_ERROR,
				    .id = 302,
				    .code = 5,
				    .reason = 1,
				    .message = bytes_str("no such shard"),
				    .detail_type = bytes_str("temporal.api.errordetails.v1.NotFoundFailure"),
				    .detail = bytes_str("\x0a\x01x")};
	envelope_put_frame(b, &f, NULL, 0);
}

static bool text_is(struct bytes v, const char *s)
{
	return bytes_eq(v, bytes_str(s));
}

START_TEST(every_kind_of_frame_is_read_back)
{
	struct buf b = {0};
	put_all_kinds(&b);
	struct envelope_reader r;
	struct envelope_header h;
	struct envelope_frame f;
	ck_assert(envelope_read_header(&r, buf_view(&b), &h));
	ck_assert_uint_eq(h.from_incarnation, header.from_incarnation);
	ck_assert_uint_eq(h.to_incarnation, 7);
	ck_assert_uint_eq(h.epoch, 3);
	ck_assert_uint_eq(h.dropped, UINT64_MAX);
	ck_assert(bytes_eq(h.from, header.from));
	ck_assert(envelope_frames_valid(r));

	ck_assert(envelope_read_frame(&r, &f));
	ck_assert_int_eq(f.kind, ENVELOPE_REQUEST);
	ck_assert_uint_eq(f.id, UINT64_MAX);
	ck_assert_uint_eq(f.method, 22);
	ck_assert_uint_eq(f.remaining_us, 5000000);
	ck_assert(text_is(f.traceparent, "00-aa-bb-01"));
	ck_assert(text_is(f.body, "one body"));
	ck_assert(envelope_read_frame(&r, &f));
	ck_assert_int_eq(f.kind, ENVELOPE_ONE_WAY);
	ck_assert_uint_eq(f.method, 40);
	ck_assert(text_is(f.body, "one "));
	ck_assert(envelope_read_frame(&r, &f));
	ck_assert_int_eq(f.kind, ENVELOPE_CANCEL);
	ck_assert_uint_eq(f.id, 300);
	ck_assert(envelope_read_frame(&r, &f));
	ck_assert_int_eq(f.kind, ENVELOPE_REPLY);
	ck_assert_uint_eq(f.body.len, 0);
	ck_assert(envelope_read_frame(&r, &f));
	ck_assert_int_eq(f.kind, ENVELOPE_ERROR);
	ck_assert_uint_eq(f.code, 5);
	ck_assert_uint_eq(f.reason, 1);
	ck_assert(text_is(f.message, "no such shard"));
	ck_assert(text_is(f.detail_type, "temporal.api.errordetails.v1.NotFoundFailure"));
	ck_assert(text_is(f.detail, "\x0a\x01x"));
	ck_assert(envelope_at_end(&r));
	ck_assert(!envelope_read_frame(&r, &f));
	buf_done(&b);
}
END_TEST

/* Whether all of it can be read. Copied to a block of exactly its size, so that the sanitizer sees any overrun. */
static bool readable(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	ck_assert_ptr_nonnull(copy);
	if (len)
		memcpy(copy, data, len);
	struct envelope_reader r;
	struct envelope_header h;
	bool ok = envelope_read_header(&r, bytes_of(copy, len), &h) && envelope_frames_valid(r);
	free(copy);
	return ok;
}

START_TEST(a_message_cut_anywhere_within_a_frame_is_refused)
{
	struct buf b = {0};
	put_all_kinds(&b);
	size_t whole = 0;
	for (size_t len = 0; len <= b.len; len++)
		whole += readable(b.data, len);
	/* After the header and after each of the five frames. */
	ck_assert_uint_eq(whole, 6);
	buf_done(&b);
}
END_TEST

START_TEST(a_damaged_byte_is_refused_or_harmless)
{
	struct buf b = {0};
	put_all_kinds(&b);
	for (size_t i = 0; i < b.len; i++) {
		uint8_t was = b.data[i];
		for (int v = 0; v < 256; v++) {
			b.data[i] = (uint8_t)v;
			bool ok = readable(b.data, b.len);
			ck_assert(i != 0 || ok == (v == ENVELOPE_VERSION));
		}
		b.data[i] = was;
	}
	buf_done(&b);
}
END_TEST

static bool frame_readable(const void *frame, size_t len)
{
	struct buf b = {0};
	envelope_put_header(&b, &header);
	buf_put(&b, frame, len);
	bool ok = readable(b.data, b.len);
	buf_done(&b);
	return ok;
}

#define FRAME(...) frame_readable((const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})

START_TEST(lengths_and_numbers_are_not_trusted)
{
	ck_assert(FRAME(ENVELOPE_REPLY, 1, 0));
	/* A length beyond the end, also one that wraps around. */
	ck_assert(!FRAME(ENVELOPE_REPLY, 1, 1));
	ck_assert(!FRAME(ENVELOPE_REPLY, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1));
	/* A varint of ten bytes is the longest, and the tenth holds one bit. */
	ck_assert(FRAME(ENVELOPE_CANCEL, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1));
	ck_assert(!FRAME(ENVELOPE_CANCEL, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2));
	ck_assert(!FRAME(ENVELOPE_CANCEL, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0));
	/* A method beyond 32 bits. */
	ck_assert(!FRAME(ENVELOPE_ONE_WAY, 0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0));
	/* An error that is none, a NUL in a text, an unknown kind. */
	ck_assert(FRAME(ENVELOPE_ERROR, 1, 5, 0, 1, 'x', 0, 0));
	ck_assert(!FRAME(ENVELOPE_ERROR, 1, 0, 0, 1, 'x', 0, 0));
	ck_assert(!FRAME(ENVELOPE_ERROR, 1, 5, 0, 1, 0, 0, 0));
	ck_assert(!FRAME(0));
	ck_assert(!FRAME(6, 1));
}
END_TEST

START_TEST(headers_without_a_sender_are_refused)
{
	struct envelope_header bad[] = {header, header, header};
	bad[0].from.len = 0;
	bad[1].from_incarnation = 0;
	bad[2].epoch = 0;
	for (size_t i = 0; i < array_len(bad); i++) {
		struct buf b = {0};
		envelope_put_header(&b, &bad[i]);
		ck_assert(!readable(b.data, b.len));
		buf_done(&b);
	}
	ck_assert(!readable(NULL, 0));
}
END_TEST

START_TEST(a_long_message_is_cut_at_a_character)
{
	/* Three bytes a character: the limit falls inside one. */
	struct buf text = {0};
	while (text.len < ENVELOPE_MESSAGE_BYTES_MAX + 100)
		buf_put(&text, "\xe2\x82\xac", 3);
	struct buf b = {0};
	envelope_put_header(&b, &header);
	struct envelope_frame f = {.kind = ENVELOPE_ERROR, .id = 1, .code = 2, .message = buf_view(&text)};
	envelope_put_frame(&b, &f, NULL, 0);
	f.message = bytes_of("a\0b", 3);
	envelope_put_frame(&b, &f, NULL, 0);
	struct envelope_reader r;
	struct envelope_header h;
	ck_assert(envelope_read_header(&r, buf_view(&b), &h));
	ck_assert(envelope_read_frame(&r, &f));
	ck_assert_uint_eq(f.message.len, ENVELOPE_MESSAGE_BYTES_MAX / 3 * 3);
	ck_assert(envelope_read_frame(&r, &f));
	ck_assert(text_is(f.message, "a"));
	ck_assert(envelope_at_end(&r));
	buf_done(&b);
	buf_done(&text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rpc/envelope");
	TCase *t = tcase_create("envelope");
	tcase_add_test(t, every_kind_of_frame_is_read_back);
	tcase_add_test(t, a_message_cut_anywhere_within_a_frame_is_refused);
	tcase_add_test(t, a_damaged_byte_is_refused_or_harmless);
	tcase_add_test(t, lengths_and_numbers_are_not_trusted);
	tcase_add_test(t, headers_without_a_sender_are_refused);
	tcase_add_test(t, a_long_message_is_cut_at_a_character);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
