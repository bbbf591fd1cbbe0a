/*
 * Settings that change while the process runs: taken from the database (by common/node), told to who copied them.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/config/value.h"
#include "common/daemon/daemon_priv.h"
#include "common/mem/mem.h"

struct daemon_listener {
	void (*fn)(void *ctx);
	void *ctx;
	struct daemon_listener *next;
};

enum log_level daemon_log_level(const struct settings *s)
{
	static const char *const levels[] = {"debug", "info", "warn", "error"};
	for (size_t i = 0; i < array_len(levels); i++)
		if (str_eq(levels[i], s->log_level))
			return (enum log_level)i;
	return LOG_LEVEL_INFO;
}

static void on_own_settings(void *ctx)
{
	struct daemon *d = ctx;
	log_set_level(d->log, daemon_log_level(config_get(d->config)));
}

void daemon_settings_start(struct daemon *d)
{
	daemon_on_settings(d, on_own_settings, d);
}

void daemon_settings_done(struct daemon *d)
{
	daemon_off_settings(d, d);
	assert(!d->listeners && "somebody still listens to settings");
}

void daemon_on_settings(struct daemon *d, void (*fn)(void *ctx), void *ctx)
{
	struct daemon_listener *l = new0(struct daemon_listener);
	l->fn = fn;
	l->ctx = ctx;
	LL_APPEND(d->listeners, l);
}

void daemon_off_settings(struct daemon *d, void *ctx)
{
	struct daemon_listener *l, *next;
	LL_FOREACH_SAFE (d->listeners, l, next) {
		if (l->ctx != ctx)
			continue;
		LL_DELETE(d->listeners, l);
		free(l);
	}
}

static void on_ignored(void *ctx, const struct config_cluster_value *v, struct err why)
{
	struct daemon *d = ctx;
	log_warn(d->log, "a setting for the cluster is left out", log_str("setting", v->name),
		 log_str("value", v->value), log_str("by", v->by), log_err(why));
}

/* The values in force, as texts: for the lines that say what changed. */
static const char **values_now(struct daemon *d, struct arena *a)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	const char **texts = arena_array(a, const char *, count);
	for (size_t i = 0; i < count; i++)
		texts[i] = table[i].live ? value_yaml(&table[i], config_get(d->config), a) : NULL;
	return texts;
}

static void log_changes(struct daemon *d, const char **before, struct arena *a)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	const char **now = values_now(d, a);
	for (size_t i = 0; i < count; i++) {
		if (!table[i].live || str_eq(before[i], now[i]))
			continue;
		const struct config_cluster_value *from = config_from_cluster(d->config, &table[i]);
		log_info(d->log, "setting changed", log_str("setting", table[i].name), log_str("from", before[i]),
			 log_str("to", now[i]), log_str("by", from ? from->by : NULL));
	}
}

void daemon_set_cluster_settings(struct daemon *d, const struct config_cluster_value *rows, size_t count)
{
	struct arena *a = arena_new(0);
	const char **before = values_now(d, a);
	if (config_set_cluster(d->config, rows, count, on_ignored, d)) {
		log_changes(d, before, a);
		struct daemon_listener *l, *next;
		LL_FOREACH_SAFE (d->listeners, l, next) {
			l->fn(l->ctx);
		}
	}
	arena_free(a);
}
