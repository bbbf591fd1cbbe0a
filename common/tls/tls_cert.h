/*
 * What a certificate says, read from a PEM file: for logs, metrics and whoever shows it.
 */
#ifndef COMMON_TLS_TLS_CERT_H
#define COMMON_TLS_TLS_CERT_H

#include <jansson.h>

#include "common/err/err.h"

/* Texts live in the arena it was read with. */
struct tls_cert {
	const char *subject, *issuer;	    /* "CN=perdure" */
	const char *names;		    /* "DNS:perdure, IP:10.0.0.1"; "": none */
	const char *fingerprint;	    /* SHA-256, hexadecimal */
	const char *key_id, *issuer_key_id; /* hexadecimal; "": it says none */
	int64_t not_before_s, not_after_s;  /* since the epoch */
	bool authority;			    /* may sign others */
};

/* All certificates of the file, in its order; at least one, or INVALID_ARGUMENT. */
must_check struct err tls_certs_read(const char *path, struct arena *a, struct tls_cert **ret, size_t *ret_count);
/* subject, issuer, names, fingerprint, key_id, issuer_key_id, not_before, not_after, authority */
json_t *tls_cert_json(const struct tls_cert *c);

#endif
