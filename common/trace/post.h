/*
 * HTTP POSTs through libcurl on the loop, one at a time. For common/trace.
 */
#ifndef COMMON_TRACE_POST_H
#define COMMON_TRACE_POST_H

#include "common/base/bytes.h"
#include "common/loop/loop.h"

struct post;

/* status 0: no answer; why then says what happened (valid during the call). Never inline. */
typedef void post_done_fn(void *ctx, long status, const char *why);

struct post_config {
	const char *url, *content_type;
	const char *const *headers; /* "Name: value" */
	size_t header_count;
	int64_t timeout_ns; /* of a whole exchange */
	bool gzip;
};

/* The texts are copied. */
struct post *post_new(struct loop *loop, const struct post_config *config);
/* An exchange under way is given up without a callback. Accepts NULL. */
void post_free(struct post *p);
/* Precondition: none under way. The body lives until fn is called. */
void post_send(struct post *p, struct bytes body, post_done_fn *fn, void *ctx);
bool post_busy(const struct post *p);

#endif
