/*
 * Load for a gRPC server: unary calls as fast as it answers, or very many that wait.
 *
 *   grpc_load PORT calls CONNECTIONS IN_FLIGHT TOTAL [BYTES]    prints calls a second and latency
 *   grpc_load PORT polls CONNECTIONS POLLS                      opens that many Wait calls, prints "open", waits for a
 *                                                               line on its input, cancels them all, prints "done N"
 *
 * One thread, nghttp2 as a client on poll(2): cheap enough that the server is the bottleneck. Any failure ends it with
 * a message and status 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/mem/mem.h"

struct client {
	int fd;
	nghttp2_session *session;
	struct buf out;
	bool settled;
};

struct request {
	struct buf body;
	size_t sent;
	int64_t started_ns;
};

static struct {
	struct client *clients;
	int client_count;
	long to_start, in_flight, ended, failed, accepted;
	const char *path;
	struct bytes body;
	int64_t *latency_ns;
	long latency_count;
	bool again; /* each answer starts the next call */
} run;

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "grpc_load: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static ssize_t on_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
		       nghttp2_data_source *source, void *ctx)
{
	(void)session;
	(void)id;
	(void)ctx;
	struct request *r = source->ptr;
	size_t n = r->body.len - r->sent < len ? r->body.len - r->sent : len;
	memcpy(out, r->body.data + r->sent, n);
	r->sent += n;
	if (r->sent == r->body.len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static void start_call(struct client *c)
{
#define HEADER(n, v)                                                                                                   \
	{                                                                                                              \
		(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), 0                                                \
	}
	const nghttp2_nv nv[] = {HEADER(":method", "POST"),
				 HEADER(":scheme", "http"),
				 HEADER(":path", run.path),
				 HEADER(":authority", "localhost"),
				 HEADER("content-type", "application/grpc"),
				 HEADER("te", "trailers"),
				 HEADER("user-agent", "grpc-load/1.0"),
				 HEADER("grpc-timeout", "3600S"),
				 HEADER("client-name", "temporal-go"),
				 HEADER("client-version", "1.30.0"),
				 HEADER("supported-server-versions", ">=1.0.0 <2.0.0")};
	struct request *r = new0(struct request);
	uint8_t prefix[5] = {0, 0, 0, (uint8_t)(run.body.len >> 8), (uint8_t)run.body.len};
	buf_put(&r->body, prefix, sizeof prefix);
	buf_put_bytes(&r->body, run.body);
	r->started_ns = now_ns();
	nghttp2_data_provider body = {.source.ptr = r, .read_callback = on_body};
	if (nghttp2_submit_request(c->session, NULL, nv, array_len(nv), &body, r) < 0)
		die("submit");
	run.to_start--;
	run.in_flight++;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *ctx)
{
	struct request *r = nghttp2_session_get_stream_user_data(session, id);
	if (!r)
		return 0;
	if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL)
		run.failed++;
	if (run.latency_ns)
		run.latency_ns[run.latency_count++] = now_ns() - r->started_ns;
	buf_done(&r->body);
	free(r);
	run.in_flight--;
	run.ended++;
	if (run.again && run.to_start > 0)
		start_call(ctx);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *ctx)
{
	(void)session;
	(void)frame;
	(void)flags;
	(void)ctx;
	if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0 && !(value_len == 1 && *value == '0'))
		run.failed++;
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	(void)session;
	struct client *c = ctx;
	if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
		c->settled = true;
	return 0;
}

static void connect_client(struct client *c, uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	nghttp2_session_callbacks *cb;
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_client_new(&c->session, cb, c);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
	nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 16 << 20);
}

static void send_all(struct client *c)
{
	const uint8_t *data;
	ssize_t n;
	while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
		buf_put(&c->out, data, (size_t)n);
	size_t off = 0;
	while (off < c->out.len) {
		n = write(c->fd, c->out.data + off, c->out.len - off);
		if (n <= 0)
			die("write");
		off += (size_t)n;
	}
	c->out.len = 0;
}

