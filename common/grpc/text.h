/*
 * The small text codecs of gRPC over HTTP/2: timeouts, percent-encoding, base64, the status detail.
 *
 * Pure functions. Source: the gRPC project's "gRPC over HTTP2" page.
 */
#ifndef COMMON_GRPC_TEXT_H
#define COMMON_GRPC_TEXT_H

#include "common/err/err.h"

/*
 * A grpc-timeout value: 1 to 8 digits and one of H M S m u n. What does not fit in int64 nanoseconds becomes INT64_MAX.
 * false: malformed.
 */
bool grpc_timeout_parse(struct bytes text, int64_t *ret_ns);

/* Appends `message` so that it can be a header value: all but printable ASCII, and '%', as %XX. */
void grpc_percent_encode(struct buf *out, struct bytes message);
/* Appends standard base64 without padding, as the values of "-bin" headers are sent. */
void grpc_base64_encode(struct buf *out, struct bytes data);
/* Accepts padding and its absence. false: malformed; out then holds what was decoded so far. */
bool grpc_base64_decode(struct buf *out, struct bytes text);

/* Appends google.rpc.Status with e's detail as its only google.protobuf.Any. e.detail_type must be set. */
void grpc_status_encode(struct buf *out, struct err e);

/* application/grpc, perhaps followed by "+subtype" or ";parameters". */
bool grpc_content_type_ok(struct bytes value);
/* Is `coding` ("gzip") one of a comma-separated list? */
bool grpc_encoding_listed(struct bytes list, const char *coding);
/*
 * Splits "/package.Service/Method" at its last slash. The service is given without its leading slash. false: not of
 * that form.
 */
bool grpc_path_split(const char *path, struct bytes *ret_service, struct bytes *ret_method);

#endif
