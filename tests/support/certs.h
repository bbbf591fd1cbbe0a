/*
 * Throw-away certificates for tests of TLS: an authority, and what it signs.
 */
#ifndef TESTS_SUPPORT_CERTS_H
#define TESTS_SUPPORT_CERTS_H

/* Paths of PEM files in a directory of their own. */
struct certs {
	char dir[64];
	char ca[128];
	char cert[128], key[128];
};

/* A fresh authority and one certificate by it, good for an hour, for server and client, bearing that DNS name. */
void certs_make(struct certs *c, const char *dns_name);
/* Removes the files. */
void certs_done(struct certs *c);

#endif
