/*
 * Reading the cluster's settings, again and again.
 */
#include "common/node/live.h"

#include <stdlib.h>

#include "common/config/config.h"
#include "common/log/log.h"
#include "common/mem/mem.h"
#include "common/node/node.h"

#define REFRESH_NS (30 * NS_PER_S)
#define RETRY_NS   (500 * NS_PER_MS)
#define TOPIC	   "settings"

static void take(struct live *l, const struct store_setting *list, size_t count)
{
	struct config_cluster_value *rows = mem_zalloc(count * sizeof *rows);
	for (size_t i = 0; i < count; i++)
		rows[i] = (struct config_cluster_value){.name = list[i].name,
							.value = list[i].value,
							.by = list[i].changed_by,
							.at_ns = list[i].changed_ns};
	daemon_set_cluster_settings(l->daemon->daemon, rows, count);
	free(rows);
}

static void on_read(void *ctx, struct err e, const struct store_setting *list, size_t count)
{
	struct live *l = ctx;
	l->reading = false;
	if (err_is(e) && l->first)
		log_warn(l->daemon->log, "the cluster's settings cannot be read yet", log_err(e));
	else if (!err_is(e))
		take(l, list, count);
	env_timer_start(l->daemon->env, &l->timer, l->again ? 0 : err_is(e) ? RETRY_NS : REFRESH_NS);
	void (*first)(void *ctx) = err_is(e) ? NULL : l->first;
	if (!first)
		return;
	l->first = NULL;
	first(l->ctx);
}

static void on_timer(struct env_timer *t)
{
	struct live *l = container_of(t, struct live, timer);
	if (l->reading)
		return; /* its end looks at `again` */
	l->reading = true;
	l->again = false;
	store_settings(l->store, on_read, l);
}

static void on_notify(void *ctx, const char *topic)
{
	struct live *l = ctx;
	if (!str_eq(topic, TOPIC))
		return;
	l->again = l->reading;
	if (!l->reading)
		env_timer_start(l->daemon->env, &l->timer, 0);
}

void live_start(struct live *l, struct node *n, void (*first)(void *ctx), void *ctx)
{
	*l = (struct live){.daemon = &n->daemon, .store = n->store, .first = first, .ctx = ctx};
	l->timer.fn = on_timer;
	store_on_notify(n->store, on_notify, l);
	env_timer_start(l->daemon->env, &l->timer, 0);
}

void live_stop(struct live *l)
{
	if (l->daemon)
		env_timer_stop(l->daemon->env, &l->timer);
}
