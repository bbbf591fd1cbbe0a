/*
 * A connection's TCP socket and, if the server has it, its TLS. Not for other folders.
 */
#ifndef COMMON_GRPC_SOCKET_H
#define COMMON_GRPC_SOCKET_H

#include <uv.h>

struct grpc_server;

/* The server's read buffer: first what comes from the wire, behind it what TLS makes of it. */
#define GRPC_READ_BYTES	 ((size_t)64 * 1024)
#define GRPC_PLAIN_BYTES ((size_t)16 * 1024)

/* Accepts one connection, or turns it away when there are too many. */
void grpc_socket_accept(struct grpc_server *s, uv_stream_t *listener);

#endif
