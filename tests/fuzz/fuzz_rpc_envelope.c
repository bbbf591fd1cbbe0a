/*
 * What a peer may send: several messages (a 16-bit length before each) to an endpoint that serves every method and has
 * calls under way to that peer. Whatever can be read must come out the same when it is written and read again, and each
 * call ends at most once, each request is answered.
 */
#include <stdlib.h>

#include "common/rpc/envelope.h"
#include "common/rpc/rpc.h"
#include "tests/fuzz/fuzz.h"

#define CALLS 4

/* ------------------------------------------------------------------ written again */

static bool same_frame(const struct envelope_frame *a, const struct envelope_frame *b)
{
	return a->kind == b->kind && a->id == b->id && a->method == b->method && a->remaining_us == b->remaining_us &&
	       a->code == b->code && a->reason == b->reason && bytes_eq(a->traceparent, b->traceparent) &&
	       bytes_eq(a->message, b->message) && bytes_eq(a->detail_type, b->detail_type) &&
	       bytes_eq(a->detail, b->detail) && bytes_eq(a->body, b->body);
}

static void write_again(struct bytes message)
{
	struct envelope_reader r, again_r;
	struct envelope_header h, again_h;
	struct envelope_frame f, again_f;
	if (!envelope_read_header(&r, message, &h))
		return;
	bool valid = envelope_frames_valid(r);
	struct buf again = {0};
	envelope_put_header(&again, &h);
	bool ok = envelope_read_header(&again_r, buf_view(&again), &again_h);
	assert(ok && again_h.epoch == h.epoch && again_h.dropped == h.dropped && bytes_eq(again_h.from, h.from));
	while (!envelope_at_end(&r)) {
		ok = envelope_read_frame(&r, &f);
		assert(ok || !valid);
		if (!ok)
			break;
		size_t start = again.len;
		envelope_put_frame(&again, &f, &f.body, 1);
		again_r = (struct envelope_reader){again.data + start, again.data + again.len};
		ok = envelope_read_frame(&again_r, &again_f);
		assert(ok && envelope_at_end(&again_r) && same_frame(&f, &again_f));
	}
	buf_done(&again);
}

/* ------------------------------------------------------------------ an endpoint without a network */

static int64_t now_ns;

static int64_t clock_ns(struct env *e)
{
	(void)e;
	return now_ns;
}

static void random_bytes(struct env *e, void *out, size_t len)
{
	(void)e;
	memset(out, 7, len);
}

static void wake_at(struct env *e, int64_t due_ns)
{
	(void)e;
	(void)due_ns;
}

static const struct env_ops env_ops = {
	.wall_ns = clock_ns, .mono_ns = clock_ns, .random = random_bytes, .wake_at = wake_at, .post = env_defer};

static void net_send(struct rpc_net *n, const char *address, uint8_t *data, size_t len)
{
	(void)n;
	(void)address;
	/* What we send can be read, whatever we were sent. */
	struct envelope_reader r;
	struct envelope_header h;
	bool ok = envelope_read_header(&r, bytes_of(data, len), &h) && envelope_frames_valid(r);
	assert(ok);
	free(data);
}

static void net_forget(struct rpc_net *n, const char *address)
{
	(void)n;
	(void)address;
}

static void net_free(struct rpc_net *n)
{
	(void)n;
}

static const struct rpc_net_ops net_ops = {.send = net_send, .forget = net_forget, .free = net_free};

static struct rpc_request *kept[4096];
static size_t kept_count;

static void on_cancel(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	assert(rpc_cancelled(req));
}

/* Answers every other request at once, keeps the rest. */
static void on_request(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	struct bytes body = rpc_body(req);
	assert(rpc_from(req) && rpc_from_incarnation(req) != 0 && rpc_deadline_ns(req) >= now_ns);
	if (body.len % 2 == 0 || kept_count == sizeof kept / sizeof kept[0]) {
		rpc_reply(req, &body, 1);
		return;
	}
	rpc_on_cancel(req, on_cancel, NULL);
	kept[kept_count++] = req;
}

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	int *times = ctx;
	assert(++*times == 1);
	assert(!err_is(e) || (e.message && body.len == 0));
}

static void turn(struct env *env)
{
	for (int i = 0; i < 16 && env_run(env); i++)
		;
}

static void serve(struct bytes in)
{
	struct env env;
	struct rpc_net net = {.ops = &net_ops};
	int times[CALLS] = {0};
	env_init(&env, &env_ops);
	struct rpc *r = rpc_new(&env, &net, &(struct rpc_config){.address = "mem://us", .incarnation = 1});
	for (int i = 0; i < 256; i++)
		rpc_serve(r, (enum rpc_method)i, on_request, NULL);
	for (int i = 0; i < CALLS; i++)
		rpc_call(r, &(struct rpc_call){.address = "mem://peer",
					       .method = RPC_HISTORY_CALL,
					       .deadline_ns = now_ns + NS_PER_S,
					       .fn = on_reply,
					       .ctx = &times[i]});
	while (in.len >= 2) {
		size_t len = (size_t)in.data[0] | (size_t)in.data[1] << 8;
		in = bytes_of(in.data + 2, in.len - 2);
		len = len < in.len ? len : in.len;
		struct bytes message = bytes_of(in.data, len);
		in = bytes_of(in.data + len, in.len - len);
		write_again(message);
		net.on_message(net.ctx, message);
		turn(&env);
		if (len % 5 == 0)
			net.on_peer_down(net.ctx, "mem://peer");
		net.on_sent(net.ctx, "mem://peer");
		if (kept_count > 0 && len % 3 == 0)
			rpc_reply_err(kept[--kept_count], err_static(ERR_ABORTED, "kept"));
		now_ns += NS_PER_MS * 100;
	}
	turn(&env);
	rpc_free(r);
	while (kept_count > 0)
		rpc_reply(kept[--kept_count], NULL, 0);
	heap_done(&env.timers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	now_ns = NS_PER_S;
	serve(bytes_of(data, size));
	return 0;
}
