/*
 * What a call is answered with: status, message, trailers; and how its bytes get to nghttp2.
 *
 * grpc_finish() encodes what it can straight from its caller's memory into the connection's write buffer: a usual
 * answer (HEADERS, DATA, trailers) is copied once and leaves in one write with everything else of the turn. Only what
 * flow control or the buffer's bound holds back is copied aside.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/grpc/gzip.h"
#include "common/grpc/internal.h"
#include "common/grpc/text.h"
#include "common/mem/mem.h"

/* A message in a header: clients refuse header lists of more than 8 KB, and an error beats no error. */
#define HEADER_MESSAGE_BYTES_MAX 2048
#define HEADER_DETAIL_BYTES_MAX	 8192

#define STATUS_HEADERS_MAX 3

/* A status as headers; the values belong to it. */
struct grpc_trailers {
	nghttp2_nv nv[STATUS_HEADERS_MAX];
	size_t count;
	char code[4];
	struct buf message, detail;
};

static nghttp2_nv header(const char *name, struct bytes value, uint8_t flags)
{
	return (nghttp2_nv){.name = (uint8_t *)name,
			    .value = (uint8_t *)value.data,
			    .namelen = strlen(name),
			    .valuelen = value.len,
			    .flags = flags};
}

/* A header whose value is a literal: nghttp2 needn't copy it. */
static nghttp2_nv fixed(const char *name, const char *value)
{
	return header(name, bytes_str(value), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE);
}

static void trailers_init(struct grpc_trailers *t, struct err e)
{
	/* Texts differ from error to error: in the compression table they would only displace what repeats. */
	const uint8_t flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX;
	*t = (struct grpc_trailers){0};
	snprintf(t->code, sizeof t->code, "%u", (unsigned)e.code % 100);
	t->nv[t->count++] = header("grpc-status", bytes_str(t->code), NGHTTP2_NV_FLAG_NO_COPY_NAME);
	struct bytes message = bytes_str(e.message);
	if (message.len > HEADER_MESSAGE_BYTES_MAX)
		message.len = HEADER_MESSAGE_BYTES_MAX;
	if (message.len) {
		grpc_percent_encode(&t->message, message);
		t->nv[t->count++] = header("grpc-message", buf_view(&t->message), flags);
	}
	if (e.detail_type && e.detail.len <= HEADER_DETAIL_BYTES_MAX) {
		struct buf status = {0};
		grpc_status_encode(&status, e);
		grpc_base64_encode(&t->detail, buf_view(&status));
		buf_done(&status);
		t->nv[t->count++] = header("grpc-status-details-bin", buf_view(&t->detail), flags);
	}
}

static void trailers_done(struct grpc_trailers *t)
{
	buf_done(&t->message);
	buf_done(&t->detail);
}

/* One HEADERS frame that ends the stream: HTTP status, content type, gRPC status, perhaps one header more. */
static void reply_headers(struct grpc_conn *conn, int32_t stream_id, const char *http_status, struct err e,
			  const nghttp2_nv *extra)
{
	struct grpc_trailers t;
	trailers_init(&t, e);
	nghttp2_nv nv[3 + STATUS_HEADERS_MAX];
	size_t n = 0;
	nv[n++] = fixed(":status", http_status);
	nv[n++] = fixed("content-type", "application/grpc");
	if (extra)
		nv[n++] = *extra;
	for (size_t i = 0; i < t.count; i++)
		nv[n++] = t.nv[i];
	if (nghttp2_submit_response(conn->session, stream_id, nv, n, NULL) != 0)
		conn->broken = true;
	trailers_done(&t);
	grpc_server_mark_dirty(conn->server, conn);
}

void grpc_reply_error(struct grpc_conn *conn, int32_t stream_id, struct err e)
{
	reply_headers(conn, stream_id, "200", e, NULL);
}

void grpc_reply_http(struct grpc_conn *conn, int32_t stream_id, const char *http_status, struct err e)
{
	reply_headers(conn, stream_id, http_status, e, NULL);
}

void grpc_reply_bad_encoding(struct grpc_conn *conn, int32_t stream_id, struct err e)
{
	const nghttp2_nv accept = fixed("grpc-accept-encoding", "gzip,identity");
	reply_headers(conn, stream_id, "200", e, &accept);
}

