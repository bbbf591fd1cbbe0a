/*
 * A node's life: made at once, up when the cluster's facts are known, then a member.
 */
#include "common/node/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/daemon/version.h"
#include "common/http/http.h"
#include "common/log/log.h"
#include "common/mem/mem.h"
#include "common/metrics/metrics.h"
#include "common/node/live.h"
#include "common/node/lock.h"
#include "common/tls/tls_watch.h"

#define FACTS_RETRY_NS (500 * NS_PER_MS)
/* A goodbye is said for so long; then the row may expire by itself. */
#define LEAVE_MAX_NS (2 * NS_PER_S)

struct node_impl {
	int lock_fd; /* -1: none */
	struct node pub;
	struct node_config config;
	enum member_role role;
	struct env_timer facts_retry;
	bool fenced;
	void (*left)(void *ctx);
	void *left_ctx;
	struct env_timer leave_timer;
	struct rpc_net *net; /* rpc's */
	struct live live;
};

static struct node_impl *impl_of(struct node *n)
{
	return container_of(n, struct node_impl, pub);
}

/* ------------------------------------------------------------------ up */

static void on_fenced(void *ctx);
static void on_member_gone(void *ctx, const char *address);
static void on_members_changed(void *ctx);

/*
 * Where others reach our HTTP port. A wildcard is no address: then it is the host that peers dial, as in a pod, which
 * listens on all of its addresses and advertises its own.
 */
static void http_address_of(const struct daemon_ctx *d, char *ret, size_t size)
{
	const char *host = d->settings->http_listen;
	const char *peers = strstr(d->rpc_advertise, "tcp://");
	const char *end = peers ? strrchr(peers, ':') : NULL;
	int len = (int)strlen(host);
	if ((str_eq(host, "0.0.0.0") || str_eq(host, "::")) && end > peers + strlen("tcp://")) {
		host = peers + strlen("tcp://");
		len = (int)(end - host);
	}
	snprintf(ret, size, "%.*s:%d", len, host, http_server_port(d->http));
}

/* The HTTP server listens by now: its port is part of our row. */
static void open_membership(struct node_impl *n)
{
	const struct daemon_ctx *d = &n->pub.daemon;
	char http_address[280];
	http_address_of(d, http_address, sizeof http_address);
	struct membership_config c = {
		.node_id = d->node_id,
		.role = n->role,
		.address = d->rpc_advertise,
		.http_address = http_address,
		.version = perdure_version,
		.incarnation = d->incarnation,
		.lease_ns = d->settings->membership_lease,
		.renew_ns = d->settings->membership_renew_interval,
	};
	n->pub.membership = membership_new(d->env, n->pub.store, &c);
	membership_on_fenced(n->pub.membership, on_fenced, n);
	membership_on_gone(n->pub.membership, on_member_gone, n);
	membership_on_change(n->pub.membership, on_members_changed, n);
}

static void ask_facts(struct node_impl *n);
static void on_settings_read(void *ctx);

static void on_facts_retry(struct env_timer *t)
{
	ask_facts(container_of(t, struct node_impl, facts_retry));
}

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static void on_facts(void *ctx, struct err e, const struct store_cluster *c)
{
	struct node_impl *n = ctx;
	if (e.code == ERR_FAILED_PRECONDITION) {
		daemon_fail(n->pub.daemon.daemon, e);
		return;
	}
	if (err_is(e)) {
		log_warn(n->pub.daemon.log, "the database cannot be asked yet", log_err(e));
		env_timer_start(n->pub.daemon.env, &n->facts_retry, FACTS_RETRY_NS);
		return;
	}
	n->pub.shard_count = c->shard_count;
	copy_text(n->pub.cluster_id, sizeof n->pub.cluster_id, c->cluster_id);
	copy_text(n->pub.database_version, sizeof n->pub.database_version, c->database_version);
	live_start(&n->live, &n->pub, on_settings_read, n);
}

/* What the cluster says of settings is known; nobody has used any yet that it may change. */
static void on_settings_read(void *ctx)
{
	struct node_impl *n = ctx;
	open_membership(n);
	n->pub.up = true;
	if (n->pub.namespaces)
		namespaces_start(n->pub.namespaces);
	if (n->config.on_up)
		n->config.on_up(n->config.ctx, &n->pub);
	membership_start(n->pub.membership);
}

static void ask_facts(struct node_impl *n)
{
	store_cluster(n->pub.store, on_facts, n);
}

/* ------------------------------------------------------------------ what is heard */

static void on_fenced(void *ctx)
{
	struct node_impl *n = ctx;
	n->fenced = true;
	daemon_fail(n->pub.daemon.daemon,
		    err_static(ERR_ABORTED,
			       "this process was declared dead by another node while it could not renew its "
			       "row; it must start anew"));
}

