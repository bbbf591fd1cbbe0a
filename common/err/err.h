/*
 * The one error type: a gRPC code, a text, and where the API defines one a typed detail.
 *
 * Passed by value, never ignored. The text and the detail live in the arena given when the error is made (or are
 * static), so an error lives as long as the operation it belongs to; err_copy() moves it to another arena.
 */
#ifndef COMMON_ERR_ERR_H
#define COMMON_ERR_ERR_H

#include <protobuf-c/protobuf-c.h>

#include "common/mem/arena.h"

/* The gRPC status codes, by number. */
enum err_code {
	ERR_OK = 0,
	ERR_CANCELLED = 1,
	ERR_UNKNOWN = 2,
	ERR_INVALID_ARGUMENT = 3,
	ERR_DEADLINE_EXCEEDED = 4,
	ERR_NOT_FOUND = 5,
	ERR_ALREADY_EXISTS = 6,
	ERR_PERMISSION_DENIED = 7,
	ERR_RESOURCE_EXHAUSTED = 8,
	ERR_FAILED_PRECONDITION = 9,
	ERR_ABORTED = 10,
	ERR_OUT_OF_RANGE = 11,
	ERR_UNIMPLEMENTED = 12,
	ERR_INTERNAL = 13,
	ERR_UNAVAILABLE = 14,
	ERR_DATA_LOSS = 15,
	ERR_UNAUTHENTICATED = 16,
};

/*
 * Why, for our own code, beyond the gRPC code. Travels in the rpc envelope, never to a client.
 */
enum err_reason {
	ERR_REASON_NONE = 0,
	ERR_REASON_NOT_OWNER = 1,	/* the peer does not own the shard or partition: look again, then retry */
	ERR_REASON_PEER_LOST = 2,	/* the connection died with the call under way: outcome unknown */
	ERR_REASON_OUTCOME_UNKNOWN = 3, /* the database connection died in COMMIT */
	ERR_REASON_FENCED = 4,		/* the shard has a newer owner */
	ERR_REASON_DRAINING = 5,	/* the peer is shutting down: go elsewhere at once */
};

struct err {
	enum err_code code;
	enum err_reason reason;
	const char *message;
	/* google.protobuf.Any: type name without the prefix ("temporal.api.errordetails.v1.NotFoundFailure"), or NULL.
	 */
	const char *detail_type;
	struct bytes detail;
};

#define err_ok			((struct err){0})
#define err_static(code_, text) ((struct err){.code = (code_), .message = (text)})

static inline bool err_is(struct err e)
{
	return e.code != ERR_OK;
}

#define try(expr)                                                                                                      \
	do {                                                                                                           \
		struct err try_err_ = (expr);                                                                          \
		if (err_is(try_err_))                                                                                  \
			return try_err_;                                                                               \
	} while (0)

must_check struct err err_make(struct arena *a, enum err_code code, const char *fmt, ...) printf_like(3, 4);
must_check struct err err_reason(struct err e, enum err_reason reason);
/* Packs `detail` (its descriptor's full name becomes the type) into the arena. */
must_check struct err err_detail(struct arena *a, struct err e, const ProtobufCMessage *detail);
must_check struct err err_copy(struct arena *a, struct err e);

/* Whether the same call may be sent again without asking the caller (UNAVAILABLE, ABORTED, not owner, draining). */
bool err_retryable(struct err e);
/* "NOT_FOUND" */
const char *err_code_name(enum err_code code);

#endif
