/*
 * Framing over an nng stream.
 *
 * nng's callbacks run on its threads and do nothing but put their mail into the mailbox. An operation is started on
 * the loop only, never from a callback: so stopping an aio always ends it (in nng 1.5 an operation started on a stopped
 * aio never completes, which is how its own SP transports can hang when a pipe closes between two reads).
 */
#include "common/rpc/nng_link.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define HEAD_BYTES 4
/* The read buffer at rest, and how far it grows by itself under load; a larger message makes it larger for a while. */
#define READ_BYTES_MIN (16 * 1024)
#define READ_BYTES_MAX (256 * 1024)

struct link {
	struct mailbox *mailbox;
	nng_stream *stream;
	bool tls;
	bool down;
	const struct link_ops *ops;
	void *ctx;

	nng_aio *read_aio;
	struct mail read_mail;
	struct buf in;

	nng_aio *write_aio;	/* calls back */
	nng_aio *write_now_aio; /* does not: for what can be written without waiting */
	struct mail write_mail;
	uint8_t head[HEAD_BYTES];
	uint8_t *out; /* NULL: nothing is being sent */
	size_t out_len, out_done;
};

/* ------------------------------------------------------------------ on nng's threads */

static void on_read_done(void *arg)
{
	struct link *l = arg;
	mailbox_push(l->mailbox, &l->read_mail);
}

static void on_write_done(void *arg)
{
	struct link *l = arg;
	mailbox_push(l->mailbox, &l->write_mail);
}

/* ------------------------------------------------------------------ reading */

static void go_down(struct link *l)
{
	if (l->down)
		return;
	l->down = true;
	l->ops->on_down(l->ctx);
}

