/*
 * Reading certificates with OpenSSL, as facts.
 */
#include "common/tls/tls_cert.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/bytes.h"

#define CERTIFICATES_MAX 64

/* What was printed to a memory BIO, as a string of the arena; frees it. */
static const char *take(BIO *b, struct arena *a)
{
	char *data;
	long len = BIO_get_mem_data(b, &data);
	const char *text = arena_printf(a, "%.*s", (int)len, data);
	BIO_free(b);
	return text;
}

static BIO *memory(void)
{
	BIO *b = BIO_new(BIO_s_mem());
	assert(b && "out of memory");
	return b;
}

static const char *name_text(const X509_NAME *name, struct arena *a)
{
	BIO *b = memory();
	X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	return take(b, a);
}

static void print_address(BIO *b, const ASN1_OCTET_STRING *ip)
{
	const unsigned char *p = ASN1_STRING_get0_data(ip);
	if (ASN1_STRING_length(ip) == 4) {
		BIO_printf(b, "IP:%d.%d.%d.%d", p[0], p[1], p[2], p[3]);
		return;
	}
	BIO_printf(b, "IP:");
	for (int i = 0; i + 1 < ASN1_STRING_length(ip); i += 2)
		BIO_printf(b, "%s%x", i ? ":" : "", p[i] << 8 | p[i + 1]);
}

static const char *alternative_names(X509 *x, struct arena *a)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	if (!names)
		return "";
	BIO *b = memory();
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		BIO_printf(b, i ? ", " : "");
		if (n->type == GEN_IPADD)
			print_address(b, n->d.iPAddress);
		else if (n->type == GEN_DNS || n->type == GEN_URI || n->type == GEN_EMAIL)
			BIO_printf(b, "%s:%.*s",
				   n->type == GEN_DNS	? "DNS"
				   : n->type == GEN_URI ? "URI"
							: "email",
				   ASN1_STRING_length(n->d.ia5), ASN1_STRING_get0_data(n->d.ia5));
		else
			BIO_printf(b, "other");
	}
	GENERAL_NAMES_free(names);
	return take(b, a);
}

static const char *hex(const unsigned char *p, size_t len, struct arena *a)
{
	struct buf out = {0};
	for (size_t i = 0; i < len; i++)
		buf_printf(&out, "%02x", p[i]);
	const char *text = arena_printf(a, "%.*s", (int)out.len, out.data ? (const char *)out.data : "");
	buf_done(&out);
	return text;
}

static const char *id_text(const ASN1_OCTET_STRING *id, struct arena *a)
{
	return id ? hex(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id), a) : "";
}

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;
	return ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

static struct tls_cert facts(X509 *x, struct arena *a)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	X509_digest(x, EVP_sha256(), digest, &len);
	return (struct tls_cert){
		.subject = name_text(X509_get_subject_name(x), a),
		.issuer = name_text(X509_get_issuer_name(x), a),
		.names = alternative_names(x, a),
		.fingerprint = hex(digest, len, a),
		.key_id = id_text(X509_get0_subject_key_id(x), a),
		.issuer_key_id = id_text(X509_get0_authority_key_id(x), a),
		.not_before_s = seconds(X509_get0_notBefore(x)),
		.not_after_s = seconds(X509_get0_notAfter(x)),
		.authority = X509_check_ca(x) > 0,
	};
}

struct err tls_certs_read(const char *path, struct arena *a, struct tls_cert **ret, size_t *ret_count)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return err_make(a, ERR_INVALID_ARGUMENT, "cannot read %s: %s", path, strerror(errno));
	struct tls_cert *list = arena_array(a, struct tls_cert, CERTIFICATES_MAX);
	size_t count = 0;
	X509 *x;
	while (count < CERTIFICATES_MAX && (x = PEM_read_X509(f, NULL, NULL, NULL))) {
		list[count++] = facts(x, a);
		X509_free(x);
	}
	ERR_clear_error();
	fclose(f);
	if (count == 0)
		return err_make(a, ERR_INVALID_ARGUMENT, "%s holds no certificate in PEM", path);
	*ret = list;
	*ret_count = count;
	return err_ok;
}

json_t *tls_cert_json(const struct tls_cert *c)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "subject", c->subject, "issuer", c->issuer,
			 "names", c->names, "fingerprint", c->fingerprint, "key_id", c->key_id, "issuer_key_id",
			 c->issuer_key_id, "not_before", (json_int_t)c->not_before_s, "not_after",
			 (json_int_t)c->not_after_s, "authority", c->authority);
}