void grpc_reply_done(struct grpc_call *call)
{
	if (!call->direct)
		call->conn->unread_bytes -= call->tx_left;
	call->tx_left = 0;
	buf_done(&call->tx);
	if (call->trailers)
		trailers_done(call->trailers);
	free(call->trailers);
	call->trailers = NULL;
}

/* ---- bytes to nghttp2 ---- */

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *unused, size_t len, uint32_t *flags,
		       nghttp2_data_source *source, void *ctx)
{
	(void)unused;
	(void)ctx;
	const struct grpc_call *call = source->ptr;
	bool finished = call->state == GRPC_CALL_FINISHED;
	if (call->tx_left == 0 && !finished)
		return NGHTTP2_ERR_DEFERRED;
	size_t n = call->tx_left < len ? call->tx_left : len;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (n < call->tx_left || !finished)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	const nghttp2_nv good = fixed("grpc-status", "0");
	const nghttp2_nv *nv = call->trailers ? call->trailers->nv : &good;
	if (nghttp2_submit_trailer(session, stream_id, nv, call->trailers ? call->trailers->count : 1) != 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return (ssize_t)n;
}

static void copy_direct(struct grpc_direct *d, uint8_t *out, size_t len)
{
	while (len > 0) {
		const struct bytes *p = d->parts + d->part;
		struct bytes from;
		size_t *off;
		if (d->prefix_off < GRPC_PREFIX_BYTES) {
			from = bytes_of(d->prefix, GRPC_PREFIX_BYTES);
			off = &d->prefix_off;
		} else if (d->part_off == p->len) {
			d->part++;
			d->part_off = 0;
			continue;
		} else {
			from = *p;
			off = &d->part_off;
		}
		size_t n = from.len - *off < len ? from.len - *off : len;
		memcpy(out, from.data + *off, n);
		*off += n;
		out += n;
		len -= n;
	}
}

/* The next bytes of the answer, into `out`. */
static void take(struct grpc_call *call, uint8_t *out, size_t len)
{
	assert(len <= call->tx_left);
	call->tx_left -= len;
	if (call->direct) {
		copy_direct(call->direct, out, len);
		return;
	}
	memcpy(out, call->tx.data + call->tx_off, len);
	call->tx_off += len;
	call->conn->unread_bytes -= len;
	if (call->tx_left == 0) {
		buf_done(&call->tx);
		call->tx_off = 0;
	}
}

int grpc_reply_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
		    nghttp2_data_source *source, void *ctx)
{
	(void)session;
	(void)frame;
	struct grpc_conn *conn = ctx;
	const size_t head_len = 9;
	if (conn->out.len >= GRPC_OUT_BYTES_MAX)
		return NGHTTP2_ERR_WOULDBLOCK;
	uint8_t *out = buf_reserve(&conn->out, head_len + len);
	memcpy(out, head, head_len);
	if (len)
		take(source->ptr, out + head_len, len);
	conn->out.len += head_len + len;
	return 0;
}

/* ---- answers ---- */

/* The client leaves too much unread: it gets no more, and the caller is told so. */
static bool unread_too_much(struct grpc_call *call, size_t bytes)
{
	struct grpc_conn *conn = call->conn;
	if (conn->unread_bytes == 0 || conn->unread_bytes + bytes <= (size_t)call->server->config.unread_bytes_max)
		return false;
	nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
	grpc_call_cut(call);
	return true;
}

static bool submit_headers(struct grpc_call *call, bool gzip)
{
	nghttp2_nv nv[3] = {fixed(":status", "200"), fixed("content-type", "application/grpc"),
			    fixed("grpc-encoding", "gzip")};
	nghttp2_data_provider data = {.source.ptr = call, .read_callback = on_read};
	call->headers_sent = true;
	return nghttp2_submit_response(call->conn->session, call->stream_id, nv, gzip ? 3 : 2, &data) == 0;
}

/* Copies into the call's own buffer, from where it is sent whenever the client takes it. */
static void keep(struct grpc_call *call, struct bytes v)
{
	buf_put_bytes(&call->tx, v);
	call->tx_left += v.len;
	call->conn->unread_bytes += v.len;
}

