/*
 * One connection (an nng stream): messages in, or messages out. For nng_net.c only.
 *
 * On the wire a message is its length (32 bits, little-endian) and its bytes. All functions are called on the loop, and
 * all callbacks are made there, never inline.
 */
#ifndef COMMON_RPC_NNG_LINK_H
#define COMMON_RPC_NNG_LINK_H

#include <nng/nng.h>

#include "common/base/bytes.h"
#include "common/rpc/mailbox.h"
#include "common/rpc/rpc.h"

/* The largest body with its frame and header, or a batch (of the default limit) and one more frame. */
#define LINK_MESSAGE_BYTES_MAX (RPC_BODY_BYTES_MAX + 2 * 1024 * 1024)

struct link;

struct link_ops {
	/* NULL for a connection that only sends: what comes is thrown away. The link must not be freed from within. */
	void (*on_message)(void *ctx, struct bytes message);
	/* What was given to link_send() has left. */
	void (*on_sent)(void *ctx);
	/* The connection is over; the owner frees the link now or later. Nothing else is called any more. */
	void (*on_down)(void *ctx);
};

/* Takes ownership of the stream. `tls`: it is encrypted. */
struct link *link_new(struct mailbox *mailbox, nng_stream *stream, bool tls, const struct link_ops *ops, void *ctx);
/* Closes the connection, drops what was being sent. Accepts NULL. */
void link_free(struct link *l);
/*
 * Takes ownership of data (free()). One message at a time. True: it has left already, no on_sent() follows.
 */
bool link_send(struct link *l, uint8_t *data, size_t len);

#endif
