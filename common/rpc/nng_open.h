/*
 * Opening nng's streams the way this folder uses them: transports, options, TLS. For nng_net.c only.
 */
#ifndef COMMON_RPC_NNG_OPEN_H
#define COMMON_RPC_NNG_OPEN_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "common/rpc/rpc.h"

/* Both NULL unless certificates are configured. */
struct nng_tls {
	nng_tls_config *server, *client;
};

must_check struct err nng_tls_init(struct nng_tls *t, const struct rpc_nng_config *config, struct arena *errors);
void nng_tls_done(struct nng_tls *t);

/* Whether the stream to or from that URL is encrypted. */
bool nng_url_is_tls(const char *url);
/* A listener that listens: whom it accepts from now on sees the new certificates. False: nng refused. */
bool nng_listener_set_tls(nng_stream_listener *l, const struct nng_tls *tls);
/* Listening when it returns. */
must_check struct err nng_open_listener(const char *url, const struct nng_tls *tls, struct arena *errors,
					nng_stream_listener **ret);
/* Nonzero: nng's error, such as for a bad URL; nothing is open then. */
must_check int nng_open_dialer(const char *url, const struct nng_tls *tls, nng_stream_dialer **ret);

#endif