static void keep_rest(struct grpc_call *call)
{
	struct grpc_direct *d = call->direct;
	size_t left = call->tx_left;
	copy_direct(d, buf_reserve(&call->tx, left), left);
	call->tx.len += left;
	call->direct = NULL;
	call->conn->unread_bytes += left;
}

static void keep_compressed(struct grpc_call *call, const struct bytes *parts, size_t part_count)
{
	struct buf *tx = &call->tx;
	buf_reserve(tx, GRPC_PREFIX_BYTES);
	tx->len = GRPC_PREFIX_BYTES;
	grpc_gzip_deflate(call->server->gzip, parts, part_count, tx);
	grpc_prefix(tx->data, true, tx->len - GRPC_PREFIX_BYTES);
	call->tx_left = tx->len;
	call->conn->unread_bytes += tx->len;
}

/* Lets nghttp2 have as much as it takes now, then puts the rest aside and returns the caller's memory. */
static void push_out(struct grpc_call *call)
{
	call->pinned = true;
	grpc_conn_pump(call->conn);
	call->pinned = false;
	grpc_server_mark_dirty(call->server, call->conn);
	if (!call->stream_id) {
		grpc_call_free(call);
	} else if (call->direct) {
		keep_rest(call);
	}
}

static void finish_message(struct grpc_call *call, const struct bytes *parts, size_t part_count, size_t total)
{
	struct grpc_direct direct = {.parts = parts};
	bool gzip = call->gzip_ok && (int64_t)total >= call->server->config.compress_bytes_min;
	if (gzip) {
		keep_compressed(call, parts, part_count);
	} else {
		grpc_prefix(direct.prefix, false, total);
		call->direct = &direct;
		call->tx_left = GRPC_PREFIX_BYTES + total;
	}
	if (!submit_headers(call, gzip))
		call->conn->broken = true;
	push_out(call);
}

/* A stream that has sent something ends with trailers behind it. */
static void finish_stream(struct grpc_call *call, struct err e)
{
	if (err_is(e)) {
		call->trailers = new0(struct grpc_trailers);
		trailers_init(call->trailers, e);
	}
	nghttp2_session_resume_data(call->conn->session, call->stream_id);
	push_out(call);
}

bool grpc_finish(struct grpc_call *call, struct err e, const struct bytes *parts, size_t part_count)
{
	assert(call->state == GRPC_CALL_SERVING);
	struct grpc_conn *conn = call->conn;
	call->server->call_count--;
	env_timer_stop(call->server->env, &call->deadline_timer);
	call->state = GRPC_CALL_FINISHED;
	if (!call->stream_id) {
		grpc_call_free(call);
		return false;
	}
	size_t total = 0;
	for (size_t i = 0; i < part_count && !err_is(e) && !call->streaming; i++)
		total += parts[i].len;
	if (total > UINT32_MAX) {
		e = err_static(ERR_RESOURCE_EXHAUSTED, "grpc: trying to send message larger than max");
		total = 0;
	}
	if (total && unread_too_much(call, total))
		return false;
	if (call->headers_sent) {
		finish_stream(call, e);
	} else if (err_is(e) || call->streaming) {
		grpc_reply_error(conn, call->stream_id, e);
		grpc_call_cut(call);
	} else {
		finish_message(call, parts, part_count, total);
	}
	return true;
}

void grpc_send(struct grpc_call *call, struct bytes message)
{
	assert(call->state == GRPC_CALL_SERVING && call->streaming);
	if (!call->stream_id || unread_too_much(call, message.len))
		return;
	uint8_t prefix[GRPC_PREFIX_BYTES];
	grpc_prefix(prefix, false, message.len);
	/* tx_off bytes in front are sent already; a stream's buffer is freed whenever it runs empty. */
	keep(call, bytes_of(prefix, sizeof prefix));
	keep(call, message);
	if (!call->headers_sent)
		submit_headers(call, false);
	else
		nghttp2_session_resume_data(call->conn->session, call->stream_id);
	grpc_server_mark_dirty(call->server, call->conn);
}
