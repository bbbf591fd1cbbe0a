/*
 * Looking at certificate files, and loading them again.
 */
#include "common/tls/tls_watch.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "common/tls/tls_cert.h"

#define LOOK_NS	  (2 * NS_PER_S)
#define FILES_MAX 3

/* What tells one state of a file from another; all zero: it isn't there. */
struct stamp {
	struct {
		dev_t device;
		ino_t inode;
		int64_t changed_ns;
		int64_t bytes;
	} files[FILES_MAX];
};

struct watched {
	struct tls_watched w; /* strings are ours */
	struct stamp loaded;  /* or tried, in vain */
	struct stamp seen;    /* at the last look */
	struct arena *arena;  /* of the facts */
	struct tls_cert *certs, *authorities;
	size_t cert_count, authority_count;
	int64_t loaded_ns; /* wall clock */
	char *problem;	   /* NULL: none */
	struct watched *next;
};

struct tls_watch {
	struct env *env;
	struct log *log;
	struct metrics *metrics;
	struct env_timer timer;
	struct watched *all;
};

static struct stamp stamp_of(const struct tls_watched *w)
{
	const char *const paths[FILES_MAX] = {w->cert_file, w->key_file, w->ca_file};
	struct stamp s;
	memset(&s, 0, sizeof s);
	for (size_t i = 0; i < FILES_MAX; i++) {
		struct stat st;
		if (!paths[i] || stat(paths[i], &st) != 0)
			continue;
		s.files[i].device = st.st_dev;
		s.files[i].inode = st.st_ino;
		s.files[i].changed_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
		s.files[i].bytes = st.st_size;
	}
	return s;
}

