/*
 * Making, copying and classifying errors.
 */
#include "common/err/err.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
	const char *name;
	bool retryable;
} codes[] = {
	[ERR_OK] = {"OK", false},
	[ERR_CANCELLED] = {"CANCELLED", false},
	[ERR_UNKNOWN] = {"UNKNOWN", false},
	[ERR_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", false},
	[ERR_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", false},
	[ERR_NOT_FOUND] = {"NOT_FOUND", false},
	[ERR_ALREADY_EXISTS] = {"ALREADY_EXISTS", false},
	[ERR_PERMISSION_DENIED] = {"PERMISSION_DENIED", false},
	[ERR_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", false},
	[ERR_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", false},
	[ERR_ABORTED] = {"ABORTED", true},
	[ERR_OUT_OF_RANGE] = {"OUT_OF_RANGE", false},
	[ERR_UNIMPLEMENTED] = {"UNIMPLEMENTED", false},
	[ERR_INTERNAL] = {"INTERNAL", false},
	[ERR_UNAVAILABLE] = {"UNAVAILABLE", true},
	[ERR_DATA_LOSS] = {"DATA_LOSS", false},
	[ERR_UNAUTHENTICATED] = {"UNAUTHENTICATED", false},
};

struct err err_make(struct arena *a, enum err_code code, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *text = arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
	vsnprintf(text, (size_t)(n < 0 ? 0 : n) + 1, fmt, again);
	va_end(again);
	return (struct err){.code = code, .message = text};
}

struct err err_reason(struct err e, enum err_reason reason)
{
	e.reason = reason;
	return e;
}

struct err err_detail(struct arena *a, struct err e, const ProtobufCMessage *detail)
{
	size_t len = protobuf_c_message_get_packed_size(detail);
	uint8_t *data = arena_alloc(a, len);
	protobuf_c_message_pack(detail, data);
	e.detail_type = detail->descriptor->name;
	e.detail = bytes_of(data, len);
	return e;
}

struct err err_copy(struct arena *a, struct err e)
{
	e.message = e.message ? arena_strdup(a, e.message) : NULL;
	e.detail_type = e.detail_type ? arena_strdup(a, e.detail_type) : NULL;
	e.detail = arena_copy(a, e.detail);
	return e;
}

bool err_retryable(struct err e)
{
	if (e.reason == ERR_REASON_NOT_OWNER || e.reason == ERR_REASON_DRAINING)
		return true;
	return (size_t)e.code < array_len(codes) && codes[e.code].retryable;
}

const char *err_code_name(enum err_code code)
{
	return (size_t)code < array_len(codes) ? codes[code].name : "UNKNOWN";
}
