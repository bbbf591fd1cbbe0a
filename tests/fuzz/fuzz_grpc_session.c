/*
 * A whole server connection over memory: the input is what a client sends, from the HTTP/2 preface on.
 *
 * The first byte chooses how the input is cut, the second how much the client's kernel takes at a time
 * and after how many writes the client is gone. The preface is
 * sent by the harness, so that mutations reach the frames. Methods answer at once, later, in a stream or never until
 * they are cancelled.
 */
#include <stdlib.h>

#include "common/grpc/grpc_builtin.h"
#include "common/grpc/internal.h"
#include "common/mem/mem.h"
#include "tests/fuzz/fuzz.h"

#define WAITING_MAX 64

static struct {
	int64_t now_ns;
	struct grpc_conn *conn;
	struct grpc_call *waiting[WAITING_MAX];
	int waiting_count;
	size_t window;	 /* bytes that the transport takes at once */
	int writes_left; /* then the peer is gone */
	bool closed, released;
} world;

static struct loop *loop;
static struct grpc_server *server;
static struct grpc_builtin *builtin;

/* ---- transport ---- */

static void io_write(struct grpc_conn *conn, struct buf *out)
{
	assert(!conn->in_flight && !conn->closing && out->len > 0);
	if (world.writes_left-- == 0) {
		grpc_conn_abort(conn);
		return;
	}
	conn->in_flight = out->len > world.window ? out->len - world.window : 0;
	out->len = 0;
}

static void io_set_reading(struct grpc_conn *conn, bool on)
{
	(void)conn;
	(void)on;
}

static void io_shutdown(struct grpc_conn *conn)
{
	if (world.writes_left-- == 0)
		grpc_conn_abort(conn);
}

static void io_close(struct grpc_conn *conn)
{
	(void)conn;
	assert(!world.closed);
	world.closed = true;
}

static void io_release(struct grpc_conn *conn)
{
	struct grpc_server *s = conn->server;
	world.released = true;
	free(conn);
	grpc_server_handle_closed(s);
}

static const struct grpc_io io = {.write = io_write,
				  .set_reading = io_set_reading,
				  .shutdown = io_shutdown,
				  .close = io_close,
				  .release = io_release};

/* ---- methods ---- */

static void finish_waiting(int i, bool ok)
{
	struct grpc_call *call = world.waiting[i];
	world.waiting[i] = world.waiting[--world.waiting_count];
	static uint8_t large[200000];
	struct bytes part = bytes_of(large, ok ? sizeof large : 0);
	grpc_finish(call, ok ? err_ok : err_static(ERR_CANCELLED, "cancelled"), &part, 1);
}

static void on_cancel(void *user, struct grpc_call *call)
{
	(void)user;
	assert(grpc_cancelled(call));
	for (int i = 0; i < world.waiting_count; i++)
		if (world.waiting[i] == call)
			finish_waiting(i, false);
}

static void serve(void *ctx, struct grpc_call *call)
{
	(void)ctx;
	if (grpc_builtin_serve(builtin, call))
		return;
	struct bytes m = grpc_message(call);
	char kind = grpc_path(call)[3];
	if (kind == 'w' && world.waiting_count < WAITING_MAX) {
		world.waiting[world.waiting_count++] = call;
		grpc_on_cancel(call, on_cancel);
		grpc_slim(call);
		return;
	}
	if (kind == 'f') {
		grpc_finish(call, err_static(ERR_NOT_FOUND, "no\nsuch"), NULL, 0);
		return;
	}
	const struct bytes parts[] = {m, m};
	grpc_finish(call, err_ok, parts, 2);
}

static bool known(void *ctx, const char *path, bool *ret_streaming)
{
	(void)ctx;
	*ret_streaming = false;
	return strncmp(path, "/p/", 3) == 0 || grpc_builtin_known(path, ret_streaming);
}

/* ---- driving ---- */

static void setup(void)
{
	struct grpc_config config;
	struct grpc_handlers handlers = {.serve = serve, .known = known};
	struct arena *errors = arena_new(0);
	loop = loop_new();
	builtin = grpc_builtin_new(loop_env(loop));
	grpc_config_defaults(&config);
	config.message_bytes_max = 65536;
	config.streams_per_connection_max = 100;
	config.unread_bytes_max = 300000;
	struct err e = grpc_server_new(loop, &config, &handlers, errors, &server);
	if (err_is(e)) {
		abort();
	}
	arena_free(errors);
}

/* What a turn of the loop would do after input. */
static void turn(void)
{
	env_run(loop_env(loop));
	if (world.conn->dirty)
		grpc_conn_flush(world.conn);
	if (world.conn->in_flight && !world.conn->closing) {
		world.conn->in_flight = 0;
		grpc_conn_written(world.conn);
	}
}

static void run(struct bytes in, size_t step)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
	grpc_conn_input(world.conn, (const uint8_t *)preface, sizeof preface - 1);
	grpc_conn_input(world.conn, settings, sizeof settings);
	int pieces = 0;
	for (size_t at = 0; at < in.len; at += step) {
		grpc_conn_input(world.conn, in.data + at, in.len - at < step ? in.len - at : step);
		if (++pieces % 3 == 0)
			turn();
		if (pieces % 7 == 0 && world.waiting_count)
			finish_waiting(0, true);
		if (pieces == 40)
			grpc_conn_drain(world.conn);
	}
	turn();
	while (world.waiting_count > 1)
		finish_waiting(0, true);
	turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (!loop)
		setup();
	memset(&world, 0, sizeof world);
	world.window = (size_t)(data[1] >> 4) * 1000;
	world.writes_left = (data[1] & 15) - 1; /* 0: for ever */
	world.conn = new0(struct grpc_conn);
	server->handles++;
	grpc_conn_init(world.conn, server, &io);
	run(bytes_of(data + 2, size - 2), (size_t)data[0] + 1);
	grpc_conn_abort(world.conn);
	for (int i = 0; i < 4; i++)
		env_run(loop_env(loop));
	while (world.waiting_count)
		finish_waiting(0, false);
	assert(world.closed && !world.released);
	grpc_conn_closed(world.conn);
	assert(world.released && grpc_server_calls(server) == 0 && grpc_server_connections(server) == 0);
	assert(server->request_bytes == 0);
	return 0;
}