static void receive(struct client *c)
{
	static uint8_t in[1 << 18];
	ssize_t n = read(c->fd, in, sizeof in);
	if (n <= 0)
		die("the server hung up");
	if (nghttp2_session_mem_recv(c->session, in, (size_t)n) < 0)
		die("protocol");
}

/* Waits for one round of input on any connection. */
static void turn(void)
{
	struct pollfd fds[256];
	for (int i = 0; i < run.client_count; i++) {
		send_all(&run.clients[i]);
		fds[i] = (struct pollfd){.fd = run.clients[i].fd, .events = POLLIN};
	}
	if (poll(fds, (nfds_t)run.client_count, 30000) <= 0)
		die("no answer for 30 s");
	for (int i = 0; i < run.client_count; i++)
		if (fds[i].revents)
			receive(&run.clients[i]);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void run_calls(long in_flight, long total)
{
	run.latency_ns = mem_zalloc(sizeof(int64_t) * (size_t)total);
	run.to_start = total;
	run.again = true;
	int64_t start = now_ns();
	for (long i = 0; i < in_flight && run.to_start > 0; i++)
		start_call(&run.clients[i % run.client_count]);
	while (run.ended < total)
		turn();
	int64_t took = now_ns() - start;
	qsort(run.latency_ns, (size_t)run.latency_count, sizeof(int64_t), by_value);
	printf("%.0f calls/s, %ld failed, p50 %.0f us, p99 %.0f us\n", (double)total * 1e9 / (double)took, run.failed,
	       (double)run.latency_ns[total / 2] / 1e3, (double)run.latency_ns[total * 99 / 100] / 1e3);
	free(run.latency_ns);
}

static void run_polls(long polls)
{
	run.to_start = polls;
	for (long i = 0; i < polls; i++) {
		start_call(&run.clients[i % run.client_count]);
		if (i % 5000 == 4999)
			for (int k = 0; k < run.client_count; k++)
				send_all(&run.clients[k]);
	}
	for (int k = 0; k < run.client_count; k++)
		send_all(&run.clients[k]);
	printf("open\n");
	fflush(stdout);
	if (getchar() == EOF)
		errno = 0;
	for (int k = 0; k < run.client_count; k++) {
		int32_t next = (int32_t)nghttp2_session_get_next_stream_id(run.clients[k].session);
		for (int32_t id = 1; id < next; id += 2)
			nghttp2_submit_rst_stream(run.clients[k].session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
		send_all(&run.clients[k]);
	}
	printf("done %ld\n", run.ended);
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: grpc_load PORT calls|polls CONNECTIONS N [TOTAL [BYTES]]\n");
		return EXIT_FAILURE;
	}
	bool polls = strcmp(argv[2], "polls") == 0;
	size_t bytes = argc > 6 ? strtoul(argv[6], NULL, 10) : 100;
	run.client_count = (int)strtol(argv[3], NULL, 10);
	if (run.client_count < 1 || run.client_count > 256 || bytes > 60000)
		die("bad arguments");
	run.clients = mem_zalloc(sizeof(struct client) * (size_t)run.client_count);
	run.path = polls ? "/perdure.test.Echo/Wait" : "/perdure.test.Echo/Echo";
	run.body = bytes_of(polls ? (void *)"for ever" : mem_zalloc(bytes), polls ? 8 : bytes);
	for (int i = 0; i < run.client_count; i++)
		connect_client(&run.clients[i], (uint16_t)strtol(argv[1], NULL, 10));
	for (bool settled = false; !settled;) {
		turn();
		settled = true;
		for (int i = 0; i < run.client_count; i++)
			settled = settled && run.clients[i].settled;
	}
	long n = strtol(argv[4], NULL, 10);
	if (polls)
		run_polls(n);
	else
		run_calls(n, argc > 5 ? strtol(argv[5], NULL, 10) : 100000);
	return run.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
