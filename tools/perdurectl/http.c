/*
 * Asking daemons, over the HTTP ports that their rows in the database name.
 */
#include <curl/curl.h>
#include <stdio.h>

#include "tools/perdurectl/ctl.h"

#define TIMEOUT_MS 10000L
#define ANSWER_MAX ((size_t)128 << 20)

static size_t take(char *data, size_t size, size_t count, void *ctx)
{
	struct buf *b = ctx;
	if (b->len + size * count > ANSWER_MAX)
		return 0;
	buf_put(b, data, size * count);
	return size * count;
}

const char *ctl_escape(struct ctl *c, const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0);
	const char *copy = arena_strdup(c->arena, escaped ? escaped : "");
	curl_free(escaped);
	return copy;
}

struct err ctl_http(struct ctl *c, const char *address, const char *path, long *ret_status, struct bytes *ret)
{
	struct buf body = {0};
	char why[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	curl_easy_setopt(curl, CURLOPT_URL, arena_printf(c->arena, "http://%s%s", address, path));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 3000L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	*ret = arena_copy(c->arena, buf_view(&body));
	curl_easy_cleanup(curl);
	buf_done(&body);
	if (code != CURLE_OK)
		return err_make(c->arena, ERR_UNAVAILABLE, "%s: %s", address, *why ? why : curl_easy_strerror(code));
	return err_ok;
}

struct err ctl_http_json(struct ctl *c, const char *address, const char *path, json_t **ret)
{
	long status;
	struct bytes body;
	*ret = NULL;
	try(ctl_http(c, address, path, &status, &body));
	json_t *v = json_loadb((const char *)body.data, body.len, 0, NULL);
	const char *said = json_string_value(json_object_get(v, "error"));
	struct err e = err_ok;
	if (status == 404 && said)
		e = err_make(c->arena, ERR_NOT_FOUND, "%s", said);
	else if (status == 421)
		e = err_reason(err_make(c->arena, ERR_UNAVAILABLE, "%s: %s", address, said ? said : "not its shard"),
			       ERR_REASON_NOT_OWNER);
	else if (status != 200 || !v)
		e = err_make(c->arena, ERR_UNAVAILABLE, "%s: %s (status %ld)", address, said ? said : "no JSON",
			     status);
	if (err_is(e))
		json_decref(v);
	else
		*ret = v;
	return e;
}

/* ------------------------------------------------------------------ nodes */

json_t *ctl_ask_nodes(struct ctl *c, const char *role, const char *path, struct err *ret_err)
{
	struct ctl_node *nodes;
	size_t count;
	json_t *all = json_array();
	*ret_err = ctl_nodes(c, role, &nodes, &count);
	for (size_t i = 0; !err_is(*ret_err) && i < count; i++) {
		json_t *v;
		if (nodes[i].dead)
			continue;
		struct err e = ctl_http_json(c, nodes[i].http_address, path, &v);
		if (err_is(e))
			fprintf(stderr, "perdurectl: %s: %s\n", nodes[i].node_id, e.message);
		else
			json_array_append_new(all, v);
	}
	return all;
}
