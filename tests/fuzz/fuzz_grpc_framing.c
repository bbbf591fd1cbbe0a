/*
 * gRPC's message framing and text codecs. The first byte chooses how the rest is cut into pieces; however it is cut,
 * the same messages and the same error must come out.
 */
#include <stdlib.h>

#include "common/grpc/deframe.h"
#include "common/grpc/gzip.h"
#include "common/grpc/text.h"
#include "tests/fuzz/fuzz.h"

#define MESSAGE_MAX 65536

static struct err feed(const struct grpc_deframe_rules *rules, struct bytes stream, size_t step, struct buf *out)
{
	struct grpc_deframer d = {0};
	struct err e = err_ok;
	for (size_t at = 0; at < stream.len && !err_is(e); at += step) {
		struct bytes in = bytes_of(stream.data + at, stream.len - at < step ? stream.len - at : step);
		while (in.len > 0) {
			struct grpc_msg *m;
			e = grpc_deframe(&d, rules, &in, &m);
			if (err_is(e) || !m)
				break;
			assert(m->len <= MESSAGE_MAX);
			buf_put(out, &m->len, sizeof m->len);
			buf_put(out, m->data, m->len);
			free(m);
		}
	}
	grpc_deframer_done(&d);
	return e;
}

static void frame(struct bytes in, size_t step)
{
	static struct grpc_gzip *zip;
	if (!zip)
		zip = grpc_gzip_new();
	struct arena *errors = arena_new(0);
	struct grpc_deframe_rules rules = {
		.message_bytes_max = MESSAGE_MAX, .gzip = step & 1, .zip = zip, .errors = errors};
	struct buf whole = {0}, cut = {0};
	struct err a = feed(&rules, in, in.len ? in.len : 1, &whole);
	struct err b = feed(&rules, in, step, &cut);
	assert(a.code == b.code && str_eq(a.message, b.message));
	assert(bytes_eq(buf_view(&whole), buf_view(&cut)));
	buf_done(&whole);
	buf_done(&cut);
	arena_free(errors);
}

static void codecs(struct bytes in)
{
	int64_t ns = 0;
	if (grpc_timeout_parse(in, &ns))
		assert(ns >= 0);
	struct buf text = {0}, again = {0};
	grpc_percent_encode(&text, in);
	for (size_t i = 0; i < text.len; i++)
		assert(text.data[i] >= ' ' && text.data[i] <= '~');
	text.len = 0;
	grpc_base64_encode(&text, in);
	bool ok = grpc_base64_decode(&again, buf_view(&text));
	assert(ok && bytes_eq(in, buf_view(&again)));
	again.len = 0;
	ok = grpc_base64_decode(&again, in);
	(void)ok;
	grpc_content_type_ok(in);
	grpc_encoding_listed(in, "gzip");
	text.len = 0;
	buf_put_bytes(&text, in);
	buf_put(&text, "", 1);
	struct bytes service, method;
	if (grpc_path_split((const char *)text.data, &service, &method))
		assert(service.len + method.len + 2 == strlen((const char *)text.data));
	buf_done(&text);
	buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	size_t step = (size_t)data[0] % 64 + 1;
	struct bytes in = bytes_of(data + 1, size - 1);
	frame(in, step);
	codecs(in);
	return 0;
}