static void on_members_changed(void *ctx)
{
	struct node_impl *n = ctx;
	bool told = membership_told_to_drain(n->pub.membership);
	if (told == n->pub.told_to_drain)
		return;
	n->pub.told_to_drain = told;
	log_info(n->pub.daemon.log, told ? "told to drain by an operator" : "told to take work again");
	if (n->config.on_told)
		n->config.on_told(n->config.ctx, told);
}

static void on_peer_down(void *ctx, const char *address)
{
	struct node_impl *n = ctx;
	if (n->pub.up)
		membership_down(n->pub.membership, address);
}

/* Its process may have vanished without a word: what is under way to it ends now and not at its deadline. */
static void on_member_gone(void *ctx, const char *address)
{
	struct node_impl *n = ctx;
	rpc_forget(n->pub.rpc, address);
}

static void on_collect(void *ctx)
{
	struct node_impl *n = ctx;
	struct rpc_stats s = rpc_stats(n->pub.rpc);
	const struct metric_label role = {"role", n->pub.role};
	struct metrics *m = n->pub.daemon.metrics;
	const struct metric_label self = {"node_id", n->pub.daemon.node_id};
	gauge_set(metrics_gauge(m, "perdure_node_told_to_drain", "1 while an operator wants the node without work.",
				&self, 1),
		  n->pub.told_to_drain);
	gauge_set(metrics_gauge(m, "perdure_rpc_calls", "Calls to other nodes under way.", &role, 1),
		  (int64_t)s.calls_now);
	gauge_set(metrics_gauge(m, "perdure_rpc_requests", "Requests of other nodes under way.", &role, 1),
		  (int64_t)s.requests_now);
	const struct {
		const char *name, *help;
		uint64_t value;
	} totals[] = {
		{"perdure_rpc_calls_total", "Calls made to other nodes.", s.calls},
		{"perdure_rpc_requests_total", "Requests received from other nodes.", s.requests},
		{"perdure_rpc_messages_sent_total", "Messages sent; each carries one or more calls.", s.messages_sent},
		{"perdure_rpc_bytes_sent_total", "Bytes sent to other nodes.", s.bytes_sent},
		{"perdure_rpc_peers_lost_total", "Connections to other nodes that were lost.", s.peers_lost},
		{"perdure_rpc_peers_silent_total", "Those given up because nothing was answered.", s.peers_silent},
	};
	for (size_t i = 0; i < array_len(totals); i++) {
		struct counter *c = metrics_counter(m, totals[i].name, totals[i].help, &role, 1);
		c->value = (int64_t)totals[i].value;
	}
}

/* What is copied from the settings, again. */
static void on_settings(void *ctx)
{
	struct node_impl *n = ctx;
	trace_set_ratio(n->pub.trace, n->pub.daemon.settings->trace_sample_ratio);
}

/* ------------------------------------------------------------------ made */

static struct err open_store(struct node_impl *n, const struct node_config *config, struct arena *errors)
{
	const struct settings *v = n->pub.daemon.settings;
	struct store_pg_config c = {
		.dsn = v->database_dsn,
		.readers = config->writer ? (int)v->database_pool_size : 0,
		.statement_timeout_ns = v->database_statement_timeout,
		.lease_ns = v->membership_lease,
		.writer = config->writer,
		.connect_timeout_ns = v->database_connect_timeout,
		.backoff_max_ns = v->database_reconnect_backoff_max,
		.partition_width_ns = v->history_partition_width,
		.name = arena_printf(errors, "perdure-%s", config->role),
		.metrics = n->pub.daemon.metrics,
		.service = config->role,
	};
	return store_pg_new(n->pub.daemon.loop, &c, errors, &n->pub.store);
}

static const char *or_null(const char *s)
{
	return str_empty(s) ? NULL : s;
}

static struct err reload_tls(void *ctx, struct arena *errors)
{
	struct node_impl *n = ctx;
	return rpc_nng_reload_tls(n->net, errors);
}

static struct err open_rpc(struct node_impl *n, struct arena *errors)
{
	const struct daemon_ctx *d = &n->pub.daemon;
	struct rpc_nng_config net_config = {
		.listen = d->rpc_listen,
		.tls_cert_file = or_null(d->settings->rpc_tls_cert_file),
		.tls_key_file = or_null(d->settings->rpc_tls_key_file),
		.tls_ca_file = or_null(d->settings->rpc_tls_ca_file),
	};
	struct rpc_net *net;
	try(rpc_nng_new(d->loop, &net_config, errors, &net));
	n->net = net;
	if (net_config.tls_cert_file)
		tls_watch_add(d->tls, &(struct tls_watched){.use = "rpc",
							    .cert_file = net_config.tls_cert_file,
							    .key_file = net_config.tls_key_file,
							    .ca_file = net_config.tls_ca_file,
							    .reload = reload_tls,
							    .ctx = n});
	struct rpc_config config = {
		.address = d->rpc_advertise,
		.incarnation = d->incarnation,
		.message_bytes_max = d->settings->rpc_batch_bytes,
	};
	n->pub.rpc = rpc_new(d->env, net, &config);
	rpc_on_peer_down(n->pub.rpc, on_peer_down, n);
	return err_ok;
}

