/*
 * The life of a process: configure, start the roles, serve, drain, end.
 *
 *   STARTING ──all ready──► SERVING ──signal, daemon_fail──► DRAINING ──all drained, or grace──► STOPPED
 *      └──────────────────────signal, daemon_fail───────────────┘
 */
#include "common/daemon/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/daemon/daemon_priv.h"
#include "common/daemon/version.h"
#include "common/mem/mem.h"
#include "common/tls/tls_watch.h"

#define TICK_NS	 NS_PER_S
#define PROBE_NS (20 * NS_PER_MS)
/* An exit in good order that takes this much longer than the grace hangs in somebody's done(). */
#define EXIT_SLACK_S 10

extern char **environ;

static struct log *log_from_settings(const struct settings *s)
{
	static const char *const formats[] = {"auto", "json", "text"};
	struct log_config config = {
		.fd = STDERR_FILENO, .level = daemon_log_level(s), .repeats_max = (int)s->log_repeats_max};
	for (size_t i = 0; i < array_len(formats); i++)
		if (str_eq(formats[i], s->log_format))
			config.format = (enum log_format)i;
	return log_new(&config);
}

/* ------------------------------------------------------------------ ending */

static void stop(struct daemon *d)
{
	if (d->state == DAEMON_STOPPED)
		return;
	d->state = DAEMON_STOPPED;
	env_timer_stop(d->env, &d->tick);
	env_timer_stop(d->env, &d->probe);
	env_timer_stop(d->env, &d->grace);
	env_undefer(d->env, &d->drain_task);
	for (size_t i = d->role_count; i-- > 0;) {
		struct daemon_role *r = &d->roles[i];
		if (r->initialised)
			r->spec->done(r->service);
		r->initialised = false;
	}
	http_server_free(d->http);
	d->http = NULL;
	tls_watch_free(d->tls);
	d->tls = NULL;
	log_info(d->log, "stopped", log_int("status", d->exit_status));
	/* Should a handle never close, the default action of SIGALRM ends the process. */
	alarm(EXIT_SLACK_S);
	loop_stop(d->loop);
}

static void on_drained(void *ctx)
{
	struct daemon *d = ctx;
	if (d->state != DAEMON_DRAINING)
		return;
	d->undrained--;
	env_defer(d->env, &d->drain_task);
}

/* Drains the roles from the last to the first, one after the other. */
static void on_drain_task(struct env_task *t)
{
	struct daemon *d = container_of(t, struct daemon, drain_task);
	while (d->undrained > 0) {
		struct daemon_role *r = &d->roles[d->undrained - 1];
		if (r->initialised && r->spec->drain) {
			int64_t left_ns = max_i64(0, d->grace.due_ns - env_mono_ns(d->env));
			log_info(r->ctx.log, "draining", log_duration("grace", left_ns));
			r->spec->drain(r->service, left_ns, on_drained, d);
			return;
		}
		d->undrained--;
	}
	stop(d);
}

static void on_grace(struct env_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, grace);
	log_warn(d->log, "not drained within the grace, stopping anyway",
		 log_str("role", d->undrained > 0 ? d->roles[d->undrained - 1].spec->role : NULL));
	stop(d);
}

static void drain(struct daemon *d)
{
	if (d->state >= DAEMON_DRAINING)
		return;
	d->state = DAEMON_DRAINING;
	daemon_notify("STOPPING=1");
	env_timer_stop(d->env, &d->probe);
	env_timer_start(d->env, &d->grace, config_get(d->config)->node_drain_grace);
	d->undrained = d->role_count;
	env_defer(d->env, &d->drain_task);
}

void daemon_fail(struct daemon *d, struct err e)
{
	log_error(d->log, "cannot go on", log_err(e));
	d->exit_status = 1;
	drain(d);
}

static void on_signal(void *ctx, int signum)
{
	struct daemon *d = ctx;
	if (d->state >= DAEMON_DRAINING) {
		log_warn(d->log, "second signal, stopping at once", log_int("signal", signum));
		_exit(1);
	}
	log_info(d->log, "signal received", log_int("signal", signum));
	drain(d);
}

/* "Read your files again": certificates, the only ones that are read while it runs. */
static void on_hangup(void *ctx, int signum)
{
	struct daemon *d = ctx;
	(void)signum;
	if (d->tls)
		tls_watch_look(d->tls);
}

/* ------------------------------------------------------------------ starting */

static void on_tick(struct env_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, tick);
	log_tick(d->log);
	env_timer_start(d->env, t, TICK_NS);
}

/* Whether the roles serve, or would if an operator let them. */
static bool has_started(struct daemon *d)
{
	const char *why;
	for (size_t i = 0; i < d->role_count; i++) {
		const struct daemon_role *r = &d->roles[i];
		if (!r->initialised)
			return false;
		bool aside = r->spec->put_aside && r->spec->put_aside(r->service);
		if (!aside && r->spec->ready && !r->spec->ready(r->service, &why))
			return false;
	}
	return true;
}

static void on_probe(struct env_timer *t)
{
	struct daemon *d = container_of(t, struct daemon, probe);
	if (!has_started(d)) {
		env_timer_start(d->env, t, PROBE_NS);
		return;
	}
	d->state = DAEMON_SERVING;
	log_info(d->log, "ready", log_duration("took", env_mono_ns(d->env) - d->started_ns),
		 log_int("http_port", http_server_port(d->http)));
	daemon_notify("READY=1");
}

/* A poll is a descriptor's worth of connection: take what the system allows. */
static void raise_descriptor_limit(struct daemon *d)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		log_debug(d->log, "descriptor limit", log_int("max", (int64_t)limit.rlim_max));
}

