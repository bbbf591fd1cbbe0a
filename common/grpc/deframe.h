/*
 * Cuts a gRPC byte stream into messages: one byte of flags, four of length, the message.
 *
 * Pure: bytes in, messages or an error out, whatever way the stream was cut into pieces. Belongs to one call.
 */
#ifndef COMMON_GRPC_DEFRAME_H
#define COMMON_GRPC_DEFRAME_H

#include "common/err/err.h"

struct grpc_gzip;

/* A whole message; one allocation, freed with free(). */
struct grpc_msg {
	struct grpc_msg *next; /* for the owner's lists */
	size_t len;
	uint8_t data[];
};

#define GRPC_PREFIX_BYTES 5

/* Zero-initialised is ready to start. */
struct grpc_deframer {
	struct grpc_msg *partial;
	uint32_t declared; /* bytes of the message under way, as its prefix says */
	uint32_t cap;	   /* bytes partial has room for */
	uint8_t prefix[GRPC_PREFIX_BYTES];
	uint8_t prefix_len;
};

struct grpc_deframe_rules {
	size_t message_bytes_max;
	bool gzip;	       /* grpc-encoding: gzip was announced */
	struct grpc_gzip *zip; /* used only then */
	struct arena *errors;  /* texts of errors */
};

/*
 * Takes bytes from *in until a message is complete or *in is empty. *ret is the message, owned by the caller, or NULL
 * when more bytes are needed. After an error the stream is of no further use.
 */
must_check struct err grpc_deframe(struct grpc_deframer *d, const struct grpc_deframe_rules *rules, struct bytes *in,
				   struct grpc_msg **ret);
/* Is the stream between two messages? */
bool grpc_deframer_idle(const struct grpc_deframer *d);
/* Bytes it holds. */
size_t grpc_deframer_bytes(const struct grpc_deframer *d);
void grpc_deframer_done(struct grpc_deframer *d);

/* The prefix of an outgoing message. */
void grpc_prefix(uint8_t out[GRPC_PREFIX_BYTES], bool compressed, size_t len);

#endif
