/*
 * Requests as they come over the wire: checked once against their descriptor, then read field by field without
 * unpacking, so that what is forwarded is what was received.
 *
 * After wire_check() said OK, protobuf-c unpacks the message without surprises: it is well formed, not nested too
 * deeply, no message in it comes in pieces, its strings are UTF-8, and no string hides a NUL, behind which protobuf-c
 * (and a text column) sees nothing.
 */
#ifndef COMMON_EDGE_WIRE_H
#define COMMON_EDGE_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"

enum wire_verdict {
	WIRE_OK,
	WIRE_MALFORMED,
	WIRE_TOO_DEEP, /* more than WIRE_DEPTH_MAX messages in each other */
	WIRE_BAD_UTF8,
	WIRE_NUL,
};

/* Protocol Buffers implementations stop there by default. */
#define WIRE_DEPTH_MAX 100

struct wire_result {
	enum wire_verdict verdict;
	const char *field; /* name of the offending field, or NULL; static */
	bool mendable;	   /* OK but for NULs in the texts of failures: see wire_mend() */
};

struct wire_result wire_check(const ProtobufCMessageDescriptor *descriptor, struct bytes message);

/*
 * A worker reports an error whose text has a NUL in it ("embedded null byte"): refusing that would leave the task to
 * its timeout. So in temporal.api.failure.v1.Failure, and there only, NULs become spaces. `message` is changed in
 * place; it was checked.
 */
void wire_mend(const ProtobufCMessageDescriptor *descriptor, uint8_t *message, size_t len);

/* ------------------------------------------------------------------ reading a checked message */

struct wire_field {
	uint32_t number;
	uint64_t value;	    /* varint and fixed */
	struct bytes bytes; /* length-delimited: data is never NULL then */
};

/* Takes the next field off `rest`; false at the end. */
bool wire_next(struct bytes *rest, struct wire_field *ret);

/* The last one wins, as the format demands. data is NULL when the field is absent. */
struct bytes wire_bytes(struct bytes message, uint32_t number);
/* Field `inner` of the message in field `outer`, which may come in pieces. */
struct bytes wire_bytes_in(struct bytes message, uint32_t outer, uint32_t inner);
/* 0 when absent. */
uint64_t wire_value(struct bytes message, uint32_t number);
uint64_t wire_value_in(struct bytes message, uint32_t outer, uint32_t inner);
bool wire_has(struct bytes message, uint32_t number);

#endif
