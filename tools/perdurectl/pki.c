/*
 * Making certificates.
 */
#include "tools/perdurectl/pki.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define BACKDATE_S 300 /* for clocks that are behind */
#define DAY_S	   86400

static struct err failed(struct ctl *c, const char *what)
{
	char reason[160] = "unknown reason";
	unsigned long code = ERR_get_error();
	if (code)
		ERR_error_string_n(code, reason, sizeof reason);
	ERR_clear_error();
	return err_make(c->arena, ERR_INTERNAL, "%s: %s", what, reason);
}

void pki_pair_free(struct pki_pair *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->cert);
	*p = (struct pki_pair){0};
}

/* ------------------------------------------------------------------ pieces of a certificate */

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = e && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

static bool set_serial(X509 *x)
{
	unsigned char bytes[16];
	if (RAND_bytes(bytes, sizeof bytes) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and always as long */
	BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
	bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return ok;
}

/* Key, serial, validity; X.509 version 3. */
static bool begin(struct pki_pair *p, int64_t days)
{
	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	return p->key && p->cert && X509_set_version(p->cert, 2) && set_serial(p->cert) &&
	       X509_set_pubkey(p->cert, p->key) && X509_gmtime_adj(X509_getm_notBefore(p->cert), -BACKDATE_S) &&
	       X509_time_adj_ex(X509_getm_notAfter(p->cert), (int)days, 0, NULL);
}

static bool set_common_name(X509 *x, const char *name)
{
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)name,
					  -1, -1, 0) == 1;
}

/* ------------------------------------------------------------------ an authority */

/* Each has a name of its own, so that one that follows another can't be taken for it. */
struct err pki_authority(struct ctl *c, int64_t days, struct pki_pair *ret)
{
	unsigned char random[4];
	*ret = (struct pki_pair){0};
	if (RAND_bytes(random, sizeof random) != 1)
		return failed(c, "no random numbers");
	const char *name =
		arena_printf(c->arena, "Perdure CA %02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
	bool ok = begin(ret, days) && set_common_name(ret->cert, name) &&
		  X509_set_issuer_name(ret->cert, X509_get_subject_name(ret->cert)) &&
		  add_extension(ret->cert, ret->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		  add_extension(ret->cert, ret->cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		  add_extension(ret->cert, ret->cert, NID_subject_key_identifier, "hash") &&
		  add_extension(ret->cert, ret->cert, NID_authority_key_identifier, "keyid:always") &&
		  X509_sign(ret->cert, ret->key, EVP_sha256()) > 0;
	if (ok)
		return err_ok;
	pki_pair_free(ret);
	return failed(c, "the authority cannot be made");
}

/* ------------------------------------------------------------------ a node's */

static bool is_address(const char *name)
{
	unsigned char bytes[16];
	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* "a,10.0.0.1" → "DNS:a,IP:10.0.0.1" */
static struct err alternative_names(struct ctl *c, const char *sans, const char **ret)
{
	char *rest = arena_strdup(c->arena, sans);
	*ret = NULL;
	for (char *name; (name = strsep(&rest, ","));) {
		if (!*name || strpbrk(name, " :;/\t\n")) {
			if (!is_address(name))
				return err_make(c->arena, ERR_INVALID_ARGUMENT,
						"\"%s\": expected names and addresses, separated by commas", name);
		}
		*ret = arena_printf(c->arena, "%s%s%s:%s", *ret ? *ret : "", *ret ? "," : "",
				    is_address(name) ? "IP" : "DNS", name);
	}
	return err_ok;
}

/* What all node certificates have, and the signature. */
static bool finish(struct pki_pair *p, const struct pki_pair *authority)
{
	X509 *x = p->cert;
	return X509_set_issuer_name(x, X509_get_subject_name(authority->cert)) &&
	       add_extension(x, authority->cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(x, authority->cert, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(x, authority->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       add_extension(x, authority->cert, NID_subject_key_identifier, "hash") &&
	       add_extension(x, authority->cert, NID_authority_key_identifier, "keyid:always") &&
	       X509_sign(x, authority->key, EVP_sha256()) > 0;
}

struct err pki_issue(struct ctl *c, const struct pki_pair *authority, const char *name, const char *sans, int64_t days,
		     struct pki_pair *ret)
{
	const char *names;
	*ret = (struct pki_pair){0};
	try(alternative_names(c, sans, &names));
	if (begin(ret, days) && set_common_name(ret->cert, name) &&
	    add_extension(ret->cert, authority->cert, NID_subject_alt_name, names) && finish(ret, authority))
		return err_ok;
	pki_pair_free(ret);
	return failed(c, "the certificate cannot be made");
}

static bool copy_alternative_names(X509 *to, const X509 *from)
{
	int at = X509_get_ext_by_NID(from, NID_subject_alt_name, -1);
	return at < 0 || X509_add_ext(to, X509_get_ext(from, at), -1) == 1;
}

struct err pki_issue_like(struct ctl *c, const struct pki_pair *authority, const X509 *like, int64_t days,
			  struct pki_pair *ret)
{
	*ret = (struct pki_pair){0};
	if (begin(ret, days) && X509_set_subject_name(ret->cert, X509_get_subject_name(like)) &&
	    copy_alternative_names(ret->cert, like) && finish(ret, authority))
		return err_ok;
	pki_pair_free(ret);
	return failed(c, "the certificate cannot be made");
}

/* ------------------------------------------------------------------ what they are known by */

static const char *hex(struct ctl *c, const unsigned char *p, size_t len)
{
	char *text = arena_alloc(c->arena, 2 * len + 1), *at = text;
	for (size_t i = 0; i < len; i++) {
		*at++ = "0123456789abcdef"[p[i] >> 4];
		*at++ = "0123456789abcdef"[p[i] & 15];
	}
	*at = 0;
	return text;
}

const char *pki_fingerprint(struct ctl *c, X509 *x)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	X509_digest(x, EVP_sha256(), digest, &len);
	return hex(c, digest, len);
}

static const char *id(struct ctl *c, const ASN1_OCTET_STRING *s)
{
	return s ? hex(c, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)) : "";
}

const char *pki_key_id(struct ctl *c, const X509 *x)
{
	return id(c, X509_get0_subject_key_id((X509 *)x));
}

const char *pki_issuer_key_id(struct ctl *c, const X509 *x)
{
	return id(c, X509_get0_authority_key_id((X509 *)x));
}

bool pki_signed_by(X509 *x, X509 *authority)
{
	bool ok = X509_verify(x, X509_get0_pubkey(authority)) == 1;
	ERR_clear_error();
	return ok;
}
