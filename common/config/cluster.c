/*
 * Values for the whole cluster, on top of what file, environment and flags say, while the process runs.
 *
 * Each call starts again from the process's own values, so that a value that is no longer set gives way to them. The
 * address of the settings stays, and only fields that differ are written.
 */
#include <stdlib.h>

#include "common/config/config_impl.h"
#include "common/config/value.h"
#include "common/mem/mem.h"

static size_t field_size(const struct setting *s)
{
	switch (s->type) {
	case SETTING_TYPE_STRING:
	case SETTING_TYPE_CHOICE:
		return sizeof(const char *);
	case SETTING_TYPE_LIST:
		return sizeof(struct setting_list);
	case SETTING_TYPE_BOOL:
		return sizeof(bool);
	case SETTING_TYPE_INT:
	case SETTING_TYPE_BYTES:
	case SETTING_TYPE_DURATION:
		return sizeof(int64_t);
	}
	return 0;
}

static void *field(struct settings *v, const struct setting *s)
{
	return (char *)v + s->offset;
}

static const void *field_of(const struct settings *v, const struct setting *s)
{
	return (const char *)v + s->offset;
}

static bool same(const struct settings *a, const struct settings *b, const struct setting *s)
{
	if (s->type == SETTING_TYPE_CHOICE)
		return str_eq(*(const char *const *)field_of(a, s), *(const char *const *)field_of(b, s));
	return memcmp(field_of(a, s), field_of(b, s), field_size(s)) == 0;
}

const struct settings *config_own(const struct config *c)
{
	return c->overlaid ? &c->own : &c->values;
}

enum setting_source config_own_source(const struct config *c, const struct setting *s)
{
	return c->overlaid ? c->own_source[config_row_of(s)] : c->source[config_row_of(s)];
}

const struct config_cluster_value *config_from_cluster(const struct config *c, const struct setting *s)
{
	return c->source[config_row_of(s)] == SETTING_FROM_CLUSTER ? &c->from[config_row_of(s)] : NULL;
}

void config_cluster_done(struct config *c)
{
	arena_free(c->cluster_arena);
	buf_done(&c->cluster_rows);
}

/* ------------------------------------------------------------------ one value */

static struct err put(const char *name, const char *value, struct settings *to, struct arena *a)
{
	const struct setting *s = config_find(name);
	if (!s)
		return config_unknown("cluster", name, a);
	if (!s->live)
		return err_make(a, ERR_FAILED_PRECONDITION,
				"%s is read when a process starts: put it into the file and restart", name);
	struct err e = value_set(s, value, to, a);
	return err_is(e) ? err_make(a, e.code, "%s: %s", name, e.message) : err_ok;
}

struct err config_try_cluster(const struct config *c, const char *name, const char *value, struct arena *errors)
{
	struct settings next = c->values;
	const struct setting *s = config_find(name);
	if (value)
		try(put(name, value, &next, errors));
	else if (s)
		memcpy(field(&next, s), field_of(config_own(c), s), field_size(s));
	else
		return config_unknown("cluster", name, errors);
	return config_check_values(&next, errors);
}

/* ------------------------------------------------------------------ all of them */

static bool unchanged(struct config *c, const struct config_cluster_value *rows, size_t count)
{
	struct buf now = {0};
	for (size_t i = 0; i < count; i++)
		buf_printf(&now, "%s\n%s\n%s\n%lld\n", rows[i].name, rows[i].value, rows[i].by ? rows[i].by : "",
			   (long long)rows[i].at_ns);
	bool as_before = c->overlaid && bytes_eq(buf_view(&now), buf_view(&c->cluster_rows));
	buf_done(&c->cluster_rows);
	c->cluster_rows = now;
	return as_before;
}

struct overlay {
	struct settings values;
	struct arena *arena;
	struct config_cluster_value from[SETTINGS_MAX];
};

static void note(struct overlay *o, const struct config_cluster_value *row)
{
	const struct setting *s = config_find(row->name);
	o->from[config_row_of(s)] = (struct config_cluster_value){.name = s->name,
								  .value = arena_strdup(o->arena, row->value),
								  .by = arena_strdup(o->arena, row->by ? row->by : ""),
								  .at_ns = row->at_ns};
}

/*
 * Every value that may be had. Together they may keep rules that each alone would break on its way; only when they
 * break one together, they are taken one by one, and those that break it are left out.
 */
static void lay(struct overlay *o, const struct settings *own, const struct config_cluster_value *rows, size_t count,
		config_ignored_fn *ignored, void *ctx)
{
	struct settings next = *own;
	for (size_t i = 0; i < count; i++)
		if (!err_is(put(rows[i].name, rows[i].value, &next, o->arena)))
			continue;
	bool sound = !err_is(config_check_values(&next, o->arena));
	o->values = *own;
	for (size_t i = 0; i < count; i++) {
		struct settings before = o->values;
		struct err e = put(rows[i].name, rows[i].value, &o->values, o->arena);
		if (!err_is(e) && !sound)
			e = config_check_values(&o->values, o->arena);
		if (!err_is(e)) {
			note(o, &rows[i]);
			continue;
		}
		o->values = before;
		if (ignored)
			ignored(ctx, &rows[i], e);
	}
}

bool config_set_cluster(struct config *c, const struct config_cluster_value *rows, size_t count,
			config_ignored_fn *ignored, void *ctx)
{
	if (unchanged(c, rows, count))
		return false;
	if (!c->overlaid) {
		c->own = c->values;
		memcpy(c->own_source, c->source, sizeof c->own_source);
		c->overlaid = true;
	}
	struct overlay *o = new0(struct overlay);
	o->arena = arena_new(0);
	lay(o, &c->own, rows, count, ignored, ctx);
	bool changed = false;
	size_t setting_count;
	const struct setting *table = config_settings(&setting_count);
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *s = &table[i];
		if (!s->live)
			continue;
		bool differs = !same(&c->values, &o->values, s);
		changed = changed || differs;
		if (differs || s->type == SETTING_TYPE_CHOICE) /* whose text moves */
			memcpy(field(&c->values, s), field_of(&o->values, s), field_size(s));
		c->source[i] = o->from[i].name ? SETTING_FROM_CLUSTER : c->own_source[i];
		c->from[i] = o->from[i];
	}
	arena_free(c->cluster_arena);
	c->cluster_arena = o->arena;
	free(o);
	return changed;
}
