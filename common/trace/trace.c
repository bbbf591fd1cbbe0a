/*
 * Spans from their begin to the collector.
 *
 *     span_end() ──► pending (JSON, bounded) ──each second, or when many──► sending ──2xx──► gone
 *                        │ full: dropped                                    │ 429, 5xx, no answer: again, a few times
 */
#include "common/trace/trace.h"

#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/trace/internal.h"
#include "common/trace/post.h"

#define FLUSH_NS      NS_PER_S
#define FLUSH_SPANS   512
#define TIMEOUT_NS    (10 * NS_PER_S)
#define ATTEMPTS_MAX  4
#define AGAIN_MIN_NS  NS_PER_S
#define PENDING_BYTES ((size_t)4 << 20)
#define TEXT_MAX      1024 /* of an attribute */
#define HEADERS_MAX   16

struct trace {
	struct loop *loop;
	struct env *env;
	struct trace_config config; /* strings owned */
	struct post *post;
	struct buf pending; /* spans, with commas between */
	size_t pending_count;
	struct buf body; /* under way, or to be sent again */
	size_t body_count;
	int attempts;
	struct env_timer flush, again;
	struct counter *sent, *dropped;
};

/* ------------------------------------------------------------------ out */

static void count(struct counter *c, size_t n)
{
	if (c)
		counter_add(c, (int64_t)n);
}

static void send_body(struct trace *t);

static void body_over(struct trace *t, struct counter *outcome)
{
	count(outcome, t->body_count);
	t->body.len = 0;
	t->body_count = 0;
	t->attempts = 0;
	if (t->pending_count >= FLUSH_SPANS)
		trace_flush(t);
}

