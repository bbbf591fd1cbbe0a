/*
 * The wire format between daemons: one message is a header and any number of frames.
 *
 *   message = version:u8  from_incarnation:u64  to_incarnation:u64  epoch:u64  dropped:u64  from:str  frame*
 *   frame   = kind:u8  …
 *     REQUEST  id  method  remaining_us  traceparent:str  body:bytes
 *     ONE_WAY      method                traceparent:str  body:bytes
 *     CANCEL   id
 *     REPLY    id  body:bytes
 *     ERROR    id  code  reason  message:str  detail_type:str  detail:bytes
 *
 * u64 is little-endian; everything else is a base-128 varint, and `str` and `bytes` are a varint length and that many
 * bytes. A string holds no NUL. Bodies are opaque and spliced, never decoded here. The reader trusts no length: it
 * answers false for whatever does not fit, and never reads past the end.
 */
#ifndef COMMON_RPC_ENVELOPE_H
#define COMMON_RPC_ENVELOPE_H

#include "common/base/bytes.h"

/* Raised when the format changes; a release reads its predecessor's version too. */
#define ENVELOPE_VERSION 1

#define ENVELOPE_ADDRESS_BYTES_MAX     255
#define ENVELOPE_TRACEPARENT_BYTES_MAX 255
#define ENVELOPE_MESSAGE_BYTES_MAX     (64 * 1024)
#define ENVELOPE_DETAIL_TYPE_BYTES_MAX 511
/* More than any header or frame adds to its body, its strings and its detail. */
#define ENVELOPE_OVERHEAD_BYTES_MAX 128

enum envelope_kind {
	ENVELOPE_REQUEST = 1,
	ENVELOPE_ONE_WAY = 2,
	ENVELOPE_CANCEL = 3,
	ENVELOPE_REPLY = 4,
	ENVELOPE_ERROR = 5,
};

/* The meaning of epoch and dropped is in the README: how two peers agree on what a lost connection took with it. */
struct envelope_header {
	uint64_t from_incarnation;
	uint64_t to_incarnation; /* 0: not known; replies in the message are for this one only */
	uint64_t epoch;
	uint64_t dropped;
	struct bytes from; /* the sender's inbox address */
};

/* Views into the message; which fields count depends on the kind. */
struct envelope_frame {
	enum envelope_kind kind;
	uint64_t id;
	uint32_t method;
	uint64_t remaining_us;
	uint32_t code, reason;
	struct bytes traceparent;
	struct bytes message, detail_type, detail;
	struct bytes body;
};

void envelope_put_header(struct buf *b, const struct envelope_header *h);
/*
 * Appends a frame whose body is `parts` joined (f->body is ignored). A message longer than allowed is cut at a
 * character; the other strings must be within their limits.
 */
void envelope_put_frame(struct buf *b, const struct envelope_frame *f, const struct bytes *parts, size_t part_count);

struct envelope_reader {
	const uint8_t *at, *end;
};

/* False: malformed, or of a version that this binary does not know. */
must_check bool envelope_read_header(struct envelope_reader *r, struct bytes message, struct envelope_header *ret);
static inline bool envelope_at_end(const struct envelope_reader *r)
{
	return r->at == r->end;
}
/* Not at the end. False: malformed; nothing more can be read. */
must_check bool envelope_read_frame(struct envelope_reader *r, struct envelope_frame *ret);
/* Whether every frame of the message can be read; r is past the header and stays where it is. */
must_check bool envelope_frames_valid(struct envelope_reader r);

#endif
