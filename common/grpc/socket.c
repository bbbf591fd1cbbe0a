/*
 * The transport of a connection: libuv's TCP, with TLS in between or not.
 */
#include "common/grpc/socket.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/grpc/internal.h"
#include "common/mem/mem.h"

struct grpc_socket {
	struct grpc_conn conn;
	uv_tcp_t tcp;
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct buf flying; /* what `write` sends */
	struct buf wire;   /* TLS: encrypted, waits for `write` */
	struct grpc_tls_conn *tls;
};

static struct grpc_socket *socket_of(struct grpc_conn *conn)
{
	return container_of(conn, struct grpc_socket, conn);
}

static void send_wire(struct grpc_socket *sock);

static void on_written(uv_write_t *req, int status)
{
	struct grpc_socket *sock = req->data;
	struct grpc_conn *conn = &sock->conn;
	conn->in_flight = 0;
	grpc_server_give_buf(conn->server, &sock->flying);
	if (conn->closing)
		return;
	if (status < 0) {
		grpc_conn_abort(conn);
		return;
	}
	send_wire(sock);
	if (!conn->closing && !conn->in_flight)
		grpc_conn_written(conn);
}

/* Takes the bytes of *b. Nothing is in flight. */
static void send_buf(struct grpc_socket *sock, struct buf *b)
{
	struct grpc_conn *conn = &sock->conn;
	uv_stream_t *stream = (uv_stream_t *)&sock->tcp;
	uv_buf_t part = uv_buf_init((char *)b->data, (unsigned)b->len);
	conn->server->stats.bytes_out += b->len;
	int n = uv_try_write(stream, &part, 1);
	if (n == (int)b->len) {
		b->len = 0;
		return;
	}
	if (n < 0 && n != UV_EAGAIN) {
		grpc_conn_abort(conn);
		return;
	}
	if (n > 0) {
		part.base += n;
		part.len -= (size_t)n;
	}
	sock->flying = *b;
	*b = (struct buf){0};
	conn->in_flight = part.len;
	sock->write.data = sock;
	if (uv_write(&sock->write, stream, &part, 1, on_written) != 0) {
		conn->in_flight = 0;
		grpc_conn_abort(conn);
	}
}

/* TLS: sends what is encrypted, unless something is on its way. */
static void send_wire(struct grpc_socket *sock)
{
	if (!sock->tls || sock->conn.closing || sock->conn.in_flight)
		return;
	grpc_tls_drain(sock->tls, &sock->wire);
	if (sock->wire.len)
		send_buf(sock, &sock->wire);
	else
		buf_done(&sock->wire);
}

static void io_write(struct grpc_conn *conn, struct buf *out)
{
	struct grpc_socket *sock = socket_of(conn);
	if (!sock->tls) {
		send_buf(sock, out);
		return;
	}
	if (!grpc_tls_write(sock->tls, out->data, out->len)) {
		grpc_conn_abort(conn);
		return;
	}
	out->len = 0;
	send_wire(sock);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	(void)suggested;
	const struct grpc_socket *sock = h->data;
	*ret = uv_buf_init((char *)sock->conn.server->read_buf, GRPC_READ_BYTES);
}

static void tls_input(struct grpc_socket *sock, const uint8_t *data, size_t len)
{
	struct grpc_conn *conn = &sock->conn;
	uint8_t *plain = conn->server->read_buf + GRPC_READ_BYTES;
	bool ok = grpc_tls_feed(sock->tls, data, len);
	while (ok && !conn->closing) {
		int n = grpc_tls_read(sock->tls, plain, GRPC_PLAIN_BYTES);
		if (n <= 0) {
			ok = n == 0;
			break;
		}
		if (!conn->session)
			conn->subject = grpc_tls_subject(sock->tls);
		grpc_conn_input(conn, plain, (size_t)n);
	}
	/* Also after a failure: the alert says why. */
	send_wire(sock);
	if (!ok)
		grpc_conn_abort(conn);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct grpc_socket *sock = stream->data;
	if (n < 0) {
		grpc_conn_abort(&sock->conn);
		return;
	}
	sock->conn.server->stats.bytes_in += (size_t)n;
	if (n == 0)
		return;
	if (sock->tls)
		tls_input(sock, (const uint8_t *)b->base, (size_t)n);
	else
		grpc_conn_input(&sock->conn, (const uint8_t *)b->base, (size_t)n);
}

static void io_set_reading(struct grpc_conn *conn, bool on)
{
	uv_stream_t *stream = (uv_stream_t *)&socket_of(conn)->tcp;
	if (on)
		uv_read_start(stream, on_alloc, on_read);
	else
		uv_read_stop(stream);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	/* The peer's end of the stream, or the linger timer, does the rest. */
	(void)req;
	(void)status;
}

static void io_shutdown(struct grpc_conn *conn)
{
	struct grpc_socket *sock = socket_of(conn);
	if (sock->tls) {
		grpc_tls_shutdown(sock->tls);
		send_wire(sock);
	}
	if (!conn->closing)
		uv_shutdown(&sock->shutdown, (uv_stream_t *)&sock->tcp, on_shutdown);
}

static void on_closed(uv_handle_t *h)
{
	struct grpc_socket *sock = h->data;
	grpc_conn_closed(&sock->conn);
}

static void io_close(struct grpc_conn *conn)
{
	uv_close((uv_handle_t *)&socket_of(conn)->tcp, on_closed);
}

static void io_release(struct grpc_conn *conn)
{
	struct grpc_socket *sock = socket_of(conn);
	struct grpc_server *s = conn->server;
	grpc_tls_conn_free(sock->tls);
	buf_done(&sock->wire);
	buf_done(&sock->flying);
	free(sock);
	grpc_server_handle_closed(s);
}

static const struct grpc_io io = {.write = io_write,
				  .set_reading = io_set_reading,
				  .shutdown = io_shutdown,
				  .close = io_close,
				  .release = io_release};

static void name_peer(struct grpc_socket *sock)
{
	struct sockaddr_storage a;
	int len = sizeof a;
	char ip[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;
	if (uv_tcp_getpeername(&sock->tcp, (struct sockaddr *)&a, &len) == 0) {
		uv_ip_name((struct sockaddr *)&a, ip, sizeof ip);
		port = ntohs(((struct sockaddr_in *)&a)->sin_port);
	}
	snprintf(sock->conn.peer, sizeof sock->conn.peer, strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, port);
}

static void on_turned_away(uv_handle_t *h)
{
	struct grpc_socket *sock = h->data;
	struct grpc_server *s = sock->conn.server;
	free(sock);
	grpc_server_handle_closed(s);
}

void grpc_socket_accept(struct grpc_server *s, uv_stream_t *listener)
{
	struct grpc_socket *sock = new0(struct grpc_socket);
	sock->conn.server = s;
	sock->tcp.data = sock;
	int rc = uv_tcp_init(loop_uv(s->loop), &sock->tcp);
	assert(rc == 0);
	s->handles++;
	rc = uv_accept(listener, (uv_stream_t *)&sock->tcp);
	if (rc != 0 || s->draining || s->conn_count >= s->config.connections_max) {
		s->stats.connections_refused++;
		uv_close((uv_handle_t *)&sock->tcp, on_turned_away);
		return;
	}
	uv_tcp_nodelay(&sock->tcp, 1);
	name_peer(sock);
	if (s->tls)
		sock->tls = grpc_tls_conn_new(s->tls);
	grpc_conn_init(&sock->conn, s, &io);
	io_set_reading(&sock->conn, true);
}