/* OTLP, "Failures": these may be sent again, others never. */
static bool may_repeat(long status)
{
	return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

static void on_posted(void *ctx, long status, const char *why)
{
	struct trace *t = ctx;
	if (status >= 200 && status < 300) {
		body_over(t, t->sent);
		return;
	}
	if (may_repeat(status) && t->attempts < ATTEMPTS_MAX) {
		env_timer_start(t->env, &t->again, AGAIN_MIN_NS << (t->attempts - 1));
		return;
	}
	log_warn(t->config.log, "traces could not be delivered and are dropped",
		 log_str("endpoint", t->config.endpoint), log_int("status", status),
		 log_str("why", status ? NULL : why), log_int("spans", (int64_t)t->body_count));
	body_over(t, t->dropped);
}

static void send_body(struct trace *t)
{
	t->attempts++;
	post_send(t->post, buf_view(&t->body), on_posted, t);
}

static void on_again(struct env_timer *timer)
{
	send_body(container_of(timer, struct trace, again));
}

void trace_set_ratio(struct trace *t, int64_t per_million)
{
	if (t)
		t->config.per_million = per_million;
}

void trace_flush(struct trace *t)
{
	if (!t || !t->pending_count || t->body_count)
		return;
	otlp_put_head(&t->body, &t->config);
	buf_put_bytes(&t->body, buf_view(&t->pending));
	buf_put(&t->body, OTLP_TAIL, strlen(OTLP_TAIL));
	t->body_count = t->pending_count;
	t->pending.len = 0;
	t->pending_count = 0;
	send_body(t);
}

static void on_flush(struct env_timer *timer)
{
	struct trace *t = container_of(timer, struct trace, flush);
	trace_flush(t);
	if (t->pending_count)
		env_timer_start(t->env, &t->flush, FLUSH_NS);
}

static void put_span(struct trace *t, const struct span *s, int64_t ended_wall_ns, struct err e)
{
	if (t->pending_count >= TRACE_SPANS_MAX || t->pending.len >= PENDING_BYTES) {
		count(t->dropped, 1);
		return;
	}
	if (t->pending_count)
		buf_put(&t->pending, ",", 1);
	otlp_put_span(&t->pending, s, ended_wall_ns, e);
	t->pending_count++;
	if (t->pending_count >= FLUSH_SPANS)
		trace_flush(t);
	if (t->pending_count && !t->flush.armed)
		env_timer_start(t->env, &t->flush, FLUSH_NS);
}

/* ------------------------------------------------------------------ spans */

static struct span *begin(struct trace *t, enum span_kind kind, const char *name, const struct trace_parent *parent)
{
	struct span *s = new0(struct span);
	s->trace = t;
	s->name = mem_strdup(name);
	s->kind = kind;
	s->began_ns = env_mono_ns(t->env);
	s->began_wall_ns = env_wall_ns(t->env);
	env_random(t->env, s->id, sizeof s->id);
	if (parent) {
		s->has_parent = true;
		memcpy(s->trace_id, parent->trace_id, sizeof s->trace_id);
		memcpy(s->parent_id, parent->span_id, sizeof s->parent_id);
	} else {
		env_random(t->env, s->trace_id, sizeof s->trace_id);
	}
	trace_format_parent(s, s->traceparent);
	return s;
}

static bool chosen(struct trace *t)
{
	uint32_t dice;
	if (t->config.per_million <= 0)
		return false;
	env_random(t->env, &dice, sizeof dice);
	return dice % 1000000u < (uint64_t)t->config.per_million;
}

struct span *span_root(struct trace *t, enum span_kind kind, const char *name, const char *traceparent)
{
	struct trace_parent parent;
	if (!t)
		return NULL;
	if (trace_parse_parent(traceparent, &parent))
		return parent.sampled ? begin(t, kind, name, &parent) : NULL;
	return chosen(t) ? begin(t, kind, name, NULL) : NULL;
}

struct span *span_continue(struct trace *t, enum span_kind kind, const char *name, const char *traceparent)
{
	struct trace_parent parent;
	if (!t || !trace_parse_parent(traceparent, &parent) || !parent.sampled)
		return NULL;
	return begin(t, kind, name, &parent);
}

void span_began(struct span *s, int64_t began_ns)
{
	if (!s)
		return;
	s->began_wall_ns += began_ns - s->began_ns;
	s->began_ns = began_ns;
}

void span_link(struct span *s, const char *traceparent)
{
	struct trace_parent to;
	if (!s || !trace_parse_parent(traceparent, &to))
		return;
	s->has_link = true;
	memcpy(s->link_trace_id, to.trace_id, sizeof s->link_trace_id);
	memcpy(s->link_id, to.span_id, sizeof s->link_id);
}

void span_join(struct span *s, const char *traceparent)
{
	struct trace_parent to;
	if (!s || !trace_parse_parent(traceparent, &to))
		return;
	if (s->has_parent) {
		if (memcmp(s->parent_id, to.span_id, sizeof to.span_id) != 0)
			span_link(s, traceparent);
		return;
	}
	s->has_parent = true;
	memcpy(s->trace_id, to.trace_id, sizeof s->trace_id);
	memcpy(s->parent_id, to.span_id, sizeof s->parent_id);
	trace_format_parent(s, s->traceparent);
}

const char *span_traceparent(const struct span *s)
{
	return s ? s->traceparent : NULL;
}

static struct span_attribute *attribute(struct span *s, const char *key)
{
	if (!s || s->attribute_count == SPAN_ATTRIBUTES_MAX)
		return NULL;
	struct span_attribute *a = &s->attributes[s->attribute_count++];
	a->key = mem_strdup(key);
	return a;
}

void span_text(struct span *s, const char *key, const char *value)
{
	struct span_attribute *a = str_empty(value) || strlen(value) > TEXT_MAX ? NULL : attribute(s, key);
	if (a)
		a->text = mem_strdup(value);
}

void span_int(struct span *s, const char *key, int64_t value)
{
	struct span_attribute *a = attribute(s, key);
	if (a)
		a->number = value;
}

void span_part(struct span *s, const char *name, int64_t began_ns, int64_t ended_ns)
{
	if (!s)
		return;
	struct span part = {.trace = s->trace, .name = (char *)name, .kind = SPAN_INTERNAL, .has_parent = true};
	memcpy(part.trace_id, s->trace_id, sizeof part.trace_id);
	memcpy(part.parent_id, s->id, sizeof part.parent_id);
	env_random(s->trace->env, part.id, sizeof part.id);
	part.began_wall_ns = s->began_wall_ns + (began_ns - s->began_ns);
	put_span(s->trace, &part, part.began_wall_ns + (ended_ns - began_ns), err_ok);
}

void span_end(struct span *s, struct err e)
{
	if (!s)
		return;
	struct trace *t = s->trace;
	put_span(t, s, s->began_wall_ns + (env_mono_ns(t->env) - s->began_ns), e);
	for (size_t i = 0; i < s->attribute_count; i++) {
		free(s->attributes[i].key);
		free(s->attributes[i].text);
	}
	free(s->name);
	free(s);
}

/* ------------------------------------------------------------------ life */

static struct counter *outcome_counter(const struct trace_config *c, const char *outcome)
{
	if (!c->metrics)
		return NULL;
	const struct metric_label labels[] = {{"outcome", outcome}, {"service_name", c->service}};
	return metrics_counter(c->metrics, "perdure_trace_spans_total",
			       "Spans of traces, by whether the collector has them.", labels, 2);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place: %xx as it is meant, blanks at the end and control characters gone. */
static const char *unescape(char *text)
{
	char *out = text;
	for (const char *c = text; *c; c++) {
		int high = *c == '%' ? hex_value(c[1]) : -1, low = high >= 0 ? hex_value(c[2]) : -1;
		char one = low >= 0 ? (char)(high << 4 | low) : *c;
		if (low >= 0)
			c += 2;
		if ((unsigned char)one >= ' ')
			*out++ = one;
	}
	while (out > text && out[-1] == ' ')
		out--;
	*out = 0;
	return text;
}

/* "name=value,name=value", blanks around them left out, %xx in values decoded: as OTEL_EXPORTER_OTLP_HEADERS is
 * written. */
static struct err parse_headers(const char *text, struct arena *a, struct post_config *ret)
{
	const char **headers = arena_array(a, const char *, HEADERS_MAX);
	ret->headers = headers;
	char *rest = arena_strdup(a, text ? text : ""), *one;
	while ((one = strsep(&rest, ",")) != NULL) {
		one += strspn(one, " \t");
		if (!*one)
			continue;
		char *value = strchr(one, '=');
		size_t name_len = strcspn(one, "= \t");
		if (!value || !name_len || ret->header_count == HEADERS_MAX)
			return err_make(a, ERR_INVALID_ARGUMENT,
					"trace.headers: expected at most %d of name=value, with commas between",
					HEADERS_MAX);
		headers[ret->header_count++] =
			arena_printf(a, "%.*s: %s", (int)name_len, one, unescape(value + 1 + strspn(value + 1, " \t")));
	}
	return err_ok;
}

struct err trace_new(struct loop *loop, const struct trace_config *config, struct arena *errors, struct trace **ret)
{
	const char *url = config->endpoint, *path = "/v1/traces";
	size_t len = strlen(url), path_len = strlen(path);
	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return err_make(errors, ERR_INVALID_ARGUMENT,
				"trace.endpoint: expected a URL that begins with http:// or https://, got \"%s\"", url);
	while (len && url[len - 1] == '/')
		len--;
	bool has_path = len >= path_len && memcmp(url + len - path_len, path, path_len) == 0;
	struct post_config post = {
		.url = arena_printf(errors, "%.*s%s", (int)len, url, has_path ? "" : path),
		.content_type = "application/json",
		.timeout_ns = TIMEOUT_NS,
		.gzip = config->gzip,
	};
	try(parse_headers(config->headers, errors, &post));
	struct trace *t = new0(struct trace);
	t->loop = loop;
	t->env = loop_env(loop);
	t->config = *config;
	t->config.endpoint = mem_strdup(post.url);
	t->config.headers = NULL;
	t->config.service = mem_strdup(config->service);
	t->config.node_id = mem_strdup(config->node_id);
	t->config.version = mem_strdup(config->version);
	t->sent = outcome_counter(config, "sent");
	t->dropped = outcome_counter(config, "dropped");
	t->flush.fn = on_flush;
	t->again.fn = on_again;
	t->post = post_new(loop, &post);
	*ret = t;
	return err_ok;
}

void trace_free(struct trace *t)
{
	if (!t)
		return;
	post_free(t->post);
	env_timer_stop(t->env, &t->flush);
	env_timer_stop(t->env, &t->again);
	buf_done(&t->pending);
	buf_done(&t->body);
	free((char *)t->config.endpoint);
	free((char *)t->config.service);
	free((char *)t->config.node_id);
	free((char *)t->config.version);
	free(t);
}
