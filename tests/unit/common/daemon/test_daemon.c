/*
 * A daemon's life, on real processes: a child runs daemon_main() with small roles, the test reads its log, asks its
 * HTTP port and signals it.
 */
#include <check.h>
#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/daemon/daemon.h"
#include "common/http/http.h"
#include "common/log/log.h"
#include "common/mem/mem.h"

/* ------------------------------------------------------------------ roles to run */

struct service {
	const struct daemon_ctx *ctx;
	struct env_timer timer;
	void (*drained)(void *ctx);
	void *drained_ctx;
	bool ready;
};

static void on_service_timer(struct env_timer *t)
{
	struct service *s = container_of(t, struct service, timer);
	if (s->drained)
		s->drained(s->drained_ctx);
	s->ready = true;
}

static struct err service_init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	(void)errors;
	struct service *s = new0(struct service);
	s->ctx = ctx;
	s->timer.fn = on_service_timer;
	env_timer_start(ctx->env, &s->timer, 5 * NS_PER_MS);
	log_info(ctx->log, "init", log_str("listen", ctx->rpc_listen), log_str("advertise", ctx->rpc_advertise),
		 log_bool("incarnation", ctx->incarnation != 0));
	*ret_service = s;
	return err_ok;
}

static bool service_ready(void *service, const char **ret_why)
{
	*ret_why = "claiming shards";
	return ((struct service *)service)->ready;
}

static void service_drain(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx)
{
	(void)grace_ns;
	struct service *s = service;
	s->drained = drained;
	s->drained_ctx = ctx;
	env_timer_start(s->ctx->env, &s->timer, NS_PER_MS);
}

static void never_drains(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx)
{
	(void)grace_ns;
	(void)drained;
	(void)ctx;
	log_info(((struct service *)service)->ctx->log, "stuck");
}

static void service_done(void *service)
{
	struct service *s = service;
	env_timer_stop(s->ctx->env, &s->timer);
	log_info(s->ctx->log, "done");
	free(s);
}

static struct err fails_init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	*ret_service = NULL;
	return err_make(errors, ERR_FAILED_PRECONDITION, "%s: no such schema", ctx->role);
}

static struct err fails_later(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	struct err e = service_init(ctx, errors, ret_service);
	daemon_fail(ctx->daemon, err_static(ERR_FAILED_PRECONDITION, "identity lost"));
	return e;
}

#define SERVICE .ready = service_ready, .drain = service_drain, .done = service_done
static const struct daemon_spec history = {.role = "history", .summary = "shards", .init = service_init, SERVICE};
static const struct daemon_spec frontend = {.role = "frontend", .summary = "edge", .init = service_init, SERVICE};
static const struct daemon_spec broken = {.role = "matching", .summary = "broken", .init = fails_init, SERVICE};
static const struct daemon_spec doomed = {.role = "matching", .summary = "doomed", .init = fails_later, SERVICE};
static const struct daemon_spec stuck = {.role = "matching",
					 .summary = "stuck",
					 .init = service_init,
					 .ready = service_ready,
					 .drain = never_drains,
					 .done = service_done};
static const struct daemon_spec bare = {
	.role = "worker_gateway", .summary = "bare", .init = service_init, .done = service_done};

/* ------------------------------------------------------------------ the child and its log */

struct child {
	pid_t pid;
	FILE *output;
	char log[65536]; /* what it has written so far */
	size_t log_len;
	int port;
};

