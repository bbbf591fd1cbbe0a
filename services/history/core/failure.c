/*
 * Failures made or cut by the server.
 */
#include "services/history/core/failure.h"

#define FAILURE_INFO(name) TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_##name
#define CAUSES_MAX	   20

typedef Temporal__Api__Failure__V1__Failure failure_t;

static failure_t *failure_new(struct arena *a, const char *message)
{
	failure_t *f = arena_new0(a, failure_t);
	temporal__api__failure__v1__failure__init(f);
	f->message = (char *)message;
	return f;
}

failure_t *failure_server(struct arena *a, const char *message, bool non_retryable)
{
	failure_t *f = failure_new(a, message);
	f->failure_info_case = FAILURE_INFO(SERVER_FAILURE_INFO);
	f->server_failure_info = arena_new0(a, Temporal__Api__Failure__V1__ServerFailureInfo);
	temporal__api__failure__v1__server_failure_info__init(f->server_failure_info);
	f->server_failure_info->non_retryable = non_retryable;
	return f;
}

failure_t *failure_timeout(struct arena *a, const char *message, Temporal__Api__Enums__V1__TimeoutType type)
{
	failure_t *f = failure_new(a, message);
	f->source = (char *)"Server";
	f->failure_info_case = FAILURE_INFO(TIMEOUT_FAILURE_INFO);
	f->timeout_failure_info = arena_new0(a, Temporal__Api__Failure__V1__TimeoutFailureInfo);
	temporal__api__failure__v1__timeout_failure_info__init(f->timeout_failure_info);
	f->timeout_failure_info->timeout_type = type;
	return f;
}

/* ------------------------------------------------------------------ cutting */

/* Takes what fits of `s` out of *room. */
static char *fit(struct arena *a, const char *s, int64_t *room)
{
	size_t len = strlen(s);
	if (len == 0 || *room <= 0)
		return (char *)protobuf_c_empty_string;
	if ((int64_t)len > *room) {
		len = (size_t)*room;
		/* Not in the middle of a UTF-8 character. */
		while (len > 0 && ((unsigned char)s[len] & 0xC0) == 0x80)
			len--;
	}
	if (len == 0)
		return (char *)protobuf_c_empty_string;
	char *cut = arena_alloc(a, len + 1);
	memcpy(cut, s, len);
	*room -= (int64_t)len + 4; /* with the field's tag and length */
	return cut;
}

static failure_t *truncate_depth(struct arena *a, const failure_t *f, int64_t room, int depth)
{
	failure_t *cut = failure_new(a, protobuf_c_empty_string);
	if (f->failure_info_case == FAILURE_INFO(APPLICATION_FAILURE_INFO)) {
		cut->failure_info_case = f->failure_info_case;
		cut->application_failure_info = arena_new0(a, Temporal__Api__Failure__V1__ApplicationFailureInfo);
		temporal__api__failure__v1__application_failure_info__init(cut->application_failure_info);
		cut->application_failure_info->non_retryable = f->application_failure_info->non_retryable;
		cut->application_failure_info->type = fit(a, f->application_failure_info->type, &room);
		room -= 8;
	} else if (f->failure_info_case == FAILURE_INFO(SERVER_FAILURE_INFO)) {
		cut->failure_info_case = f->failure_info_case;
		cut->server_failure_info = arena_new0(a, Temporal__Api__Failure__V1__ServerFailureInfo);
		temporal__api__failure__v1__server_failure_info__init(cut->server_failure_info);
		cut->server_failure_info->non_retryable = f->server_failure_info->non_retryable;
		room -= 4;
	}
	cut->source = fit(a, f->source, &room);
	cut->message = fit(a, f->message, &room);
	cut->stack_trace = fit(a, f->stack_trace, &room);
	if (f->cause && room > 4 && depth > 0)
		cut->cause = truncate_depth(a, f->cause, room - 4, depth - 1);
	return cut;
}

failure_t *failure_truncate(struct arena *a, const failure_t *f, size_t max_bytes)
{
	return f ? truncate_depth(a, f, (int64_t)max_bytes, CAUSES_MAX) : NULL;
}