static uint32_t get_len(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Hands up all whole messages. False: a length that no peer of ours sends. */
static bool take_messages(struct link *l)
{
	size_t at = 0;
	while (l->in.len - at >= HEAD_BYTES) {
		uint32_t len = get_len(l->in.data + at);
		if (len > LINK_MESSAGE_BYTES_MAX)
			return false;
		if (l->in.len - at - HEAD_BYTES < len)
			break;
		l->ops->on_message(l->ctx, bytes_of(l->in.data + at + HEAD_BYTES, len));
		at += HEAD_BYTES + len;
	}
	l->in.len -= at;
	if (at > 0 && l->in.len > 0)
		memmove(l->in.data, l->in.data + at, l->in.len);
	return true;
}

/* The buffer grows as bytes come, not as a length promises them. */
static void make_room(struct link *l, bool was_full)
{
	if (l->in.len == 0 && l->in.cap > READ_BYTES_MAX)
		buf_done(&l->in);
	size_t room = READ_BYTES_MIN;
	if (l->in.cap > 0)
		room = was_full && l->in.cap < READ_BYTES_MAX ? l->in.cap * 2 : l->in.cap;
	if (room - l->in.len < READ_BYTES_MIN / 4)
		room = l->in.len * 2;
	buf_reserve(&l->in, room - l->in.len);
}

static void start_read(struct link *l)
{
	nng_iov iov = {.iov_buf = l->in.data + l->in.len, .iov_len = l->in.cap - l->in.len};
	int rv = nng_aio_set_iov(l->read_aio, 1, &iov);
	assert(rv == 0);
	nng_stream_recv(l->stream, l->read_aio);
}

static void on_read(struct mail *m)
{
	struct link *l = container_of(m, struct link, read_mail);
	if (nng_aio_result(l->read_aio) != 0) {
		go_down(l);
		return;
	}
	l->in.len += nng_aio_count(l->read_aio);
	bool was_full = l->in.len == l->in.cap;
	if (!l->ops->on_message) {
		l->in.len = 0;
	} else if (!take_messages(l)) {
		go_down(l);
		return;
	} else {
		make_room(l, was_full);
	}
	start_read(l);
}

/* ------------------------------------------------------------------ writing */

static void set_out_iov(struct link *l, nng_aio *aio)
{
	nng_iov iov[2];
	unsigned n = 0;
	if (l->out_done < HEAD_BYTES)
		iov[n++] = (nng_iov){.iov_buf = l->head + l->out_done, .iov_len = HEAD_BYTES - l->out_done};
	size_t done = l->out_done > HEAD_BYTES ? l->out_done - HEAD_BYTES : 0;
	if (done < l->out_len)
		iov[n++] = (nng_iov){.iov_buf = l->out + done, .iov_len = l->out_len - done};
	int rv = nng_aio_set_iov(aio, n, iov);
	assert(rv == 0);
}

/* Takes note of what was written; true when that was the rest. */
static bool wrote(struct link *l, size_t n)
{
	l->out_done += n;
	if (l->out_done < HEAD_BYTES + l->out_len)
		return false;
	free(l->out);
	l->out = NULL;
	return true;
}

static void start_write(struct link *l)
{
	set_out_iov(l, l->write_aio);
	nng_stream_send(l->stream, l->write_aio);
}

static void on_written(struct mail *m)
{
	struct link *l = container_of(m, struct link, write_mail);
	if (nng_aio_result(l->write_aio) != 0)
		go_down(l);
	else if (wrote(l, nng_aio_count(l->write_aio)))
		l->ops->on_sent(l->ctx);
	else
		start_write(l);
}

/*
 * Writes what the kernel takes at once. The stream tries when the operation starts; what is then still pending is
 * cancelled, with nothing written. Saves the detour over nng's threads for nearly every message.
 */
static bool write_now(struct link *l)
{
	set_out_iov(l, l->write_now_aio);
	nng_stream_send(l->stream, l->write_now_aio);
	nng_aio_cancel(l->write_now_aio);
	nng_aio_wait(l->write_now_aio);
	return nng_aio_result(l->write_now_aio) == 0 && wrote(l, nng_aio_count(l->write_now_aio));
}

/* TLS writes one buffer at a time, a record each: the length and the message belong in one. */
static void join_head(struct link *l)
{
	uint8_t *joined = mem_alloc(HEAD_BYTES + l->out_len);
	memcpy(joined, l->head, HEAD_BYTES);
	memcpy(joined + HEAD_BYTES, l->out, l->out_len);
	free(l->out);
	l->out = joined;
	l->out_len += HEAD_BYTES;
}

bool link_send(struct link *l, uint8_t *data, size_t len)
{
	assert(!l->out && len > 0 && len <= LINK_MESSAGE_BYTES_MAX);
	for (int i = 0; i < HEAD_BYTES; i++)
		l->head[i] = (uint8_t)(len >> (8 * i));
	l->out = data;
	l->out_len = len;
	l->out_done = 0;
	if (l->tls) {
		join_head(l);
		/* The head is written, as far as set_out_iov() is concerned. */
		l->out_done = HEAD_BYTES;
	} else if (write_now(l)) {
		return true;
	}
	start_write(l);
	return false;
}

/* ------------------------------------------------------------------ making and ending */

static nng_aio *aio_new(void (*fn)(void *), void *arg)
{
	nng_aio *aio;
	int rv = nng_aio_alloc(&aio, fn, arg);
	assert(rv == 0 && "out of memory");
	return aio;
}

struct link *link_new(struct mailbox *mailbox, nng_stream *stream, bool tls, const struct link_ops *ops, void *ctx)
{
	struct link *l = new0(struct link);
	l->mailbox = mailbox;
	l->stream = stream;
	l->tls = tls;
	l->ops = ops;
	l->ctx = ctx;
	l->read_mail.fn = on_read;
	l->write_mail.fn = on_written;
	l->read_aio = aio_new(on_read_done, l);
	l->write_aio = aio_new(on_write_done, l);
	l->write_now_aio = aio_new(NULL, NULL);
	buf_reserve(&l->in, ops->on_message ? READ_BYTES_MIN : 1);
	start_read(l);
	return l;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	nng_stream_close(l->stream);
	/* Waits for callbacks that are running; they wait for nothing but the mailbox's lock. */
	nng_aio_stop(l->read_aio);
	nng_aio_stop(l->write_aio);
	mailbox_remove(l->mailbox, &l->read_mail);
	mailbox_remove(l->mailbox, &l->write_mail);
	nng_aio_free(l->read_aio);
	nng_aio_free(l->write_aio);
	nng_aio_free(l->write_now_aio);
	nng_stream_free(l->stream);
	buf_done(&l->in);
	free(l->out);
	free(l);
}