static bool same(const struct stamp *a, const struct stamp *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* ------------------------------------------------------------------ what is in use */

static void gauge(struct tls_watch *w, const struct watched *x, const char *kind, const struct tls_cert *list,
		  size_t count)
{
	int64_t first = INT64_MAX;
	for (size_t i = 0; i < count; i++)
		first = min_i64(first, list[i].not_after_s);
	if (!w->metrics || count == 0)
		return;
	const struct metric_label labels[] = {{"use", x->w.use}, {"kind", kind}};
	gauge_set(metrics_gauge(w->metrics, "perdure_certificate_expiry_time_seconds",
				"When the first of the certificates in use expires (Unix time).", labels,
				array_len(labels)),
		  first);
}

static void count(struct tls_watch *w, const struct watched *x, const char *result)
{
	const struct metric_label labels[] = {{"use", x->w.use}, {"result", result}};
	if (w->metrics)
		counter_inc(metrics_counter(w->metrics, "perdure_certificate_reloads_total",
					    "Times that changed certificate files were loaded, or could not be.",
					    labels, array_len(labels)));
}

static struct err read_facts(const struct tls_watched *w, struct watched *to)
{
	try(tls_certs_read(w->cert_file, to->arena, &to->certs, &to->cert_count));
	return w->ca_file ? tls_certs_read(w->ca_file, to->arena, &to->authorities, &to->authority_count) : err_ok;
}

/* Facts of files that have just been loaded; should they have changed since, the next look sees it. */
static void note_facts(struct tls_watch *w, struct watched *x)
{
	arena_free(x->arena);
	x->arena = arena_new(0);
	x->cert_count = x->authority_count = 0;
	if (err_is(read_facts(&x->w, x)))
		return;
	x->loaded_ns = env_wall_ns(w->env);
	gauge(w, x, "certificate", x->certs, x->cert_count);
	gauge(w, x, "authority", x->authorities, x->authority_count);
}

static void reload(struct tls_watch *w, struct watched *x)
{
	struct arena *errors = arena_new(0);
	x->loaded = stamp_of(&x->w);
	struct err e = x->w.reload(x->w.ctx, errors);
	free(x->problem);
	x->problem = err_is(e) ? mem_strdup(e.message) : NULL;
	count(w, x, err_is(e) ? "failed" : "loaded");
	if (err_is(e)) {
		log_error(w->log, "new certificate files cannot be used, the old ones stay in use",
			  log_str("use", x->w.use), log_err(e));
	} else {
		note_facts(w, x);
		log_info(w->log, "certificates loaded", log_str("use", x->w.use),
			 log_str("subject", x->cert_count ? x->certs[0].subject : NULL),
			 log_str("fingerprint", x->cert_count ? x->certs[0].fingerprint : NULL),
			 log_int("not_after", x->cert_count ? x->certs[0].not_after_s : 0));
	}
	arena_free(errors);
}

/* ------------------------------------------------------------------ looking */

static void on_look(struct env_timer *t)
{
	struct tls_watch *w = container_of(t, struct tls_watch, timer);
	struct watched *x;
	LL_FOREACH (w->all, x) {
		struct stamp now = stamp_of(&x->w);
		if (!same(&now, &x->loaded) && same(&now, &x->seen))
			reload(w, x);
		x->seen = now;
	}
	env_timer_start(w->env, t, LOOK_NS);
}

void tls_watch_look(struct tls_watch *w)
{
	struct watched *x;
	LL_FOREACH (w->all, x) {
		reload(w, x);
	}
}

/* ------------------------------------------------------------------ making and ending */

struct tls_watch *tls_watch_new(struct env *env, struct log *log, struct metrics *metrics)
{
	struct tls_watch *w = new0(struct tls_watch);
	*w = (struct tls_watch){.env = env, .log = log, .metrics = metrics, .timer.fn = on_look};
	return w;
}

static void watched_free(struct watched *x)
{
	free((char *)x->w.use);
	free((char *)x->w.cert_file);
	free((char *)x->w.key_file);
	free((char *)x->w.ca_file);
	free(x->problem);
	arena_free(x->arena);
	free(x);
}

void tls_watch_free(struct tls_watch *w)
{
	if (!w)
		return;
	env_timer_stop(w->env, &w->timer);
	struct watched *x, *next;
	LL_FOREACH_SAFE (w->all, x, next) {
		watched_free(x);
	}
	free(w);
}

void tls_watch_add(struct tls_watch *w, const struct tls_watched *watched)
{
	if (!w)
		return;
	struct watched *x = new0(struct watched);
	x->w = *watched;
	x->w.use = mem_strdup(watched->use);
	x->w.cert_file = mem_strdup(watched->cert_file);
	x->w.key_file = mem_strdup(watched->key_file);
	x->w.ca_file = watched->ca_file ? mem_strdup(watched->ca_file) : NULL;
	x->loaded = x->seen = stamp_of(&x->w);
	note_facts(w, x);
	LL_APPEND(w->all, x);
	if (!w->timer.armed)
		env_timer_start(w->env, &w->timer, LOOK_NS);
}

void tls_watch_remove(struct tls_watch *w, void *ctx)
{
	if (!w)
		return;
	struct watched *x, *next;
	LL_FOREACH_SAFE (w->all, x, next) {
		if (x->w.ctx != ctx)
			continue;
		LL_DELETE(w->all, x);
		watched_free(x);
	}
}

/* ------------------------------------------------------------------ showing */

static json_t *certs_json(const struct tls_cert *list, size_t n)
{
	json_t *out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, tls_cert_json(&list[i]));
	return out;
}

json_t *tls_watch_json(const struct tls_watch *w)
{
	json_t *list = json_array();
	const struct watched *x;
	LL_FOREACH (w->all, x) {
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:I, s:s}", "use", x->w.use,
						      "cert_file", x->w.cert_file, "key_file", x->w.key_file, "ca_file",
						      x->w.ca_file, "certificates", certs_json(x->certs, x->cert_count),
						      "authorities", certs_json(x->authorities, x->authority_count),
						      "loaded_at", (json_int_t)(x->loaded_ns / NS_PER_S), "problem",
						      x->problem ? x->problem : ""));
	}
	return list;
}
