/*
 * What every daemon's HTTP port answers.
 *
 *   /healthz   200 as long as the loop turns: restart the process when it doesn't
 *   /readyz    200 while it serves, 503 with the reason while it starts or drains: send it no traffic
 *   /metrics   Prometheus
 */
#include "common/daemon/daemon_priv.h"
#include "common/daemon/version.h"
#include "common/metrics/process.h"

bool daemon_ready(struct daemon *d, const char **ret_role, const char **ret_why)
{
	*ret_role = d->program;
	*ret_why = "draining";
	if (d->state >= DAEMON_DRAINING)
		return false;
	for (size_t i = 0; i < d->role_count; i++) {
		struct daemon_role *r = &d->roles[i];
		*ret_role = r->spec->role;
		*ret_why = "starting";
		if (!r->initialised || (r->spec->ready && !r->spec->ready(r->service, ret_why)))
			return false;
	}
	return true;
}

static void on_healthz(void *ctx, struct http_request *req)
{
	(void)ctx;
	http_reply_text(req, 200, "ok\n");
}

static void on_readyz(void *ctx, struct http_request *req)
{
	const char *role, *why;
	if (daemon_ready(ctx, &role, &why))
		http_reply_text(req, 200, "ready\n");
	else
		http_reply_text(req, 503, arena_printf(http_arena(req), "%s: %s\n", role, why));
}

static void on_metrics(void *ctx, struct http_request *req)
{
	struct daemon *d = ctx;
	struct buf out = {0};
	metrics_write(d->metrics, &out);
	http_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", buf_view(&out));
	buf_done(&out);
}

static void collect(void *ctx)
{
	struct daemon *d = ctx;
	const char *role, *why;
	gauge_set(metrics_gauge(d->metrics, "perdure_ready", "1 while all roles of the process serve.", NULL, 0),
		  daemon_ready(d, &role, &why));
}

void daemon_add_endpoints(struct daemon *d)
{
	const struct metric_label build[] = {{"version", perdure_version}, {"program", d->program}};
	gauge_set(metrics_gauge(d->metrics, "perdure_build_info", "Always 1; the labels say what runs.", build,
				array_len(build)),
		  1);
	metrics_add_process(d->metrics);
	metrics_on_collect(d->metrics, collect, d);
	http_route(d->http, "GET", "/healthz", on_healthz, d);
	http_route(d->http, "GET", "/readyz", on_readyz, d);
	http_route(d->http, "GET", "/metrics", on_metrics, d);
	daemon_add_admin(d);
}
