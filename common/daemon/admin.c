/*
 * /admin/config: the settings in force, and where each comes from. What may hold a password is not shown.
 */
#include "common/config/value.h"
#include "common/daemon/daemon_priv.h"
#include "common/daemon/version.h"
#include "common/http/json.h"

static bool may_hold_secret(const struct setting *s, const char *value)
{
	return str_eq(s->name, "database.dsn") && (strstr(value, "password") || strchr(value, '@'));
}

static void on_config(void *ctx, struct http_request *req)
{
	static const char *const sources[] = {"default", "file", "environment", "flag"};
	struct daemon *d = ctx;
	struct arena *a = http_arena(req);
	size_t count;
	const struct setting *table = config_settings(&count);
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		const struct setting *s = &table[i];
		const char *value = value_yaml(s, config_get(d->config), a);
		if (may_hold_secret(s, value))
			value = "(not shown)";
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", s->name, "value", value,
						      "default", value_yaml(s, settings_defaults(), a), "source",
						      sources[config_source(d->config, s)]));
	}
	http_reply_json(
		req, 200,
		json_pack("{s:s, s:s, s:o}", "program", d->program, "version", perdure_version, "settings", list));
}

void daemon_add_admin(struct daemon *d)
{
	http_route(d->http, "GET", "/admin/config", on_config, d);
}
