/*
 * Spans as OTLP's JSON, and trace contexts as text.
 *
 * 64-bit numbers are strings there, ids are hexadecimal. Texts that are not UTF-8 are left out.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/trace/internal.h"

/* ------------------------------------------------------------------ contexts */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False: other characters, or all zero. */
static bool parse_id(const char *text, uint8_t *out, size_t bytes)
{
	uint8_t any = 0;
	for (size_t i = 0; i < bytes; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
		any |= out[i];
	}
	return any;
}

bool trace_parse_parent(const char *text, struct trace_parent *ret)
{
	size_t len = text ? strlen(text) : 0;
	if (len < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-')
		return false;
	int version_high = hex_digit(text[0]), version_low = hex_digit(text[1]);
	int flags_high = hex_digit(text[53]), flags_low = hex_digit(text[54]);
	if (version_high < 0 || version_low < 0 || flags_high < 0 || flags_low < 0)
		return false;
	int version = version_high << 4 | version_low;
	/* Later versions may have more behind it. */
	if (version == 0xff || (version == 0 ? len != 55 : len > 55 && text[55] != '-'))
		return false;
	ret->sampled = flags_low & 1;
	return parse_id(text + 3, ret->trace_id, TRACE_ID_BYTES) && parse_id(text + 36, ret->span_id, SPAN_ID_BYTES);
}

static const char *hex(const uint8_t *id, size_t bytes, char *out)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < bytes; i++) {
		out[2 * i] = digits[id[i] >> 4];
		out[2 * i + 1] = digits[id[i] & 15];
	}
	out[2 * bytes] = 0;
	return out;
}

void trace_format_parent(const struct span *s, char out[TRACEPARENT_SIZE])
{
	char trace[2 * TRACE_ID_BYTES + 1], id[2 * SPAN_ID_BYTES + 1];
	snprintf(out, TRACEPARENT_SIZE, "00-%s-%s-01", hex(s->trace_id, TRACE_ID_BYTES, trace),
		 hex(s->id, SPAN_ID_BYTES, id));
}

/* ------------------------------------------------------------------ JSON */

static int put_chunk(const char *data, size_t len, void *ctx)
{
	buf_put(ctx, data, len);
	return 0;
}

static void put_json(struct buf *out, json_t *j)
{
	json_dump_callback(j, put_chunk, out, JSON_COMPACT);
	json_decref(j);
}

static json_t *number(int64_t n)
{
	char text[24];
	snprintf(text, sizeof text, "%" PRId64, n);
	return json_string(text);
}

static void add_text(json_t *list, const char *key, const char *value)
{
	json_t *v = json_string(value); /* NULL: not UTF-8 */
	if (v)
		json_array_append_new(list, json_pack("{s:s, s:{s:o}}", "key", key, "value", "stringValue", v));
}

static json_t *attributes_of(const struct span *s)
{
	json_t *list = json_array();
	for (size_t i = 0; i < s->attribute_count; i++) {
		const struct span_attribute *a = &s->attributes[i];
		if (a->text)
			add_text(list, a->key, a->text);
		else
			json_array_append_new(list, json_pack("{s:s, s:{s:o}}", "key", a->key, "value", "intValue",
							      number(a->number)));
	}
	return list;
}

void otlp_put_span(struct buf *out, const struct span *s, int64_t ended_wall_ns, struct err e)
{
	char id[2 * TRACE_ID_BYTES + 1];
	json_t *j = json_object();
	json_object_set_new(j, "traceId", json_string(hex(s->trace_id, TRACE_ID_BYTES, id)));
	json_object_set_new(j, "spanId", json_string(hex(s->id, SPAN_ID_BYTES, id)));
	if (s->has_parent)
		json_object_set_new(j, "parentSpanId", json_string(hex(s->parent_id, SPAN_ID_BYTES, id)));
	json_object_set_new(j, "name", json_string(s->name));
	json_object_set_new(j, "kind", json_integer(s->kind));
	json_object_set_new(j, "startTimeUnixNano", number(s->began_wall_ns));
	json_object_set_new(j, "endTimeUnixNano", number(ended_wall_ns));
	json_object_set_new(j, "attributes", attributes_of(s));
	if (s->has_link) {
		char link[2 * SPAN_ID_BYTES + 1];
		json_object_set_new(j, "links",
				    json_pack("[{s:s, s:s}]", "traceId", hex(s->link_trace_id, TRACE_ID_BYTES, id),
					      "spanId", hex(s->link_id, SPAN_ID_BYTES, link)));
	}
	json_t *status = json_object();
	if (err_is(e)) {
		json_object_set_new(status, "code", json_integer(2));
		json_object_set_new(status, "message", json_string(e.message ? e.message : ""));
	}
	json_object_set_new(j, "status", status);
	put_json(out, j);
}

void otlp_put_head(struct buf *out, const struct trace_config *c)
{
	json_t *about = json_array();
	add_text(about, "service.name", c->service);
	add_text(about, "service.namespace", "perdure");
	add_text(about, "service.instance.id", c->node_id);
	add_text(about, "service.version", c->version);
	buf_printf(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":");
	put_json(out, about);
	buf_printf(out, "},\"scopeSpans\":[{\"scope\":{\"name\":\"perdure\"},\"spans\":[");
}
