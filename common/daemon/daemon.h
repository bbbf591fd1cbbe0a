/*
 * What every daemon's main() shares: configuration, log, loop, signals, HTTP endpoints, readiness, draining.
 *
 * A service is a `struct daemon_spec`: four functions over an opaque service object. main.c names the specs of its
 * process; one for a daemon, all four for the single-process server. Everything here is called on the loop.
 *
 *   start     init() of each spec in order, then READY once every ready() says so
 *   SIGTERM   drain() of each spec in reverse order, each after the one before has drained; then done() in that
 *             order; exit 0. When the grace is over, done() is called without waiting any longer.
 *   again     a second signal ends the process at once, status 1
 */
#ifndef COMMON_DAEMON_DAEMON_H
#define COMMON_DAEMON_DAEMON_H

#include "common/config/settings.h"
#include "common/err/err.h"
#include "common/loop/loop.h"

struct daemon;
struct http_server;
struct log;
struct metrics;

/* What a service gets. All of it lives until after done(). */
struct daemon_ctx {
	struct daemon *daemon;
	struct loop *loop;
	struct env *env;
	const struct settings *settings;
	struct log *log;	  /* lines carry role and node */
	struct metrics *metrics;  /* of the loop; shared by the roles of one process */
	struct http_server *http; /* add routes in init(); it listens once all roles are initialised */
	const char *role;	  /* the spec's */
	const char
		*node_id; /* unique in the cluster: node.id (with "-role" when the process has several), or made up */
	const char *rpc_listen;	   /* URL for rpc_nng_config.listen */
	const char *rpc_advertise; /* URL that peers dial: rpc_config.address, and the node's row */
	uint64_t incarnation;	   /* random, differs at each start of the process */
	struct tls_watch *tls;	   /* whoever reads certificates from files is told by it when they change */
};

struct daemon_spec {
	const char *role;    /* "frontend", "worker_gateway", "history", "matching": the settings section */
	const char *summary; /* one line for --help */
	/*
	 * Makes and starts the service. What takes time (the database, peers) goes on in the background and shows in
	 * ready(). An error ends the process with status 1; nothing of the service may be left then.
	 */
	struct err (*init)(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service);
	/* Does it serve? When not, *ret_why is a static text or one that lives until the next call. May be NULL:
	 * always. */
	bool (*ready)(void *service, const char **ret_why);
	/* An operator wants it to serve nobody: it isn't ready, but has started all the same. May be NULL: never. */
	bool (*put_aside)(void *service);
	/*
	 * Refuse what is new, finish or hand over what is there, then call drained(ctx) once, never inline. Gives up by
	 * itself after grace_ns. May be NULL: nothing to drain.
	 */
	void (*drain)(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx);
	/* Frees everything; its handles on the loop may finish closing afterwards. */
	void (*done)(void *service);
};

/* Never NULL-terminated: count says how many. Returns the process's exit status. */
int daemon_main(int argc, char **argv, const char *program, const struct daemon_spec *const *specs, size_t count);

/* A service that cannot go on after init() (a schema it does not know, a lost identity): logs e, drains, exits 1. */
void daemon_fail(struct daemon *d, struct err e);

/* ------------------------------------------------------------------ settings that change while it runs */

struct config_cluster_value;

/*
 * Told, on the loop, after a live setting has changed: what is copied from daemon_ctx.settings is copied again. Who
 * reads them in place needs nothing.
 */
void daemon_on_settings(struct daemon *d, void (*fn)(void *ctx), void *ctx);
/* Takes back every daemon_on_settings() with this ctx. */
void daemon_off_settings(struct daemon *d, void *ctx);
/* All values that the database has for the cluster, as just read; logs what changed, and what cannot be used. */
void daemon_set_cluster_settings(struct daemon *d, const struct config_cluster_value *rows, size_t count);

#endif
