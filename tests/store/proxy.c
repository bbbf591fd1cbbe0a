/*
 * The proxy: accepts, connects to the server for each client, passes bytes both ways.
 */
#include "tests/store/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "common/base/bytes.h"
#include "common/mem/mem.h"

struct side {
	uv_pipe_t pipe;
	struct pair *pair;
	struct side *other;
	bool closed;
};

struct pair {
	struct proxy *proxy;
	struct side client, server;
	uv_connect_t connecting;
	struct buf held; /* of the client's, while the server isn't connected or the proxy holds */
	bool connected, answer_cut;
	int open;
	struct pair *prev, *next;
};

struct proxy {
	uv_pipe_t listener;
	uv_loop_t *uv;
	char *path, *server_path;
	enum proxy_cut cut;
	bool hold;
	bool freed;
	struct pair *pairs;
};

static void release(struct proxy *p)
{
	if (!p->freed || p->pairs)
		return;
	unlink(p->path);
	free(p->path);
	free(p->server_path);
	free(p);
}

static void on_side_closed(uv_handle_t *h)
{
	struct side *s = h->data;
	struct pair *pair = s->pair;
	if (--pair->open > 0)
		return;
	struct proxy *p = pair->proxy;
	DL_DELETE(p->pairs, pair);
	buf_done(&pair->held);
	free(pair);
	release(p);
}

static void close_pair(struct pair *pair)
{
	struct side *sides[] = {&pair->client, &pair->server};
	for (size_t i = 0; i < 2; i++) {
		if (!sides[i]->closed)
			uv_close((uv_handle_t *)&sides[i]->pipe, on_side_closed);
		sides[i]->closed = true;
	}
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *ret)
{
	(void)h;
	*ret = uv_buf_init(mem_alloc(want), (unsigned)want);
}

static void on_written(uv_write_t *w, int status)
{
	(void)status;
	free(w);
}

static void pass(struct side *to, const void *data, size_t len)
{
	if (to->closed || len == 0)
		return;
	uv_write_t *w = mem_alloc(sizeof *w + len);
	memcpy(w + 1, data, len);
	uv_buf_t b = uv_buf_init((char *)(w + 1), (unsigned)len);
	if (uv_write(w, (uv_stream_t *)&to->pipe, &b, 1, on_written) != 0)
		free(w);
}

static void pass_held(struct pair *pair)
{
	if (!pair->connected || pair->proxy->hold)
		return;
	pass(&pair->server, pair->held.data, pair->held.len);
	pair->held.len = 0;
}

static void from_client(struct pair *pair, const void *data, size_t len)
{
	struct proxy *p = pair->proxy;
	if (p->cut == PROXY_CUT_REQUEST) {
		p->cut = PROXY_CUT_NEVER;
		close_pair(pair);
		return;
	}
	if (p->cut == PROXY_CUT_ANSWER) {
		p->cut = PROXY_CUT_NEVER;
		pair->answer_cut = true;
	}
	buf_put(&pair->held, data, len);
	pass_held(pair);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct side *s = stream->data;
	struct pair *pair = s->pair;
	if (n < 0)
		close_pair(pair);
	else if (n > 0 && s == &pair->client)
		from_client(pair, b->base, (size_t)n);
	else if (n > 0 && pair->answer_cut)
		close_pair(pair);
	else if (n > 0)
		pass(s->other, b->base, (size_t)n);
	free(b->base);
}

static void on_connected(uv_connect_t *c, int status)
{
	struct pair *pair = c->data;
	if (status != 0) {
		close_pair(pair);
		return;
	}
	pair->connected = true;
	uv_read_start((uv_stream_t *)&pair->server.pipe, on_alloc, on_read);
	pass_held(pair);
}

static void side_init(struct proxy *p, struct pair *pair, struct side *s, struct side *other)
{
	uv_pipe_init(p->uv, &s->pipe, 0);
	s->pipe.data = s;
	s->pair = pair;
	s->other = other;
	pair->open++;
}

static void on_client(uv_stream_t *listener, int status)
{
	struct proxy *p = listener->data;
	if (status != 0)
		return;
	struct pair *pair = new0(struct pair);
	pair->proxy = p;
	DL_APPEND(p->pairs, pair);
	side_init(p, pair, &pair->client, &pair->server);
	side_init(p, pair, &pair->server, &pair->client);
	if (uv_accept(listener, (uv_stream_t *)&pair->client.pipe) != 0) {
		close_pair(pair);
		return;
	}
	uv_read_start((uv_stream_t *)&pair->client.pipe, on_alloc, on_read);
	pair->connecting.data = pair;
	uv_pipe_connect(&pair->connecting, &pair->server.pipe, p->server_path, on_connected);
}

struct proxy *proxy_new(struct loop *loop, const char *folder, int port, const char *server_socket)
{
	struct proxy *p = new0(struct proxy);
	struct buf path = {0};
	buf_printf(&path, "%s/.s.PGSQL.%d", folder, port);
	p->path = mem_dup(path.data, path.len + 1);
	p->path[path.len] = 0;
	buf_done(&path);
	p->server_path = mem_strdup(server_socket);
	p->uv = loop_uv(loop);
	uv_pipe_init(p->uv, &p->listener, 0);
	p->listener.data = p;
	int rc = uv_pipe_bind(&p->listener, p->path);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&p->listener, 16, on_client);
	if (rc != 0) {
		fprintf(stderr, "%s: %s\n", p->path, uv_strerror(rc));
		abort();
	}
	return p;
}

static void on_listener_closed(uv_handle_t *h)
{
	struct proxy *p = h->data;
	p->freed = true;
	release(p);
}

void proxy_free(struct proxy *p)
{
	struct pair *pair;
	DL_FOREACH (p->pairs, pair) {
		close_pair(pair);
	}
	uv_close((uv_handle_t *)&p->listener, on_listener_closed);
}

void proxy_set_cut(struct proxy *p, enum proxy_cut cut)
{
	p->cut = cut;
}

void proxy_hold(struct proxy *p, bool hold)
{
	p->hold = hold;
	struct pair *pair;
	DL_FOREACH (p->pairs, pair) {
		pass_held(pair);
	}
}
