/*
 * nng's streams: options of the transports, certificates, and what can be wrong with a URL said in words.
 */
#include "common/rpc/nng_open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PEM_BYTES_MAX	    (1024 * 1024)
#define SERVER_NAME_DEFAULT "perdure"

/* ------------------------------------------------------------------ certificates */

/* The whole file as a string, to be freed with buf_done(). */
static struct err read_file(const char *path, struct arena *errors, struct buf *ret)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return err_make(errors, ERR_INVALID_ARGUMENT, "cannot read %s: %s", path, strerror(errno));
	size_t n;
	do {
		n = fread(buf_reserve(ret, 4096), 1, 4096, f);
		ret->len += n;
	} while (n > 0 && ret->len <= PEM_BYTES_MAX);
	bool bad = ferror(f) || ret->len > PEM_BYTES_MAX;
	fclose(f);
	buf_put(ret, "", 1);
	if (bad || memchr(ret->data, 0, ret->len - 1)) {
		buf_done(ret);
		return err_make(errors, ERR_INVALID_ARGUMENT, "%s is not a PEM file", path);
	}
	return err_ok;
}

struct pems {
	struct buf cert, key, ca;
};

static struct err read_pems(const struct rpc_nng_config *config, struct arena *errors, struct pems *ret)
{
	try(read_file(config->tls_cert_file, errors, &ret->cert));
	try(read_file(config->tls_key_file, errors, &ret->key));
	return read_file(config->tls_ca_file, errors, &ret->ca);
}

/* Both sides show the cluster's certificate and ask for the other's. */
static struct err make_config(nng_tls_mode mode, const struct pems *p, const struct rpc_nng_config *config,
			      struct arena *errors, nng_tls_config **ret)
{
	const char *server_name = config->tls_server_name ? config->tls_server_name : SERVER_NAME_DEFAULT;
	int rv = nng_tls_config_alloc(ret, mode);
	if (rv != 0) {
		*ret = NULL;
		return err_make(errors, ERR_UNIMPLEMENTED,
				"this build of nng has no TLS (%s); use tcp:// in a trusted network", nng_strerror(rv));
	}
	if ((rv = nng_tls_config_auth_mode(*ret, NNG_TLS_AUTH_MODE_REQUIRED)) != 0 ||
	    (mode == NNG_TLS_MODE_CLIENT && (rv = nng_tls_config_server_name(*ret, server_name)) != 0))
		return err_make(errors, ERR_INTERNAL, "cannot set TLS up: %s", nng_strerror(rv));
	if ((rv = nng_tls_config_ca_chain(*ret, (const char *)p->ca.data, NULL)) != 0)
		return err_make(errors, ERR_INVALID_ARGUMENT, "%s: not a certificate authority in PEM: %s",
				config->tls_ca_file, nng_strerror(rv));
	if ((rv = nng_tls_config_own_cert(*ret, (const char *)p->cert.data, (const char *)p->key.data, NULL)) != 0)
		return err_make(errors, ERR_INVALID_ARGUMENT, "%s and %s: not a certificate and its key in PEM: %s",
				config->tls_cert_file, config->tls_key_file, nng_strerror(rv));
	return err_ok;
}

static void pem_done(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_done(b);
}

struct err nng_tls_init(struct nng_tls *t, const struct rpc_nng_config *config, struct arena *errors)
{
	*t = (struct nng_tls){0};
	bool any = config->tls_cert_file || config->tls_key_file || config->tls_ca_file;
	bool all = config->tls_cert_file && config->tls_key_file && config->tls_ca_file;
	if (!any)
		return err_ok;
	if (!all)
		return err_static(ERR_INVALID_ARGUMENT,
				  "TLS between daemons needs a certificate, its key and an authority");
	struct pems p = {0};
	struct err e = read_pems(config, errors, &p);
	if (!err_is(e))
		e = make_config(NNG_TLS_MODE_SERVER, &p, config, errors, &t->server);
	if (!err_is(e))
		e = make_config(NNG_TLS_MODE_CLIENT, &p, config, errors, &t->client);
	if (err_is(e))
		nng_tls_done(t);
	pem_done(&p.cert);
	pem_done(&p.key);
	pem_done(&p.ca);
	return e;
}

void nng_tls_done(struct nng_tls *t)
{
	if (t->server)
		nng_tls_config_free(t->server);
	if (t->client)
		nng_tls_config_free(t->client);
	*t = (struct nng_tls){0};
}

