/*
 * What a call between daemons costs: two processes over one transport, n calls in flight.
 *
 *     rpc_bench [URL] [SECONDS]        URL: tcp://127.0.0.1:17999 by default
 *
 * Prints for 1, 50 and 500 in flight: calls a second, microseconds a call, and microseconds of CPU a call on each side.
 * Not run by the tests.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/loop/loop.h"
#include "common/rpc/rpc.h"

#define BODY_BYTES 300

struct client {
	struct loop *loop;
	struct rpc *rpc;
	const char *server;
	int in_flight_max;
	int in_flight;
	uint64_t calls;
	bool stop;
	struct env_timer timer;
};

static void fail(const char *what)
{
	fprintf(stderr, "rpc_bench: %s\n", what);
	exit(EXIT_FAILURE);
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double cpu_of(int who)
{
	struct rusage u;
	getrusage(who, &u);
	return seconds(u.ru_utime) + seconds(u.ru_stime);
}

/* Its CPU so far, from /proc: the server goes on running between the rounds. */
static double cpu_of_process(pid_t pid)
{
	char path[64], line[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f || !fgets(line, sizeof line, f))
		fail("cannot read /proc");
	fclose(f);
	unsigned long user = 0, sys = 0;
	const char *rest = strrchr(line, ')');
	if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
		fail("cannot parse /proc");
	return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

static struct rpc *endpoint(struct loop *loop, const char *address)
{
	struct arena *errors = arena_new(4096);
	struct rpc_net *net;
	struct err e = rpc_nng_new(loop, &(struct rpc_nng_config){.listen = address}, errors, &net);
	if (err_is(e))
		fail(e.message);
	arena_free(errors);
	return rpc_new(loop_env(loop), net,
		       &(struct rpc_config){.address = address, .incarnation = (uint64_t)getpid()});
}

static void on_echo(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	struct bytes body = rpc_body(req);
	rpc_reply(req, &body, 1);
}

static void serve(const char *address)
{
	struct loop *loop = loop_new();
	struct rpc *rpc = endpoint(loop, address);
	rpc_serve(rpc, RPC_HISTORY_CALL, on_echo, NULL);
	loop_run(loop);
}

static void call_more(struct client *c);

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct client *c = ctx;
	(void)body;
	c->in_flight--;
	/* The first calls may come before the server listens. */
	if (!err_is(e))
		c->calls++;
	else if (e.code != ERR_UNAVAILABLE)
		fail(e.message);
	call_more(c);
}

static void call_more(struct client *c)
{
	static const uint8_t body[BODY_BYTES];
	struct bytes part = bytes_of(body, sizeof body);
	while (!c->stop && c->in_flight < c->in_flight_max) {
		c->in_flight++;
		rpc_call(c->rpc, &(struct rpc_call){.address = c->server,
						    .method = RPC_HISTORY_CALL,
						    .parts = &part,
						    .part_count = 1,
						    .deadline_ns = env_mono_ns(rpc_env(c->rpc)) + 10 * NS_PER_S,
						    .fn = on_reply,
						    .ctx = c});
	}
}

static void on_stop(struct env_timer *t)
{
	container_of(t, struct client, timer)->stop = true;
}

static void measure(struct client *c, int in_flight, double duration_s, pid_t server)
{
	struct env *env = loop_env(c->loop);
	double client_cpu = cpu_of(RUSAGE_SELF), server_cpu = cpu_of_process(server);
	int64_t start_ns = env_mono_ns(env);
	uint64_t messages = rpc_stats(c->rpc).messages_sent;
	c->stop = false;
	c->calls = 0;
	c->in_flight_max = in_flight;
	c->timer.fn = on_stop;
	env_timer_start(env, &c->timer, (int64_t)(duration_s * 1e9));
	call_more(c);
	while (!c->stop || c->in_flight > 0)
		uv_run(loop_uv(c->loop), UV_RUN_ONCE);
	double took_s = (double)(env_mono_ns(env) - start_ns) / 1e9;
	double calls = (double)c->calls;
	client_cpu = cpu_of(RUSAGE_SELF) - client_cpu;
	server_cpu = cpu_of_process(server) - server_cpu;
	messages = rpc_stats(c->rpc).messages_sent - messages;
	printf("%4d in flight: %8.0f calls/s, %7.1f us each, CPU a call: %5.1f us caller, %5.1f us callee, %5.1f calls "
	       "a message\n",
	       in_flight, calls / took_s, took_s * 1e6 * in_flight / calls, client_cpu * 1e6 / calls,
	       server_cpu * 1e6 / calls, calls / (double)messages);
}

int main(int argc, char **argv)
{
	const char *address = argc > 1 ? argv[1] : "tcp://127.0.0.1:17999";
	double duration_s = argc > 2 ? strtod(argv[2], NULL) : 2;
	pid_t pid = fork();
	if (pid < 0)
		fail("cannot fork");
	if (pid == 0) {
		serve(address);
		return 0;
	}
	/* The caller's own inbox: the same transport, another port or path. */
	char own[RPC_ADDRESS_BYTES_MAX + 1];
	snprintf(own, sizeof own, "%s1", address);
	if (strncmp(address, "tcp", 3) == 0)
		snprintf(own, sizeof own, "tcp://127.0.0.1:18000");
	struct client c = {.loop = loop_new(), .server = address};
	c.rpc = endpoint(c.loop, own);
	measure(&c, 1, 0.3, pid);
	printf("-- warm\n");
	measure(&c, 1, duration_s, pid);
	measure(&c, 50, duration_s, pid);
	measure(&c, 500, duration_s, pid);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	rpc_free(c.rpc);
	loop_free(c.loop);
	return 0;
}
