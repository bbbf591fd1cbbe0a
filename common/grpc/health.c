/*
 * grpc.health.v1.Health: what is serving, once (Check, List) or as it changes (Watch).
 */
#include <grpc/health/v1/health.pb-c.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/grpc/builtin.h"
#include "common/mem/mem.h"

#define SERVING		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING	GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus health_status;

struct service {
	struct service *next;
	char *name;
	health_status status;
};

struct watcher {
	struct grpc_health *health;
	struct watcher *prev, *next;
	struct grpc_call *call;
	char *service;
	health_status told;
};

struct grpc_health {
	struct env *env;
	struct service *services;
	struct watcher *watchers;
	bool stopped;
};

struct grpc_health *grpc_health_new(struct env *env)
{
	struct grpc_health *h = new0(struct grpc_health);
	h->env = env;
	grpc_health_set(h, "", false);
	return h;
}

void grpc_health_free(struct grpc_health *h)
{
	assert(!h->watchers);
	struct service *s, *next;
	LL_FOREACH_SAFE (h->services, s, next) {
		free(s->name);
		free(s);
	}
	free(h);
}

static struct service *find(const struct grpc_health *h, const char *name)
{
	struct service *s;
	LL_FOREACH (h->services, s) {
		if (str_eq(s->name, name))
			return s;
	}
	return NULL;
}

static health_status status_of(const struct grpc_health *h, const char *name)
{
	const struct service *s = find(h, name);
	return s ? s->status : SERVICE_UNKNOWN;
}

static void tell(struct watcher *w, health_status status)
{
	struct arena *a = arena_new(0);
	Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	response.status = status;
	w->told = status;
	grpc_builtin_send(w->call, a, &response.base);
	arena_free(a);
}

void grpc_health_set(struct grpc_health *h, const char *name, bool serving)
{
	struct service *s = find(h, name);
	if (!s) {
		s = new0(struct service);
		s->name = mem_strdup(name);
		LL_PREPEND(h->services, s);
	}
	s->status = serving && !h->stopped ? SERVING : NOT_SERVING;
	struct watcher *w;
	DL_FOREACH (h->watchers, w) {
		if (w->told != s->status && str_eq(w->service, name))
			tell(w, s->status);
	}
}

static void watcher_end(struct watcher *w, struct err e)
{
	struct grpc_call *call = w->call;
	DL_DELETE(w->health->watchers, w);
	free(w->service);
	free(w);
	grpc_finish(call, e, NULL, 0);
}

void grpc_health_stop(struct grpc_health *h)
{
	h->stopped = true;
	struct service *s;
	LL_FOREACH (h->services, s) {
		grpc_health_set(h, s->name, false);
	}
	while (h->watchers)
		watcher_end(h->watchers, err_static(ERR_UNAVAILABLE, "the server is shutting down"));
}

/* The name asked for, or NULL after the call was finished with an error. */
static const char *asked(struct grpc_call *call, struct arena *a)
{
	struct bytes m = grpc_message(call);
	const Grpc__Health__V1__HealthCheckRequest *request =
		grpc__health__v1__health_check_request__unpack(arena_pb(a), m.len, m.data);
	if (request)
		return request->service;
	grpc_finish(call, err_static(ERR_INVALID_ARGUMENT, "malformed health check request"), NULL, 0);
	return NULL;
}

void grpc_health_check(struct grpc_health *h, struct grpc_call *call)
{
	struct arena *a = arena_new(GRPC_BUILTIN_ARENA_BYTES);
	const char *name = asked(call, a);
	if (name) {
		Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
		response.status = status_of(h, name);
		if (response.status == SERVICE_UNKNOWN)
			grpc_finish(call, err_static(ERR_NOT_FOUND, "unknown service"), NULL, 0);
		else
			grpc_builtin_finish(call, a, &response.base);
	}
	arena_free(a);
}

void grpc_health_list(struct grpc_health *h, struct grpc_call *call)
{
	struct arena *a = arena_new(0);
	Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
	struct service *s;
	size_t n;
	LL_COUNT(h->services, s, n);
	response.statuses = arena_array(a, Grpc__Health__V1__HealthListResponse__StatusesEntry *, n);
	LL_FOREACH (h->services, s) {
		Grpc__Health__V1__HealthCheckResponse *value = arena_new0(a, Grpc__Health__V1__HealthCheckResponse);
		grpc__health__v1__health_check_response__init(value);
		value->status = s->status;
		Grpc__Health__V1__HealthListResponse__StatusesEntry *entry =
			arena_new0(a, Grpc__Health__V1__HealthListResponse__StatusesEntry);
		*entry = (Grpc__Health__V1__HealthListResponse__StatusesEntry)
			GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__STATUSES_ENTRY__INIT;
		entry->key = s->name;
		entry->value = value;
		response.statuses[response.n_statuses++] = entry;
	}
	grpc_builtin_finish(call, a, &response.base);
	arena_free(a);
}

static void on_watch_cancelled(void *user, struct grpc_call *call)
{
	(void)call;
	watcher_end(user, err_static(ERR_CANCELLED, "cancelled"));
}

void grpc_health_watch(struct grpc_health *h, struct grpc_call *call)
{
	struct watcher *w = grpc_user(call);
	if (w && grpc_input_ended(call))
		return; /* the client has asked; we go on answering */
	if (w || grpc_input_ended(call)) {
		struct err e = err_static(ERR_INVALID_ARGUMENT, "a watch takes exactly one request");
		if (w)
			watcher_end(w, e);
		else
			grpc_finish(call, e, NULL, 0);
		return;
	}
	struct arena *a = arena_new(GRPC_BUILTIN_ARENA_BYTES);
	const char *name = asked(call, a);
	if (name && h->stopped) {
		grpc_finish(call, err_static(ERR_UNAVAILABLE, "the server is shutting down"), NULL, 0);
	} else if (name) {
		w = new0(struct watcher);
		w->health = h;
		w->call = call;
		w->service = mem_strdup(name);
		DL_APPEND(h->watchers, w);
		grpc_set_user(call, w);
		grpc_on_cancel(call, on_watch_cancelled);
		tell(w, status_of(h, name));
	}
	arena_free(a);
}
