/*
 * The store in memory: settings for the whole cluster.
 */
#include <stdlib.h>

#include "common/store/fake_impl.h"

static int order(const struct fake_setting *a, const struct fake_setting *b)
{
	return strcmp(a->row.name, b->row.name);
}

static void setting_free(struct fake_db *db, struct fake_setting *f)
{
	DL_DELETE(db->settings, f);
	free((char *)f->row.name);
	free((char *)f->row.value);
	free((char *)f->row.changed_by);
	free(f);
}

void fake_db_set_setting(struct fake_db *db, const char *name, const char *value, const char *by, int64_t now_ns)
{
	struct fake_setting *f, *next;
	DL_FOREACH_SAFE (db->settings, f, next) {
		if (str_eq(f->row.name, name))
			setting_free(db, f);
	}
	if (value) {
		f = new0(struct fake_setting);
		f->row = (struct store_setting){.name = mem_strdup(name),
						.value = mem_strdup(value),
						.changed_by = mem_strdup(by),
						.changed_ns = now_ns};
		DL_INSERT_INORDER(db->settings, f, order);
	}
	fake_announce(db, STORE_TOPIC_SETTINGS);
}

struct settings_call {
	struct fake_call call;
	struct store_setting *list;
	size_t count;
	store_settings_fn *fn;
	void *ctx;
};

static void run_settings(struct fake_call *c)
{
	struct settings_call *l = container_of(c, struct settings_call, call);
	struct fake_setting *f;
	size_t count;
	DL_COUNT(c->s->db->settings, f, count);
	l->list = arena_array(c->arena, struct store_setting, count);
	DL_FOREACH (c->s->db->settings, f) {
		l->list[l->count++] = (struct store_setting){.name = arena_strdup(c->arena, f->row.name),
							     .value = arena_strdup(c->arena, f->row.value),
							     .changed_by = arena_strdup(c->arena, f->row.changed_by),
							     .changed_ns = f->row.changed_ns};
	}
}

static void reply_settings(struct fake_call *c)
{
	struct settings_call *l = container_of(c, struct settings_call, call);
	l->fn(l->ctx, c->err, l->list, l->count);
}

void fake_settings(struct store *s, store_settings_fn *fn, void *ctx)
{
	struct settings_call *l =
		fake_call_new(fake_of(s), struct settings_call, FAKE_LANE_CONTROL, run_settings, reply_settings);
	l->fn = fn;
	l->ctx = ctx;
}

void fake_settings_free(struct fake_db *db)
{
	while (db->settings)
		setting_free(db, db->settings);
}
