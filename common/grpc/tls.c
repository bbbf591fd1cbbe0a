/*
 * TLS over memory: OpenSSL sees no socket, the connection feeds and drains it.
 *
 * TLS 1.2 and later; ALPN must choose h2; client certificates are verified when the configuration names an authority,
 * and required when it says so.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "common/grpc/internal.h"
#include "common/mem/mem.h"

struct grpc_tls {
	SSL_CTX *ctx;
};

struct grpc_tls_conn {
	SSL *ssl;
	BIO *in, *out;
	bool ready;
};

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
			   unsigned int in_len, void *ctx)
{
	(void)ssl;
	(void)ctx;
	static const unsigned char h2[] = {2, 'h', '2'};
	if (SSL_select_next_proto((unsigned char **)out, out_len, h2, sizeof h2, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static struct err failed(struct arena *errors, const char *what, const char *file)
{
	char reason[160] = "unknown reason";
	unsigned long code = ERR_get_error();
	if (code)
		ERR_error_string_n(code, reason, sizeof reason);
	ERR_clear_error();
	return err_make(errors, ERR_INVALID_ARGUMENT, "cannot use the %s %s: %s", what, file ? file : "(none given)",
			reason);
}

static struct err load(SSL_CTX *ctx, const struct grpc_config *c, struct arena *errors)
{
	if (SSL_CTX_use_certificate_chain_file(ctx, c->tls_cert_file) != 1)
		return failed(errors, "TLS certificate", c->tls_cert_file);
	if (!c->tls_key_file || SSL_CTX_use_PrivateKey_file(ctx, c->tls_key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		return failed(errors, "TLS key", c->tls_key_file);
	if (!c->tls_client_ca_file) {
		if (c->tls_client_required)
			return err_static(ERR_INVALID_ARGUMENT,
					  "client certificates are required but no client CA file is given");
		return err_ok;
	}
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(c->tls_client_ca_file);
	if (!names || SSL_CTX_load_verify_locations(ctx, c->tls_client_ca_file, NULL) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return failed(errors, "client CA file", c->tls_client_ca_file);
	}
	SSL_CTX_set_client_CA_list(ctx, names);
	int mode = SSL_VERIFY_PEER | (c->tls_client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
	SSL_CTX_set_verify(ctx, mode, NULL);
	return err_ok;
}

struct err grpc_tls_new(const struct grpc_config *config, struct arena *errors, struct grpc_tls **ret)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx)
		return failed(errors, "TLS library", "OpenSSL");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* an idle connection holds no record buffers */
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"grpc", 4);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	struct err e = load(ctx, config, errors);
	if (err_is(e)) {
		SSL_CTX_free(ctx);
		return e;
	}
	struct grpc_tls *tls = new0(struct grpc_tls);
	tls->ctx = ctx;
	*ret = tls;
	return err_ok;
}

void grpc_tls_free(struct grpc_tls *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

struct grpc_tls_conn *grpc_tls_conn_new(struct grpc_tls *tls)
{
	struct grpc_tls_conn *t = new0(struct grpc_tls_conn);
	t->ssl = SSL_new(tls->ctx);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	assert(t->ssl && t->in && t->out);
	SSL_set_bio(t->ssl, t->in, t->out); /* owns both from here on */
	SSL_set_accept_state(t->ssl);
	return t;
}

void grpc_tls_conn_free(struct grpc_tls_conn *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	free(t);
}

bool grpc_tls_feed(struct grpc_tls_conn *t, const uint8_t *data, size_t len)
{
	return BIO_write(t->in, data, (int)len) == (int)len;
}

static bool wants_more(const struct grpc_tls_conn *t, int rc)
{
	int error = SSL_get_error(t->ssl, rc);
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static int handshake(struct grpc_tls_conn *t)
{
	int rc = SSL_do_handshake(t->ssl);
	if (rc != 1)
		return wants_more(t, rc) ? 0 : -1;
	const unsigned char *protocol;
	unsigned int len;
	SSL_get0_alpn_selected(t->ssl, &protocol, &len);
	if (len != 2)
		return -1; /* a client that didn't offer any protocol */
	t->ready = true;
	return 1;
}

int grpc_tls_read(struct grpc_tls_conn *t, uint8_t *out, size_t cap)
{
	ERR_clear_error();
	if (!t->ready) {
		int rc = handshake(t);
		if (rc <= 0)
			return rc;
	}
	int n = SSL_read(t->ssl, out, (int)cap);
	if (n > 0)
		return n;
	return wants_more(t, n) ? 0 : -1;
}

bool grpc_tls_write(struct grpc_tls_conn *t, const uint8_t *data, size_t len)
{
	ERR_clear_error();
	return t->ready && (len == 0 || SSL_write(t->ssl, data, (int)len) == (int)len);
}

void grpc_tls_drain(struct grpc_tls_conn *t, struct buf *out)
{
	size_t pending = BIO_ctrl_pending(t->out);
	if (pending == 0)
		return;
	int n = BIO_read(t->out, buf_reserve(out, pending), (int)pending);
	if (n > 0)
		out->len += (size_t)n;
}

bool grpc_tls_ready(const struct grpc_tls_conn *t)
{
	return t->ready;
}

void grpc_tls_shutdown(struct grpc_tls_conn *t)
{
	ERR_clear_error();
	if (t->ready)
		SSL_shutdown(t->ssl);
}

char *grpc_tls_subject(const struct grpc_tls_conn *t)
{
	X509 *certificate = SSL_get0_peer_certificate(t->ssl);
	if (!certificate || SSL_get_verify_result(t->ssl) != X509_V_OK)
		return NULL;
	BIO *text = BIO_new(BIO_s_mem());
	assert(text);
	char *subject = NULL;
	if (X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
		size_t len = BIO_ctrl_pending(text);
		subject = mem_zalloc(len + 1);
		BIO_read(text, subject, (int)len);
	}
	BIO_free(text);
	return subject;
}
