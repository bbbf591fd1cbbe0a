/*
 * What perdurectl asks a process about itself.
 *
 *   /admin/config            the settings in force, and where each comes from; secrets are ***. ?name=… only that one
 *   /admin/config/try        ?name=…&value=…: could it be set for the cluster, and if not, why? Without value: could
 *                            it be taken back?
 *   /admin/certificates      the certificates that are in use
 */
#include "common/config/value.h"
#include "common/daemon/daemon_priv.h"
#include "common/daemon/version.h"
#include "common/http/json.h"
#include "common/tls/tls_watch.h"

/* `own`: what it would be without the cluster's value. */
static json_t *describe(struct daemon *d, const struct setting *s, struct arena *a)
{
	static const char *const sources[] = {"default", "file", "environment", "flag", "cluster"};
	json_t *v =
		json_pack("{s:s, s:s, s:s, s:s, s:b}", "name", s->name, "value",
			  value_shown(s, config_get(d->config), a), "default", value_yaml(s, settings_defaults(), a),
			  "source", sources[config_source(d->config, s)], "live", s->live);
	const struct config_cluster_value *from = config_from_cluster(d->config, s);
	if (from) {
		json_object_set_new(v, "changed_by", json_string(from->by));
		json_object_set_new(v, "changed_ns", json_integer(from->at_ns));
		json_object_set_new(v, "own", json_string(value_shown(s, config_own(d->config), a)));
		json_object_set_new(v, "own_source", json_string(sources[config_own_source(d->config, s)]));
	}
	return v;
}

static void on_config(void *ctx, struct http_request *req)
{
	struct daemon *d = ctx;
	const char *only = http_query(req, "name");
	size_t count;
	const struct setting *table = config_settings(&count);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		if (!only || str_eq(only, table[i].name))
			json_array_append_new(list, describe(d, &table[i], http_arena(req)));
	http_reply_json(
		req, 200,
		json_pack("{s:s, s:s, s:o}", "program", d->program, "version", perdure_version, "settings", list));
}

static void on_try(void *ctx, struct http_request *req)
{
	struct daemon *d = ctx;
	const char *name = http_query(req, "name");
	struct err e = name ? config_try_cluster(d->config, name, http_query(req, "value"), http_arena(req))
			    : err_static(ERR_INVALID_ARGUMENT, "name is missing");
	http_reply_json(req, 200,
			json_pack("{s:b, s:b, s:s}", "accepted", !err_is(e), "known", name && config_find(name), "why",
				  err_is(e) ? e.message : ""));
}

static void on_certificates(void *ctx, struct http_request *req)
{
	struct daemon *d = ctx;
	http_reply_json(req, 200,
			json_pack("{s:s, s:o}", "program", d->program, "certificates", tls_watch_json(d->tls)));
}

void daemon_add_admin(struct daemon *d)
{
	http_route(d->http, "GET", "/admin/config", on_config, d);
	http_route(d->http, "GET", "/admin/config/try", on_try, d);
	http_route(d->http, "GET", "/admin/certificates", on_certificates, d);
}
