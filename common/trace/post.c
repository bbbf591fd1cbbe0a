/*
 * libcurl's multi interface driven by our loop: it names the descriptors and the time it wants to be called at.
 */
#include "common/trace/post.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <utlist.h>
#include <zlib.h>

#include "common/mem/mem.h"

/* A descriptor of libcurl's. */
struct watched {
	struct post *post;
	curl_socket_t fd;
	struct loop_poll *poll;
	struct watched *prev, *next;
};

struct post {
	struct loop *loop;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	bool gzip;
	struct buf packed; /* the body under way, with gzip */
	struct env_timer timer;
	struct watched *watched;
	char error[CURL_ERROR_SIZE];
	post_done_fn *fn; /* NULL: none under way */
	void *ctx;
};

/* ------------------------------------------------------------------ what libcurl asks for */

static void finish(struct post *p)
{
	CURLMsg *m;
	int left;
	while ((m = curl_multi_info_read(p->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode result = m->data.result;
		long status = 0;
		if (result == CURLE_OK)
			curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
		curl_multi_remove_handle(p->multi, p->easy);
		post_done_fn *fn = p->fn;
		p->fn = NULL;
		fn(p->ctx, status, *p->error ? p->error : curl_easy_strerror(result));
		return; /* only one was under way, and p may be gone */
	}
}

static void on_ready(void *ctx, bool readable, bool writable)
{
	struct watched *w = ctx;
	struct post *p = w->post;
	int running;
	curl_multi_socket_action(p->multi, w->fd, (readable ? CURL_CSELECT_IN : 0) | (writable ? CURL_CSELECT_OUT : 0),
				 &running);
	finish(p);
}

static void unwatch(struct watched *w)
{
	loop_poll_free(w->poll);
	DL_DELETE(w->post->watched, w);
	free(w);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
	struct post *p = ctx;
	struct watched *w = known;
	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			unwatch(w);
		curl_multi_assign(p->multi, fd, NULL);
		return 0;
	}
	if (!w) {
		w = new0(struct watched);
		w->post = p;
		w->fd = fd;
		w->poll = loop_poll_new(p->loop, fd, on_ready, w);
		DL_APPEND(p->watched, w);
		curl_multi_assign(p->multi, fd, w);
	}
	loop_poll_set(w->poll, what & CURL_POLL_IN, what & CURL_POLL_OUT);
	return 0;
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
	struct post *p = ctx;
	(void)multi;
	if (timeout_ms < 0)
		env_timer_stop(loop_env(p->loop), &p->timer);
	else
		env_timer_start(loop_env(p->loop), &p->timer, timeout_ms * NS_PER_MS);
	return 0;
}

static void on_timer(struct env_timer *t)
{
	struct post *p = container_of(t, struct post, timer);
	int running;
	curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	finish(p);
}

static size_t drop_answer(char *data, size_t size, size_t n, void *ctx)
{
	(void)data;
	(void)ctx;
	return size * n;
}

/* ------------------------------------------------------------------ life */

static void set_headers(struct post *p, const struct post_config *config)
{
	char type[128];
	snprintf(type, sizeof type, "Content-Type: %s", config->content_type);
	p->headers = curl_slist_append(p->headers, type);
	p->headers = curl_slist_append(p->headers, "Expect:"); /* no round trip before the body */
	if (config->gzip)
		p->headers = curl_slist_append(p->headers, "Content-Encoding: gzip");
	for (size_t i = 0; i < config->header_count; i++)
		p->headers = curl_slist_append(p->headers, config->headers[i]);
	curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, p->headers);
}

struct post *post_new(struct loop *loop, const struct post_config *config)
{
	struct post *p = new0(struct post);
	p->loop = loop;
	p->gzip = config->gzip;
	p->timer.fn = on_timer;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	p->multi = curl_multi_init();
	p->easy = curl_easy_init();
	assert(p->multi && p->easy);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	set_headers(p, config);
	curl_easy_setopt(p->easy, CURLOPT_URL, config->url);
	curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)(config->timeout_ns / NS_PER_MS));
	curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(p->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(p->easy, CURLOPT_ERRORBUFFER, p->error);
	curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, drop_answer);
	return p;
}

void post_free(struct post *p)
{
	if (!p)
		return;
	if (p->fn)
		curl_multi_remove_handle(p->multi, p->easy);
	curl_easy_cleanup(p->easy);
	curl_multi_cleanup(p->multi); /* tells of each descriptor that it goes, as a rule */
	while (p->watched)
		unwatch(p->watched);
	env_timer_stop(loop_env(p->loop), &p->timer);
	curl_slist_free_all(p->headers);
	buf_done(&p->packed);
	curl_global_cleanup();
	free(p);
}

/* RFC 1952; the fastest level: spans repeat themselves anyway. */
static struct bytes pack(struct post *p, struct bytes body)
{
	z_stream z = {0};
	int ok = deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	assert(ok == Z_OK);
	size_t bound = deflateBound(&z, body.len);
	p->packed.len = 0;
	z.next_in = (uint8_t *)body.data;
	z.avail_in = (unsigned)body.len; /* a few MiB at the most */
	z.next_out = buf_reserve(&p->packed, bound);
	z.avail_out = (unsigned)bound;
	ok = deflate(&z, Z_FINISH);
	assert(ok == Z_STREAM_END);
	p->packed.len = z.total_out;
	deflateEnd(&z);
	return buf_view(&p->packed);
}

void post_send(struct post *p, struct bytes body, post_done_fn *fn, void *ctx)
{
	assert(!p->fn);
	if (p->gzip)
		body = pack(p, body);
	p->fn = fn;
	p->ctx = ctx;
	*p->error = 0;
	curl_easy_setopt(p->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDS, body.data);
	curl_multi_add_handle(p->multi, p->easy);
}

bool post_busy(const struct post *p)
{
	return p->fn;
}
