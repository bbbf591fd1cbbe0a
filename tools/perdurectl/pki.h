/*
 * A small authority in files: keys, certificates, and bundles of them, made with OpenSSL.
 *
 * A directory holds ca.crt (whom to trust: one authority, or two while one follows the other), tls.crt and tls.key (a
 * node's own); an authority's directory holds ca.key beside its ca.crt, and next-ca.crt and next-ca.key while it is
 * being followed by another. Both may be the same directory. Keys are ECDSA on P-256.
 */
#ifndef TOOLS_PERDURECTL_PKI_H
#define TOOLS_PERDURECTL_PKI_H

#include <openssl/x509.h>

#include "tools/perdurectl/ctl.h"

#define PKI_CA_CERT	 "ca.crt"
#define PKI_CA_KEY	 "ca.key"
#define PKI_NEXT_CA_CERT "next-ca.crt"
#define PKI_NEXT_CA_KEY	 "next-ca.key"
#define PKI_CERT	 "tls.crt"
#define PKI_KEY		 "tls.key"

struct pki_pair {
	EVP_PKEY *key;
	X509 *cert;
};

/* What a bundle's file holds. */
struct pki_bundle {
	X509 *certs[16];
	size_t count;
};

const char *pki_path(struct ctl *c, const char *dir, const char *file);
bool pki_exists(struct ctl *c, const char *dir, const char *file);

/* A fresh authority. All pairs and bundles are freed with their own function, which accepts what is empty. */
must_check struct err pki_authority(struct ctl *c, int64_t days, struct pki_pair *ret);
/* A certificate for that common name and those names ("perdure,10.0.0.1": DNS names and addresses). */
must_check struct err pki_issue(struct ctl *c, const struct pki_pair *authority, const char *name, const char *sans,
				int64_t days, struct pki_pair *ret);
/* A certificate with the same names as that one, and a new key. */
must_check struct err pki_issue_like(struct ctl *c, const struct pki_pair *authority, const X509 *like, int64_t days,
				     struct pki_pair *ret);
void pki_pair_free(struct pki_pair *p);

/* The key, and that certificate of the bundle which is its own. */
must_check struct err pki_load_pair(struct ctl *c, const char *dir, const char *cert_file, const char *key_file,
				    struct pki_pair *ret);
must_check struct err pki_load_bundle(struct ctl *c, const char *dir, const char *file, struct pki_bundle *ret);
void pki_bundle_free(struct pki_bundle *b);

/*
 * Each file is replaced as a whole, the key (0600, or as the one it replaces) first. A daemon that reads the two
 * between that takes neither, and looks again.
 */
must_check struct err pki_save_pair(struct ctl *c, const char *dir, const char *cert_file, const char *key_file,
				    const struct pki_pair *p);
must_check struct err pki_save_certs(struct ctl *c, const char *dir, const char *file, X509 *const *certs,
				     size_t count);
must_check struct err pki_make_dir(struct ctl *c, const char *dir);

/* Hexadecimal SHA-256 of a certificate; its key's id; the id of the key that signed it. */
const char *pki_fingerprint(struct ctl *c, X509 *x);
const char *pki_key_id(struct ctl *c, const X509 *x);
const char *pki_issuer_key_id(struct ctl *c, const X509 *x);
bool pki_signed_by(X509 *x, X509 *authority);

#endif
