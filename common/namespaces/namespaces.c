/*
 * The cache of namespaces: one immutable snapshot at a time, replaced as a whole.
 */
#include "common/namespaces/namespaces.h"

#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "common/mem/mem.h"

#define READ_DISTANCE_NS   (50 * NS_PER_MS)
#define RETRY_DISTANCE_NS  (500 * NS_PER_MS)
#define REFRESH_DEFAULT_NS (10 * NS_PER_S)
#define SNAPSHOT_BYTES_MAX (256u * 1024 * 1024)
#define NAMESPACES_TOPIC   "namespaces"

struct entry {
	struct namespace ns;
	UT_hash_handle by_id, by_name;
};

struct snapshot {
	struct arena *arena;
	struct entry *entries; /* ordered by name */
	struct namespace *list;
	size_t count;
	struct entry *by_id, *by_name;
};

struct namespaces {
	struct env *env;
	struct store *store;
	int64_t refresh_ns;
	struct snapshot *now; /* NULL until read once */
	bool started;
	bool stale; /* announced as changed since the read under way began */
	bool reading;
	int64_t read_began_ns, cached_ns;    /* of the last read, and of the last that succeeded */
	struct namespaces_wait *served_next; /* by the read that begins next */
	struct namespaces_wait *served_now;  /* by the one under way */
	struct env_timer timer;
};

static void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	HASH_CLEAR(by_id, s->by_id);
	HASH_CLEAR(by_name, s->by_name);
	arena_free(s->arena);
	free(s);
}

static bool entry_fill(struct snapshot *s, struct entry *e, const struct store_namespace *row)
{
	Perdure__NamespaceRecord *r =
		perdure__namespace_record__unpack(arena_pb(s->arena), row->info.len, row->info.data);
	if (!r)
		return false;
	e->ns = (struct namespace){
		.id = arena_strdup(s->arena, row->id),
		.name = arena_strdup(s->arena, row->name),
		.version = row->version,
		.record = r,
	};
	r->id = (char *)e->ns.id;
	r->name = (char *)e->ns.name;
	return true;
}

static int entry_order(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->ns.name, ((const struct entry *)b)->ns.name);
}

/* A row that can't be read is left out: the others must go on working. */
static struct snapshot *snapshot_new(const struct store_namespace *rows, size_t count)
{
	struct snapshot *s = new0(struct snapshot);
	s->arena = arena_new(SNAPSHOT_BYTES_MAX);
	s->entries = arena_array(s->arena, struct entry, count + 1);
	s->list = arena_array(s->arena, struct namespace, count + 1);
	for (size_t i = 0; i < count; i++)
		if (entry_fill(s, &s->entries[s->count], &rows[i]))
			s->count++;
	qsort(s->entries, s->count, sizeof *s->entries, entry_order);
	for (size_t i = 0; i < s->count; i++) {
		struct entry *e = &s->entries[i];
		s->list[i] = e->ns;
		HASH_ADD_KEYPTR(by_id, s->by_id, e->ns.id, strlen(e->ns.id), e);
		HASH_ADD_KEYPTR(by_name, s->by_name, e->ns.name, strlen(e->ns.name), e);
	}
	return s;
}

static bool unchanged(const struct snapshot *s, const struct store_namespace *rows, size_t count)
{
	if (!s || s->count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct entry *e;
		HASH_FIND(by_id, s->by_id, rows[i].id, strlen(rows[i].id), e);
		if (!e || e->ns.version != rows[i].version || !str_eq(e->ns.name, rows[i].name))
			return false;
	}
	return true;
}

static void read_at(struct namespaces *n, int64_t due_ns)
{
	if (n->reading)
		return; /* its end arms the timer */
	if (!n->timer.armed || n->timer.due_ns > due_ns)
		env_timer_start(n->env, &n->timer, due_ns - env_mono_ns(n->env));
}

