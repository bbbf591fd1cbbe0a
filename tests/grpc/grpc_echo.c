/*
 * A server for the tests of common/grpc: a few methods that show what the transport does.
 *
 *   grpc_echo [name=value …]      e.g. port=7000 ping_interval_min_ms=1000 cert=server.pem key=server.key
 *
 * Prints "port N" when it serves; drains on SIGTERM. Methods of perdure.test.Echo, on plain bytes:
 *   Echo   answers the request
 *   Fail   "<code> <text>": that error, with a detail when the text begins with "detail"
 *   Big    "<n>": n bytes
 *   Wait   "<ms>": answers after that time; "for ever": when cancelled or drained
 *   Stats  "calls connections cancelled abusive refused rss_kb"
 *   Meta   "<key>": the value of that metadata key; ":peer" and ":subject" are what the server knows of the client
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "common/grpc/grpc_builtin.h"
#include "common/mem/mem.h"

struct wait {
	struct echo *echo;
	struct grpc_call *call;
	struct env_timer timer;
	struct wait *prev, *next;
};

struct echo {
	struct loop *loop;
	struct grpc_server *server;
	struct grpc_builtin *builtin;
	struct wait *waits;
};

static const char service[] = "perdure.test.Echo";

static char *text_of(struct grpc_call *call)
{
	struct bytes m = grpc_message(call);
	char *text = mem_zalloc(m.len + 1);
	if (m.len)
		memcpy(text, m.data, m.len);
	return text;
}

static void serve_echo(struct echo *e, struct grpc_call *call)
{
	(void)e;
	struct bytes m = grpc_message(call);
	/* In two parts, to exercise their concatenation. */
	const struct bytes parts[] = {bytes_of(m.data, m.len / 2), bytes_of(m.data + m.len / 2, m.len - m.len / 2)};
	grpc_finish(call, err_ok, m.len ? parts : NULL, m.len ? 2 : 0);
}

static void serve_fail(struct echo *e, struct grpc_call *call)
{
	(void)e;
	char *text = text_of(call), *message;
	struct err error = {.code = (enum err_code)strtol(text, &message, 10)};
	error.message = message + (*message == ' ');
	if (strncmp(error.message, "detail", 6) == 0) {
		error.detail_type = "google.protobuf.StringValue";
		error.detail = bytes_of("\x0a\x02hi", 4);
	}
	grpc_finish(call, error, NULL, 0);
	free(text);
}

static void serve_big(struct echo *e, struct grpc_call *call)
{
	(void)e;
	char *text = text_of(call);
	size_t len = strtoul(text, NULL, 10);
	uint8_t *data = mem_alloc(len);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 31 >> 3);
	struct bytes part = bytes_of(data, len);
	grpc_finish(call, err_ok, &part, 1);
	free(data);
	free(text);
}

static void wait_end(struct wait *w, bool done)
{
	struct bytes part = bytes_str("waited");
	env_timer_stop(loop_env(w->echo->loop), &w->timer);
	DL_DELETE(w->echo->waits, w);
	grpc_finish(w->call, done ? err_ok : err_static(ERR_CANCELLED, "cancelled"), &part, 1);
	free(w);
}

static void on_wait_timer(struct env_timer *t)
{
	wait_end(container_of(t, struct wait, timer), true);
}

static void on_wait_cancel(void *user, struct grpc_call *call)
{
	(void)call;
	wait_end(user, false);
}

static void serve_wait(struct echo *e, struct grpc_call *call)
{
	struct wait *w = new0(struct wait);
	char *text = text_of(call), *end;
	long ms = strtol(text, &end, 10);
	w->echo = e;
	w->call = call;
	w->timer.fn = on_wait_timer;
	DL_APPEND(e->waits, w);
	grpc_set_user(call, w);
	grpc_on_cancel(call, on_wait_cancel);
	grpc_slim(call);
	if (end != text)
		env_timer_start(loop_env(e->loop), &w->timer, ms * NS_PER_MS);
	free(text);
}

static long rss_kb(void)
{
	long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f) {
		if (fscanf(f, "%ld %ld", &size, &resident) != 2)
			resident = 0;
		fclose(f);
	}
	return resident * sysconf(_SC_PAGESIZE) / 1024;
}

static void serve_stats(struct echo *e, struct grpc_call *call)
{
	struct grpc_stats s = grpc_server_stats(e->server);
	struct buf b = {0};
	buf_printf(&b, "%d %d %llu %llu %llu %ld", grpc_server_calls(e->server) - 1, grpc_server_connections(e->server),
		   (unsigned long long)s.cancelled, (unsigned long long)s.abusive, (unsigned long long)s.refused,
		   rss_kb());
	struct bytes part = buf_view(&b);
	grpc_finish(call, err_ok, &part, 1);
	buf_done(&b);
}