/* One HTTP port a process: the frontend's when it is among the roles. */
static const char *http_role(const struct daemon *d)
{
	for (size_t i = 0; i < d->role_count; i++)
		if (str_eq(d->roles[i].spec->role, "frontend"))
			return "frontend";
	return d->roles[0].spec->role;
}

static void make_http(struct daemon *d)
{
	const struct settings *s = config_get(d->config);
	struct http_config config = {.listen_host = s->http_listen,
				     .port = (uint16_t)daemon_role_int(d, http_role(d), "http_port"),
				     .body_bytes_max = s->http_body_bytes_max,
				     .connections_max = (int)s->http_connections_max};
	d->http = http_server_new(d->loop, &config);
	daemon_add_endpoints(d);
}

static struct err start_role(struct daemon *d, struct daemon_role *r, struct arena *errors)
{
	struct daemon_ctx *ctx = &r->ctx;
	*ctx = (struct daemon_ctx){.daemon = d,
				   .loop = d->loop,
				   .env = d->env,
				   .settings = config_get(d->config),
				   .metrics = d->metrics,
				   .http = d->http,
				   .tls = d->tls,
				   .role = r->spec->role};
	daemon_identify(d, r);
	ctx->log = log_with(d->log, log_str("role", ctx->role), log_str("node", ctx->node_id));
	log_info(ctx->log, "starting", log_str("version", perdure_version), log_int("pid", getpid()),
		 log_str("rpc", ctx->rpc_advertise));
	struct err e = r->spec->init(ctx, errors, &r->service);
	r->initialised = !err_is(e);
	return e;
}

static struct err start(struct daemon *d, struct arena *errors)
{
	for (size_t i = 0; i < d->role_count; i++)
		try(start_role(d, &d->roles[i], errors));
	return http_server_listen(d->http, errors);
}

static struct daemon *daemon_new(const char *program, struct config *config, const struct daemon_spec *const *specs,
				 size_t count)
{
	struct daemon *d = new0(struct daemon);
	d->program = program;
	d->config = config;
	d->arena = arena_new(0);
	d->log = log_from_settings(config_get(config));
	d->loop = loop_new();
	d->env = loop_env(d->loop);
	d->metrics = metrics_new();
	d->roles = mem_zalloc(count * sizeof *d->roles);
	d->role_count = count;
	for (size_t i = 0; i < count; i++)
		d->roles[i].spec = specs[i];
	d->started_ns = env_mono_ns(d->env);
	d->tick.fn = on_tick;
	d->probe.fn = on_probe;
	d->grace.fn = on_grace;
	d->drain_task.fn = on_drain_task;
	d->tls = tls_watch_new(d->env, d->log, d->metrics);
	daemon_settings_start(d);
	raise_descriptor_limit(d);
	make_http(d);
	return d;
}

static void daemon_free(struct daemon *d)
{
	loop_free(d->loop);
	metrics_free(d->metrics);
	for (size_t i = 0; i < d->role_count; i++)
		log_free(d->roles[i].ctx.log);
	log_free(d->log);
	daemon_settings_done(d);
	free(d->roles);
	arena_free(d->arena);
	free(d);
}

static int run(struct daemon *d)
{
	struct arena *errors = arena_new(0);
	loop_on_signal(d->loop, SIGTERM, on_signal, d);
	loop_on_signal(d->loop, SIGINT, on_signal, d);
	loop_on_signal(d->loop, SIGHUP, on_hangup, d);
	env_timer_start(d->env, &d->tick, TICK_NS);
	env_timer_start(d->env, &d->probe, 0);
	struct err e = start(d, errors);
	if (err_is(e)) {
		log_error(d->log, "cannot start", log_err(e));
		d->exit_status = 1;
		stop(d);
	}
	arena_free(errors);
	loop_run(d->loop);
	int status = d->exit_status;
	daemon_free(d);
	return status;
}

/* ------------------------------------------------------------------ the command line */

static void print_help(const char *program, const struct daemon_spec *const *specs, size_t count)
{
	printf("Usage: %s [--config FILE] [--section.key=value ...]\n", program);
	for (size_t i = 0; i < count; i++)
		printf("  %s\n", specs[i]->summary);
	printf("\n"
	       "  --config FILE          read settings from this YAML file (or PERDURE_CONFIG)\n"
	       "  --section.key=value    one setting; wins over PERDURE_SECTION_KEY=value, which wins over the file\n"
	       "  --print-config         print every setting with its documentation and value, and exit\n"
	       "  --version, --help\n"
	       "\n"
	       "SIGTERM or SIGINT drains and ends the process; a second one ends it at once.\n"
	       "SIGHUP reads certificates again; their files are also looked at every few seconds.\n"
	       "The HTTP port answers /healthz, /readyz and /metrics.\n");
}

int daemon_main(int argc, char **argv, const char *program, const struct daemon_spec *const *specs, size_t count)
{
	assert(count > 0);
	struct arena *errors = arena_new(0);
	struct config *config = config_new();
	struct config_args args;
	struct err e = config_load(config, argc, argv, environ, &args, errors);
	int status = 0;
	if (err_is(e)) {
		fprintf(stderr, "%s: %s\n", program, e.message);
		status = 2;
	} else if (args.help) {
		print_help(program, specs, count);
	} else if (args.version) {
		printf("%s %s\n", program, perdure_version);
	} else if (args.print_config) {
		config_print(config, stdout);
	} else {
		status = run(daemon_new(program, config, specs, count));
	}
	config_free(config);
	arena_free(errors);
	return status;
}