/* As soon as the distance to the read before allows. */
static void read_soon(struct namespaces *n)
{
	if (n->started)
		read_at(n, n->read_began_ns ? n->read_began_ns + READ_DISTANCE_NS : 0);
}

static void on_read(void *ctx, struct err e, const struct store_namespace *rows, size_t count)
{
	struct namespaces *n = ctx;
	n->reading = false;
	if (!err_is(e))
		n->cached_ns = n->read_began_ns;
	if (!err_is(e) && !unchanged(n->now, rows, count)) {
		snapshot_free(n->now);
		n->now = snapshot_new(rows, count);
	}
	if (n->served_next || n->stale)
		read_soon(n);
	else
		read_at(n, env_mono_ns(n->env) + (n->now && !err_is(e) ? n->refresh_ns : RETRY_DISTANCE_NS));
	/* A waiter may cancel others, and wait again: for the next read. */
	struct namespaces_wait *w;
	while ((w = n->served_now)) {
		DL_DELETE(n->served_now, w);
		w->waiting = false;
		w->fn(w, e);
	}
}

static void on_timer(struct env_timer *t)
{
	struct namespaces *n = container_of(t, struct namespaces, timer);
	assert(!n->reading);
	n->reading = true;
	n->stale = false;
	n->read_began_ns = env_mono_ns(n->env);
	assert(!n->served_now);
	n->served_now = n->served_next;
	n->served_next = NULL;
	store_namespaces(n->store, on_read, n);
}

static void on_notify(void *ctx, const char *topic)
{
	struct namespaces *n = ctx;
	if (!str_eq(topic, NAMESPACES_TOPIC))
		return;
	n->stale = true;
	read_soon(n);
}

struct namespaces *namespaces_new(struct env *env, struct store *store, const struct namespaces_config *config)
{
	struct namespaces *n = new0(struct namespaces);
	n->env = env;
	n->store = store;
	n->refresh_ns = config->refresh_ns > 0 ? config->refresh_ns : REFRESH_DEFAULT_NS;
	n->timer.fn = on_timer;
	return n;
}

void namespaces_start(struct namespaces *n)
{
	assert(!n->started);
	n->started = true;
	store_on_notify(n->store, on_notify, n);
	read_soon(n);
}

void namespaces_free(struct namespaces *n)
{
	if (!n)
		return;
	env_timer_stop(n->env, &n->timer);
	snapshot_free(n->now);
	free(n);
}

bool namespaces_loaded(const struct namespaces *n)
{
	return n->now != NULL;
}

int64_t namespaces_read_ns(const struct namespaces *n)
{
	return n->cached_ns;
}

const struct namespace *namespaces_by_name(const struct namespaces *n, const char *name)
{
	struct entry *e = NULL;
	if (n->now)
		HASH_FIND(by_name, n->now->by_name, name, strlen(name), e);
	return e ? &e->ns : NULL;
}

const struct namespace *namespaces_by_id(const struct namespaces *n, const char *id)
{
	struct entry *e = NULL;
	if (n->now)
		HASH_FIND(by_id, n->now->by_id, id, strlen(id), e);
	return e ? &e->ns : NULL;
}

const struct namespace *namespaces_all(const struct namespaces *n, size_t *ret_count)
{
	*ret_count = n->now ? n->now->count : 0;
	return n->now ? n->now->list : NULL;
}

void namespaces_refresh(struct namespaces *n, struct namespaces_wait *w)
{
	assert(!w->waiting && w->fn);
	w->waiting = true;
	DL_APPEND(n->served_next, w);
	read_soon(n);
}

void namespaces_refresh_cancel(struct namespaces *n, struct namespaces_wait *w)
{
	if (!w->waiting)
		return;
	w->waiting = false;
	struct namespaces_wait *in_next;
	DL_FOREACH (n->served_next, in_next)
		if (in_next == w)
			break;
	if (in_next)
		DL_DELETE(n->served_next, w);
	else
		DL_DELETE(n->served_now, w);
}