/* Flags end with NULL; log.format, http ports and host are set for all. */
static void child_start(struct child *c, const struct daemon_spec *const *specs, size_t count, char *const *flags)
{
	int fds[2];
	*c = (struct child){0};
	ck_assert_int_eq(pipe(fds), 0);
	c->pid = fork();
	ck_assert_int_ge(c->pid, 0);
	if (c->pid == 0) {
		char *argv[32] = {"perdure-test",	   "--log.format=text",	     "--frontend.http_port=0",
				  "--history.http_port=0", "--matching.http_port=0", "--worker_gateway.http_port=0"};
		int argc = 6;
		while (flags && *flags)
			argv[argc++] = *flags++;
		dup2(fds[1], STDERR_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		exit(daemon_main(argc, argv, "perdure-test", specs, count));
	}
	close(fds[1]);
	c->output = fdopen(fds[0], "r");
}

/* Reads the child's output until a line contains text; false at its end. */
static bool child_says(struct child *c, const char *text)
{
	char line[4096];
	while (fgets(line, sizeof line, c->output)) {
		size_t len = strlen(line);
		ck_assert_uint_lt(c->log_len + len, sizeof c->log);
		memcpy(c->log + c->log_len, line, len + 1);
		c->log_len += len;
		if (strstr(line, text))
			return true;
	}
	return false;
}

static void child_ready(struct child *c)
{
	ck_assert_msg(child_says(c, " ready "), "%s", c->log);
	const char *port = strstr(c->log, "http_port=");
	ck_assert_ptr_nonnull(port);
	c->port = atoi(port + strlen("http_port="));
}

/* Its exit status, or 128 + signal; the rest of its output is in c->log. */
static int child_wait(struct child *c)
{
	int status;
	child_says(c, "\x01nothing");
	ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
	fclose(c->output);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static size_t on_answer(char *data, size_t size, size_t n, void *ctx)
{
	buf_put(ctx, data, size * n);
	return size * n;
}

/* The status; *ret_answer is static. */
static long get(const struct child *c, const char *path, const char **ret_answer)
{
	static struct buf answer;
	char url[128];
	long status = 0;
	answer.len = 0;
	CURL *curl = curl_easy_init();
	snprintf(url, sizeof url, "http://127.0.0.1:%d%s", c->port, path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	ck_assert_int_eq(curl_easy_perform(curl), CURLE_OK);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	buf_put(&answer, "", 1);
	*ret_answer = (const char *)answer.data;
	return status;
}

/* ------------------------------------------------------------------ tests */

START_TEST(serves_drains_and_exits)
{
	const struct daemon_spec *const specs[] = {&history};
	char *const flags[] = {"--history.rpc_port=1234", "--node.id=h1", NULL};
	struct child c;
	const char *answer;
	child_start(&c, specs, 1, flags);
	child_ready(&c);
	ck_assert_int_eq(get(&c, "/healthz", &answer), 200);
	ck_assert_int_eq(get(&c, "/readyz", &answer), 200);
	ck_assert_str_eq(answer, "ready\n");
	ck_assert_int_eq(get(&c, "/metrics", &answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "\nperdure_ready 1\n"));
	ck_assert_ptr_nonnull(strstr(answer, "program=\"perdure-test\"} 1\n"));
	kill(c.pid, SIGTERM);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_ptr_nonnull(strstr(c.log, "init role=history node=h1 listen=tcp://127.0.0.1:1234 "
					    "advertise=tcp://127.0.0.1:1234 incarnation=true\n"));
	const char *drain = strstr(c.log, " draining "), *done = strstr(c.log, " done ");
	ck_assert(drain && done && drain < done);
}
END_TEST

START_TEST(roles_start_in_order_and_drain_in_reverse)
{
	const struct daemon_spec *const specs[] = {&history, &bare, &frontend};
	char *const flags[] = {"--node.id=all", "--rpc.advertise=tcp://elsewhere:1", NULL};
	struct child c;
	child_start(&c, specs, 3, flags);
	child_ready(&c);
	kill(c.pid, SIGINT);
	ck_assert_int_eq(child_wait(&c), 0);
	static const char *const in_order[] = {
		"init role=history node=all-history listen=inproc://perdure-history advertise=inproc://perdure-history",
		"init role=worker_gateway node=all-worker_gateway",
		"init role=frontend node=all-frontend",
		"draining role=frontend",
		"draining role=history",
		"done role=frontend",
		"done role=worker_gateway",
		"done role=history",
		"stopped status=0",
	};
	const char *at = c.log;
	for (size_t i = 0; i < array_len(in_order); i++) {
		const char *found = strstr(at, in_order[i]);
		ck_assert_msg(found, "%s is not where it should be in:\n%s", in_order[i], c.log);
		at = found;
	}
}
END_TEST

START_TEST(a_role_that_cannot_start_ends_the_process)
{
	const struct daemon_spec *const specs[] = {&history, &broken};
	struct child c;
	child_start(&c, specs, 2, NULL);
	ck_assert_int_eq(child_wait(&c), 1);
	ck_assert_ptr_nonnull(
		strstr(c.log, "cannot start error=\"matching: no such schema\" code=FAILED_PRECONDITION\n"));
	ck_assert_ptr_nonnull(strstr(c.log, "done role=history"));
	ck_assert_ptr_null(strstr(c.log, "done role=matching"));
}
END_TEST

START_TEST(a_role_that_cannot_go_on_ends_the_process)
{
	const struct daemon_spec *const specs[] = {&doomed};
	struct child c;
	child_start(&c, specs, 1, NULL);
	ck_assert_int_eq(child_wait(&c), 1);
	ck_assert_ptr_nonnull(strstr(c.log, "cannot go on error=\"identity lost\""));
	ck_assert_ptr_nonnull(strstr(c.log, "done role=matching"));
}
END_TEST

START_TEST(grace_ends_what_does_not_drain)
{
	const struct daemon_spec *const specs[] = {&stuck};
	char *const flags[] = {"--node.drain_grace=20ms", NULL};
	struct child c;
	child_start(&c, specs, 1, flags);
	child_ready(&c);
	kill(c.pid, SIGTERM);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_ptr_nonnull(strstr(c.log, "not drained within the grace, stopping anyway role=matching\n"));
	ck_assert_ptr_nonnull(strstr(c.log, "done role=matching"));
}
END_TEST

START_TEST(not_ready_while_draining_and_a_second_signal_ends_it)
{
	const struct daemon_spec *const specs[] = {&stuck};
	struct child c;
	const char *answer;
	child_start(&c, specs, 1, NULL);
	child_ready(&c);
	kill(c.pid, SIGTERM);
	ck_assert(child_says(&c, " stuck "));
	ck_assert_int_eq(get(&c, "/readyz", &answer), 503);
	ck_assert_str_eq(answer, "perdure-test: draining\n");
	ck_assert_int_eq(get(&c, "/healthz", &answer), 200);
	kill(c.pid, SIGTERM);
	ck_assert_int_eq(child_wait(&c), 1);
	ck_assert_ptr_nonnull(strstr(c.log, "second signal, stopping at once"));
}
END_TEST

START_TEST(a_supervisor_is_told)
{
	const struct daemon_spec *const specs[] = {&history};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof addr.sun_path, "/tmp/test_daemon_%d.sock", getpid());
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	struct child c;
	child_start(&c, specs, 1, NULL);
	char text[64];
	ssize_t n = recv(fd, text, sizeof text - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_str_eq(text, "READY=1");
	kill(c.pid, SIGTERM);
	n = recv(fd, text, sizeof text - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_str_eq(text, "STOPPING=1");
	ck_assert_int_eq(child_wait(&c), 0);
	close(fd);
	unlink(addr.sun_path);
}
END_TEST

START_TEST(the_command_line)
{
	const struct daemon_spec *const specs[] = {&history};
	struct child c;
	char *const help[] = {"--help", NULL}, *const version[] = {"--version", NULL},
		    *const print[] = {"--print-config", NULL}, *const bad[] = {"--history.cache_bytes=lots", NULL};
	child_start(&c, specs, 1, help);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_ptr_nonnull(strstr(c.log, "Usage: perdure-test"));
	child_start(&c, specs, 1, version);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_int_eq(strncmp(c.log, "perdure-test ", 13), 0);
	child_start(&c, specs, 1, print);
	ck_assert_int_eq(child_wait(&c), 0);
	ck_assert_ptr_nonnull(strstr(c.log, "\nhistory:\n"));
	child_start(&c, specs, 1, bad);
	ck_assert_int_eq(child_wait(&c), 2);
	ck_assert_str_eq(c.log,
			 "perdure-test: flag --history.cache_bytes: history.cache_bytes: expected a size such as "
			 "4096, 64KiB, 256MiB, 2GiB, got \"lots\"\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/daemon");
	TCase *tests = tcase_create("daemon");
	tcase_add_test(tests, serves_drains_and_exits);
	tcase_add_test(tests, roles_start_in_order_and_drain_in_reverse);
	tcase_add_test(tests, a_role_that_cannot_start_ends_the_process);
	tcase_add_test(tests, a_role_that_cannot_go_on_ends_the_process);
	tcase_add_test(tests, grace_ends_what_does_not_drain);
	tcase_add_test(tests, not_ready_while_draining_and_a_second_signal_ends_it);
	tcase_add_test(tests, a_supervisor_is_told);
	tcase_add_test(tests, the_command_line);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
