/*
 * Making certificates with OpenSSL. Whatever fails ends the test.
 */
#include "tests/support/certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/base.h"

/* Not assert(): these calls have effects. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	must(e && X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

static X509 *new_certificate(EVP_PKEY *key, const char *name, long serial)
{
	X509 *x = X509_new();
	must(x && X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), serial));
	must(X509_gmtime_adj(X509_getm_notBefore(x), -3600) && X509_gmtime_adj(X509_getm_notAfter(x), 3600));
	must(X509_set_pubkey(x, key));
	must(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
					-1, 0));
	return x;
}

static void write_certificate(const char *path, X509 *x)
{
	FILE *f = fopen(path, "we");
	must(f && PEM_write_X509(f, x) && fclose(f) == 0);
}

void certs_make(struct certs *c, const char *dns_name)
{
	snprintf(c->dir, sizeof c->dir, "/tmp/certs-XXXXXX");
	must(mkdtemp(c->dir));
	snprintf(c->ca, sizeof c->ca, "%s/ca.pem", c->dir);
	snprintf(c->cert, sizeof c->cert, "%s/cert.pem", c->dir);
	snprintf(c->key, sizeof c->key, "%s/key.pem", c->dir);

	EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
	must(ca_key && key);
	X509 *ca = new_certificate(ca_key, "test authority", 1);
	must(X509_set_issuer_name(ca, X509_get_subject_name(ca)));
	add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign");
	must(X509_sign(ca, ca_key, EVP_sha256()));

	char san[300];
	snprintf(san, sizeof san, "DNS:%s", dns_name);
	X509 *x = new_certificate(key, dns_name, 2);
	must(X509_set_issuer_name(x, X509_get_subject_name(ca)));
	add_extension(x, ca, NID_subject_alt_name, san);
	add_extension(x, ca, NID_ext_key_usage, "serverAuth,clientAuth");
	must(X509_sign(x, ca_key, EVP_sha256()));

	write_certificate(c->ca, ca);
	write_certificate(c->cert, x);
	FILE *f = fopen(c->key, "we");
	must(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) && fclose(f) == 0);
	X509_free(x);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
}

void certs_done(struct certs *c)
{
	unlink(c->ca);
	unlink(c->cert);
	unlink(c->key);
	rmdir(c->dir);
}