static void serve_meta(struct echo *e, struct grpc_call *call)
{
	(void)e;
	char *key = text_of(call);
	const char *value = strcmp(key, ":peer") == 0	   ? grpc_peer(call)
			    : strcmp(key, ":subject") == 0 ? grpc_peer_subject(call)
							   : grpc_metadata(call, key);
	struct bytes part = bytes_str(value ? value : "(none)");
	grpc_finish(call, err_ok, &part, 1);
	free(key);
}

static const struct {
	const char *path;
	void (*serve)(struct echo *e, struct grpc_call *call);
} methods[] = {
	{"/perdure.test.Echo/Echo", serve_echo},   {"/perdure.test.Echo/Fail", serve_fail},
	{"/perdure.test.Echo/Big", serve_big},	   {"/perdure.test.Echo/Wait", serve_wait},
	{"/perdure.test.Echo/Stats", serve_stats}, {"/perdure.test.Echo/Meta", serve_meta},
};

static void serve(void *ctx, struct grpc_call *call)
{
	struct echo *e = ctx;
	if (grpc_builtin_serve(e->builtin, call))
		return;
	for (size_t i = 0; i < array_len(methods); i++) {
		if (strcmp(grpc_path(call), methods[i].path) != 0)
			continue;
		methods[i].serve(e, call); /* may have freed the call */
		return;
	}
}

static bool known(void *ctx, const char *path, bool *ret_streaming)
{
	(void)ctx;
	*ret_streaming = false;
	for (size_t i = 0; i < array_len(methods); i++)
		if (strcmp(path, methods[i].path) == 0)
			return true;
	return grpc_builtin_known(path, ret_streaming);
}

static bool known_service(void *ctx, const char *name, size_t len)
{
	(void)ctx;
	return len == sizeof service - 1 && memcmp(name, service, len) == 0;
}

static void on_drained(void *ctx)
{
	struct echo *e = ctx;
	grpc_server_free(e->server);
	e->server = NULL;
	loop_stop(e->loop);
}

static void on_signal(void *ctx, int signum)
{
	(void)signum;
	struct echo *e = ctx;
	grpc_builtin_stop(e->builtin);
	grpc_server_drain(e->server, 10 * NS_PER_S, on_drained, e);
	while (e->waits)
		wait_end(e->waits, true);
}

static void set(struct grpc_config *c, const char *name, const char *value)
{
	long n = strtol(value, NULL, 10);
	const struct {
		const char *name;
		int64_t *ns;
	} times[] = {{"ping_interval_min_ms", &c->ping_interval_min_ns},
		     {"keepalive_idle_ms", &c->keepalive_idle_ns},
		     {"keepalive_timeout_ms", &c->keepalive_timeout_ns},
		     {"header_timeout_ms", &c->header_timeout_ns},
		     {"connection_age_max_ms", &c->connection_age_max_ns},
		     {"connection_age_grace_ms", &c->connection_age_grace_ns}};
	for (size_t i = 0; i < array_len(times); i++)
		if (strcmp(name, times[i].name) == 0)
			*times[i].ns = n * NS_PER_MS;
	if (strcmp(name, "port") == 0)
		c->port = (uint16_t)n;
	else if (strcmp(name, "message_bytes_max") == 0)
		c->message_bytes_max = n;
	else if (strcmp(name, "connections_max") == 0)
		c->connections_max = (int)n;
	else if (strcmp(name, "streams_max") == 0)
		c->streams_per_connection_max = (int)n;
	else if (strcmp(name, "unread_bytes_max") == 0)
		c->unread_bytes_max = n;
	else if (strcmp(name, "compress_bytes_min") == 0)
		c->compress_bytes_min = n;
	else if (strcmp(name, "cert") == 0)
		c->tls_cert_file = value;
	else if (strcmp(name, "key") == 0)
		c->tls_key_file = value;
	else if (strcmp(name, "ca") == 0)
		c->tls_client_ca_file = value;
	else if (strcmp(name, "client_cert") == 0)
		c->tls_client_required = n != 0;
}

int main(int argc, char **argv)
{
	struct echo e = {.loop = loop_new()};
	struct arena *errors = arena_new(0);
	struct grpc_config config;
	struct grpc_handlers handlers = {.serve = serve, .known = known, .known_service = known_service, .ctx = &e};
	grpc_config_defaults(&config);
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		if (value) {
			*value = 0;
			set(&config, argv[i], value + 1);
		}
	}
	e.builtin = grpc_builtin_new(loop_env(e.loop));
	struct err error = grpc_server_new(e.loop, &config, &handlers, errors, &e.server);
	if (err_is(error)) {
		fprintf(stderr, "%s\n", error.message);
		return EXIT_FAILURE;
	}
	grpc_builtin_set_health(e.builtin, "", true);
	grpc_builtin_set_health(e.builtin, service, true);
	loop_on_signal(e.loop, SIGTERM, on_signal, &e);
	printf("port %u\n", grpc_server_port(e.server));
	fflush(stdout);
	loop_run(e.loop);
	grpc_builtin_free(e.builtin);
	loop_free(e.loop);
	arena_free(errors);
	return EXIT_SUCCESS;
}
