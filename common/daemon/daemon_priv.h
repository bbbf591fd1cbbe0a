/*
 * The process that runs the roles; shared by this folder's files only.
 */
#ifndef COMMON_DAEMON_DAEMON_PRIV_H
#define COMMON_DAEMON_DAEMON_PRIV_H

#include "common/config/config.h"
#include "common/daemon/daemon.h"
#include "common/http/http.h"
#include "common/log/log.h"
#include "common/metrics/metrics.h"

enum daemon_state {
	DAEMON_STARTING, /* until every role is ready */
	DAEMON_SERVING,
	DAEMON_DRAINING,
	DAEMON_STOPPED, /* done() was called; handles are closing */
};

struct daemon_role {
	const struct daemon_spec *spec;
	struct daemon_ctx ctx;
	void *service;
	bool initialised;
};

struct daemon {
	const char *program;
	struct config *config;
	struct arena *arena; /* what lives as long as the process */
	struct loop *loop;
	struct env *env;
	struct log *log;
	struct metrics *metrics;
	struct http_server *http;
	struct daemon_role *roles;
	size_t role_count;
	enum daemon_state state;
	int exit_status;
	int64_t started_ns;
	struct env_timer tick;	/* each second */
	struct env_timer probe; /* while starting: is it ready? */
	struct env_timer grace;
	struct env_task drain_task;
	struct daemon_listener *listeners; /* of settings */
	struct tls_watch *tls;
	size_t undrained; /* roles[undrained - 1] drains now */
};

/* endpoints.c: /metrics, /healthz, /readyz. */
void daemon_add_endpoints(struct daemon *d);
/* Whether all roles serve; when not, *ret_role and *ret_why say which one and why. */
bool daemon_ready(struct daemon *d, const char **ret_role, const char **ret_why);

/* settings.c */
void daemon_settings_start(struct daemon *d);
void daemon_settings_done(struct daemon *d);
enum log_level daemon_log_level(const struct settings *s);

/* admin.c: /admin/config, /admin/config/try, /admin/certificates. */
void daemon_add_admin(struct daemon *d);

/* identity.c: fills node_id, rpc_listen, rpc_advertise and incarnation of the role's ctx. */
void daemon_identify(struct daemon *d, struct daemon_role *role);
/* The value of the integer setting "<role>.<key>", 0 when the role has none. */
int64_t daemon_role_int(const struct daemon *d, const char *role, const char *key);

/* notify.c: tells a supervisor that gave us NOTIFY_SOCKET ("READY=1", "STOPPING=1"); silent otherwise. */
void daemon_notify(const char *state);

#endif