/* ------------------------------------------------------------------ streams */

bool nng_url_is_tls(const char *url)
{
	return strncmp(url, "tls+tcp", strlen("tls+tcp")) == 0;
}

/* nng has more (websockets), which make no sense here. */
static bool known_scheme(const char *url)
{
	return nng_url_is_tls(url) || strncmp(url, "tcp", strlen("tcp")) == 0 ||
	       strncmp(url, "ipc:", strlen("ipc:")) == 0;
}

/* An option that the transport does not have is no error. */
static int optional(int rv)
{
	return rv == NNG_ENOTSUP ? 0 : rv;
}

static int listener_start(nng_stream_listener *l, const char *url, const struct nng_tls *tls)
{
	int rv;
	if ((rv = optional(nng_stream_listener_set_bool(l, NNG_OPT_TCP_NODELAY, true))) != 0 ||
	    (rv = optional(nng_stream_listener_set_bool(l, NNG_OPT_TCP_KEEPALIVE, true))) != 0 ||
	    (rv = optional(nng_stream_listener_set_int(l, NNG_OPT_IPC_PERMISSIONS, 0600))) != 0)
		return rv;
	if (nng_url_is_tls(url) && (rv = nng_stream_listener_set_ptr(l, NNG_OPT_TLS_CONFIG, tls->server)) != 0)
		return rv;
	return nng_stream_listener_listen(l);
}

/*
 * A configuration of nng's is frozen once it was used, but a listener takes another one at any time: each accept holds
 * the one that was there when it began.
 */
bool nng_listener_set_tls(nng_stream_listener *l, const struct nng_tls *tls)
{
	return nng_stream_listener_set_ptr(l, NNG_OPT_TLS_CONFIG, tls->server) == 0;
}

static struct err listen_error(const char *url, int rv, struct arena *errors)
{
	switch (rv) {
	case NNG_EADDRINUSE:
		return err_make(errors, ERR_ALREADY_EXISTS, "cannot listen on %s: the address is in use", url);
	case NNG_EADDRINVAL:
	case NNG_EINVAL:
		return err_make(errors, ERR_INVALID_ARGUMENT,
				"cannot listen on %s: expected tcp://HOST:PORT, tls+tcp://HOST:PORT, ipc:///PATH or "
				"inproc://NAME",
				url);
	case NNG_ENOTSUP:
		return err_make(errors, ERR_UNIMPLEMENTED,
				"cannot listen on %s: this build of nng has no such transport", url);
	default:
		return err_make(errors, ERR_UNAVAILABLE, "cannot listen on %s: %s", url, nng_strerror(rv));
	}
}

struct err nng_open_listener(const char *url, const struct nng_tls *tls, struct arena *errors,
			     nng_stream_listener **ret)
{
	if (nng_url_is_tls(url) && !tls->server)
		return err_make(errors, ERR_INVALID_ARGUMENT, "%s needs a certificate, its key and an authority", url);
	int rv = known_scheme(url) ? nng_stream_listener_alloc(ret, url) : NNG_EINVAL;
	if (rv != 0)
		return listen_error(url, rv, errors);
	if ((rv = listener_start(*ret, url, tls)) == 0)
		return err_ok;
	nng_stream_listener_free(*ret);
	return listen_error(url, rv, errors);
}

static int dialer_prepare(nng_stream_dialer *d, const char *url, const struct nng_tls *tls)
{
	int rv;
	if ((rv = optional(nng_stream_dialer_set_bool(d, NNG_OPT_TCP_NODELAY, true))) != 0 ||
	    (rv = optional(nng_stream_dialer_set_bool(d, NNG_OPT_TCP_KEEPALIVE, true))) != 0)
		return rv;
	return nng_url_is_tls(url) ? nng_stream_dialer_set_ptr(d, NNG_OPT_TLS_CONFIG, tls->client) : 0;
}

int nng_open_dialer(const char *url, const struct nng_tls *tls, nng_stream_dialer **ret)
{
	if (!known_scheme(url) || (nng_url_is_tls(url) && !tls->client))
		return NNG_ENOTSUP;
	int rv = nng_stream_dialer_alloc(ret, url);
	if (rv != 0)
		return rv;
	if ((rv = dialer_prepare(*ret, url, tls)) != 0)
		nng_stream_dialer_free(*ret);
	return rv;
}
