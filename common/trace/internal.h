/*
 * A span, and how it is written. For common/trace only.
 */
#ifndef COMMON_TRACE_INTERNAL_H
#define COMMON_TRACE_INTERNAL_H

#include "common/trace/trace.h"

#define TRACE_ID_BYTES 16
#define SPAN_ID_BYTES  8
/* "00-" trace "-" span "-01" and its NUL. */
#define TRACEPARENT_SIZE 56

struct span_attribute {
	char *key;
	char *text; /* NULL: a number */
	int64_t number;
};

struct span {
	struct trace *trace;
	char *name;
	enum span_kind kind;
	uint8_t trace_id[TRACE_ID_BYTES], id[SPAN_ID_BYTES], parent_id[SPAN_ID_BYTES];
	bool has_parent, has_link;
	uint8_t link_trace_id[TRACE_ID_BYTES], link_id[SPAN_ID_BYTES];
	int64_t began_wall_ns, began_ns; /* wall and monotonic clock at the same moment */
	char traceparent[TRACEPARENT_SIZE];
	struct span_attribute attributes[SPAN_ATTRIBUTES_MAX];
	size_t attribute_count;
};

struct trace_parent {
	uint8_t trace_id[TRACE_ID_BYTES], span_id[SPAN_ID_BYTES];
	bool sampled;
};

/* W3C Trace Context, section 3.2: false for what is malformed. */
bool trace_parse_parent(const char *text, struct trace_parent *ret);
void trace_format_parent(const struct span *s, char out[TRACEPARENT_SIZE]);

/* OTLP's JSON (opentelemetry-proto, "JSON Protobuf Encoding"). A span as one object. */
void otlp_put_span(struct buf *out, const struct span *s, int64_t ended_wall_ns, struct err e);
/* What stands before the spans and after them in a request. */
void otlp_put_head(struct buf *out, const struct trace_config *c);
#define OTLP_TAIL "]}]}]}"

#endif