static struct err open_trace(struct node_impl *n, struct arena *errors)
{
	const struct daemon_ctx *d = &n->pub.daemon;
	if (str_empty(d->settings->trace_endpoint))
		return err_ok;
	struct trace_config c = {
		.endpoint = d->settings->trace_endpoint,
		.headers = d->settings->trace_headers,
		.gzip = d->settings->trace_gzip,
		.per_million = d->settings->trace_sample_ratio,
		.service = n->pub.role,
		.node_id = d->node_id,
		.version = perdure_version,
		.log = d->log,
		.metrics = d->metrics,
	};
	return trace_new(d->loop, &c, errors, &n->pub.trace);
}

/* ------------------------------------------------------------------ the data directory */

static struct err take_lock(struct node_impl *n, struct arena *errors)
{
	const char *dir = n->pub.daemon.settings->node_data_dir;
	n->lock_fd = -1;
	if (str_empty(dir))
		return err_ok;
	struct err e = node_lock(dir, n->pub.role, errors, &n->lock_fd);
	n->pub.alone = !err_is(e);
	return e;
}

static void drop_lock(struct node_impl *n)
{
	if (n->lock_fd >= 0)
		close(n->lock_fd);
}

struct err node_new(const struct daemon_ctx *daemon, const struct node_config *config, struct arena *errors,
		    struct node **ret)
{
	struct node_impl *n = new0(struct node_impl);
	bool known = member_role_parse(config->role, &n->role);
	assert(known);
	n->pub.daemon = *daemon;
	n->pub.role = config->role;
	n->config = *config;
	n->facts_retry.fn = on_facts_retry;
	struct err e = take_lock(n, errors);
	if (!err_is(e))
		e = open_trace(n, errors);
	if (!err_is(e))
		e = open_store(n, config, errors);
	if (!err_is(e))
		e = open_rpc(n, errors);
	if (err_is(e)) {
		trace_free(n->pub.trace);
		store_free(n->pub.store);
		drop_lock(n);
		free(n);
		return e;
	}
	if (config->namespaces) {
		struct namespaces_config c = {.refresh_ns = daemon->settings->namespaces_refresh_interval};
		n->pub.namespaces = namespaces_new(daemon->env, n->pub.store, &c);
	}
	metrics_on_collect(daemon->metrics, on_collect, n);
	daemon_on_settings(daemon->daemon, on_settings, n);
	ask_facts(n);
	*ret = &n->pub;
	return err_ok;
}

bool node_ready(const struct node *n, const char **ret_why)
{
	*ret_why = !n->up						? "the database has not answered"
		   : !membership_joined(n->membership)			? "not joined yet"
		   : n->namespaces && !namespaces_loaded(n->namespaces) ? "namespaces are not read yet"
									: NULL;
	return !*ret_why;
}

/* ------------------------------------------------------------------ gone */

void node_drain(struct node *n)
{
	if (n->up && !impl_of(n)->fenced)
		membership_drain(n->membership);
	trace_flush(n->trace); /* what comes later goes if there is time */
}

static void say_left(struct node_impl *n)
{
	void (*left)(void *ctx) = n->left;
	n->left = NULL;
	env_timer_stop(n->pub.daemon.env, &n->leave_timer);
	if (left)
		left(n->left_ctx);
}

static void on_left(void *ctx, struct err e)
{
	struct node_impl *n = ctx;
	if (err_is(e))
		log_warn(n->pub.daemon.log, "the goodbye did not reach the database; the row will expire", log_err(e));
	say_left(n);
}

static void on_leave_timeout(struct env_timer *t)
{
	say_left(container_of(t, struct node_impl, leave_timer));
}

bool node_fenced(const struct node *n)
{
	return container_of((struct node *)n, struct node_impl, pub)->fenced;
}

void node_leave(struct node *n, void (*done)(void *ctx), void *ctx)
{
	struct node_impl *i = impl_of(n);
	assert(!i->left);
	i->left = done;
	i->left_ctx = ctx;
	i->leave_timer.fn = on_leave_timeout;
	bool member = n->up && !i->fenced;
	env_timer_start(n->daemon.env, &i->leave_timer, member ? LEAVE_MAX_NS : 0);
	if (member)
		membership_leave(n->membership, on_left, i);
}

void node_free(struct node *n)
{
	if (!n)
		return;
	struct node_impl *i = impl_of(n);
	env_timer_stop(n->daemon.env, &i->facts_retry);
	env_timer_stop(n->daemon.env, &i->leave_timer);
	live_stop(&i->live);
	daemon_off_settings(n->daemon.daemon, i);
	tls_watch_remove(n->daemon.tls, i);
	metrics_off_collect(n->daemon.metrics, i);
	namespaces_free(n->namespaces);
	membership_free(n->membership);
	rpc_free(n->rpc);
	store_free(n->store);
	trace_free(n->trace);
	drop_lock(i);
	free(i);
}
