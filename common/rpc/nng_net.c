/*
 * The real network under rpc: a listener for the inbox, and one outgoing connection for each peer that we send to.
 *
 * An outgoing connection is made when there is something to send, and is over when it ends or when it has not come
 * about 250 ms later; what waits in it is dropped, so nothing is ever sent again by itself, and the next message dials
 * anew. An incoming connection belongs to the peer that its first message names; its end means that the peer is down,
 * unless the peer has sent something over a newer connection meanwhile.
 *
 * Everything here runs on the loop. nng's threads only put mail into the mailbox.
 */
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "common/loop/loop.h"
#include "common/mem/mem.h"
#include "common/rpc/envelope.h"
#include "common/rpc/inproc_net.h"
#include "common/rpc/nng_link.h"
#include "common/rpc/nng_open.h"

/* How long a peer may take to be there when there is something to send; the second when no dial has failed yet. */
#define CONNECT_TIMEOUT_NS	(250 * NS_PER_MS)
#define CONNECT_TIMEOUT_SLOW_NS (1 * NS_PER_S)
#define REDIAL_NS		(50 * NS_PER_MS)
#define REACCEPT_NS		(100 * NS_PER_MS)

/* What we send to a peer: dialing, then connected (link). */
struct out_peer {
	UT_hash_handle hh; /* nng_net->peers by address */
	struct nng_net *net;
	char *address;
	nng_stream_dialer *dialer; /* NULL: the URL is bad */
	nng_aio *dial_aio;
	struct mail dial_mail;
	bool dialing;
	bool refused; /* a dial has failed */
	bool slow;    /* CONNECT_TIMEOUT_NS has passed */
	struct link *link;
	bool busy;     /* on_sent() is owed */
	uint8_t *data; /* what waits for the connection */
	size_t len;
	struct env_timer connect_timer, redial_timer;
	struct env_task sent;
};

/* A peer that sends to us. */
struct sender {
	UT_hash_handle hh; /* nng_net->senders by address */
	char *address;
	uint64_t newest; /* serial of its newest connection that a message came over */
	unsigned connections;
	bool quiet; /* nothing came since our connection to it was reported lost */
};

/* An incoming connection. */
struct in_peer {
	struct nng_net *net;
	struct link *link;
	uint64_t serial;
	struct sender *sender; /* NULL before the first message */
	struct in_peer *prev, *next;
};

struct nng_net {
	struct rpc_net base;
	struct env *env;
	struct mailbox *mailbox;
	struct nng_tls tls;
	struct rpc_nng_config tls_files; /* the paths alone, ours */
	bool inbox_tls;
	bool reaccept; /* the accept under way was ended to begin another */
	nng_stream_listener *listener;
	nng_aio *accept_aio;
	struct mail accept_mail;
	struct env_timer reaccept_timer;
	struct out_peer *peers;
	struct in_peer *in_peers;
	struct sender *senders;
	uint64_t last_serial;
};

static struct nng_net *net_of(struct rpc_net *base)
{
	return container_of(base, struct nng_net, base);
}

/* ------------------------------------------------------------------ on nng's threads */

static void on_dial_done(void *arg)
{
	struct out_peer *p = arg;
	mailbox_push(p->net->mailbox, &p->dial_mail);
}

static void on_accept_done(void *arg)
{
	struct nng_net *n = arg;
	mailbox_push(n->mailbox, &n->accept_mail);
}

static nng_aio *aio_new(void (*fn)(void *), void *arg)
{
	nng_aio *aio;
	int rv = nng_aio_alloc(&aio, fn, arg);
	assert(rv == 0 && "out of memory");
	return aio;
}

/* Ends whatever the aio is at; a stream that it has made and nobody has taken is freed. */
static void aio_end(nng_aio *aio, struct mailbox *mailbox, struct mail *mail)
{
	nng_aio_stop(aio);
	if (mail->queued && nng_aio_result(aio) == 0)
		nng_stream_free(nng_aio_get_output(aio, 0));
	mailbox_remove(mailbox, mail);
	nng_aio_free(aio);
}

/* ------------------------------------------------------------------ sending */

static void out_peer_free(struct out_peer *p)
{
	struct nng_net *n = p->net;
	HASH_DEL(n->peers, p);
	env_timer_stop(n->env, &p->connect_timer);
	env_timer_stop(n->env, &p->redial_timer);
	env_undefer(n->env, &p->sent);
	if (p->dialer)
		nng_stream_dialer_close(p->dialer);
	aio_end(p->dial_aio, n->mailbox, &p->dial_mail);
	nng_stream_dialer_free(p->dialer);
	link_free(p->link);
	free(p->data);
	free(p->address);
	free(p);
}

/*
 * Our connection to it is over. When the peer's process died, the end of its connection to us comes a moment later and
 * is no news; it must not hurt calls made meanwhile. (If it lives, it gives us up and says so.)
 */
static void quiet(struct nng_net *n, const char *address)
{
	struct sender *s;
	HASH_FIND_STR(n->senders, address, s);
	if (s)
		s->quiet = true;
}

static void lose_peer(struct out_peer *p)
{
	struct nng_net *n = p->net;
	quiet(n, p->address);
	bool busy = p->busy;
	char *address = mem_strdup(p->address);
	out_peer_free(p);
	n->base.on_peer_down(n->base.ctx, address);
	if (busy)
		n->base.on_sent(n->base.ctx, address);
	free(address);
}

static void on_connect_timeout(struct env_timer *t)
{
	struct out_peer *p = container_of(t, struct out_peer, connect_timer);
	struct nng_net *n = p->net;
	if (mailbox_has(n->mailbox, &p->dial_mail)) {
		/* It is this loop that was late. */
		env_timer_start(n->env, t, NS_PER_MS);
	} else if (!p->refused && !p->slow) {
		p->slow = true;
		env_timer_start(n->env, t, CONNECT_TIMEOUT_SLOW_NS - CONNECT_TIMEOUT_NS);
	} else {
		lose_peer(p);
	}
}

static void on_out_down(void *ctx)
{
	lose_peer(ctx);
}

static void on_out_sent(void *ctx)
{
	struct out_peer *p = ctx;
	assert(p->busy);
	p->busy = false;
	p->net->base.on_sent(p->net->base.ctx, p->address);
}

static void on_sent_at_once(struct env_task *t)
{
	on_out_sent(container_of(t, struct out_peer, sent));
}

static const struct link_ops out_ops = {.on_sent = on_out_sent, .on_down = on_out_down};

static void dial(struct out_peer *p)
{
	if (p->dialing || p->link || !p->dialer)
		return;
	p->dialing = true;
	nng_stream_dialer_dial(p->dialer, p->dial_aio);
}

static void on_redial(struct env_timer *t)
{
	dial(container_of(t, struct out_peer, redial_timer));
}

static void transmit(struct out_peer *p, uint8_t *data, size_t len)
{
	if (link_send(p->link, data, len))
		env_defer(p->net->env, &p->sent);
}

static void on_dialed(struct mail *m)
{
	struct out_peer *p = container_of(m, struct out_peer, dial_mail);
	struct nng_net *n = p->net;
	p->dialing = false;
	if (nng_aio_result(p->dial_aio) != 0) {
		/* A process that is starting may listen in a moment; connect_timer ends it. */
		p->refused = true;
		env_timer_start(n->env, &p->redial_timer, REDIAL_NS);
		return;
	}
	env_timer_stop(n->env, &p->connect_timer);
	p->link = link_new(n->mailbox, nng_aio_get_output(p->dial_aio, 0), nng_url_is_tls(p->address), &out_ops, p);
	uint8_t *data = p->data;
	p->data = NULL;
	if (data)
		transmit(p, data, p->len);
}

static struct out_peer *out_peer_new(struct nng_net *n, const char *address)
{
	struct out_peer *p = new0(struct out_peer);
	p->net = n;
	p->address = mem_strdup(address);
	p->connect_timer.fn = on_connect_timeout;
	p->redial_timer.fn = on_redial;
	p->sent.fn = on_sent_at_once;
	p->dial_mail.fn = on_dialed;
	p->dial_aio = aio_new(on_dial_done, p);
	if (nng_open_dialer(address, &n->tls, &p->dialer) != 0) {
		p->dialer = NULL;
		p->refused = true;
	}
	HASH_ADD_KEYPTR(hh, n->peers, p->address, strlen(p->address), p);
	return p;
}

static void net_send(struct rpc_net *base, const char *address, uint8_t *data, size_t len)
{
	struct nng_net *n = net_of(base);
	struct out_peer *p;
	HASH_FIND_STR(n->peers, address, p);
	if (!p)
		p = out_peer_new(n, address);
	assert(!p->busy && "one message at a time");
	p->busy = true;
	if (p->link) {
		transmit(p, data, len);
		return;
	}
	p->data = data;
	p->len = len;
	env_timer_start(n->env, &p->connect_timer, CONNECT_TIMEOUT_NS);
	dial(p);
}

static void net_forget(struct rpc_net *base, const char *address)
{
	struct nng_net *n = net_of(base);
	struct out_peer *p;
	HASH_FIND_STR(n->peers, address, p);
	if (!p)
		return;
	quiet(n, address);
	out_peer_free(p);
}

/* ------------------------------------------------------------------ receiving */

static void in_peer_free(struct in_peer *p)
{
	struct nng_net *n = p->net;
	struct sender *s = p->sender;
	DL_DELETE(n->in_peers, p);
	link_free(p->link);
	free(p);
	if (!s || --s->connections > 0)
		return;
	HASH_DEL(n->senders, s);
	free(s->address);
	free(s);
}

static void on_in_down(void *ctx)
{
	struct in_peer *p = ctx;
	struct nng_net *n = p->net;
	bool down = p->sender && p->sender->newest == p->serial && !p->sender->quiet;
	char *address = down ? mem_strdup(p->sender->address) : NULL;
	in_peer_free(p);
	if (down)
		n->base.on_peer_down(n->base.ctx, address);
	free(address);
}

static void set_sender(struct in_peer *p, struct bytes from)
{
	struct nng_net *n = p->net;
	struct sender *s;
	HASH_FIND(hh, n->senders, from.data, from.len, s);
	if (!s) {
		s = new0(struct sender);
		s->address = mem_zalloc(from.len + 1);
		memcpy(s->address, from.data, from.len);
		HASH_ADD_KEYPTR(hh, n->senders, s->address, from.len, s);
	}
	s->connections++;
	s->newest = p->serial > s->newest ? p->serial : s->newest;
	p->sender = s;
}

/* Whether the message may be handed up: the first of a connection names its sender; one of an older connection is late.
 */
static bool admit(struct in_peer *p, struct bytes message)
{
	struct envelope_reader r;
	struct envelope_header h;
	if (!envelope_read_header(&r, message, &h))
		return true; /* rpc counts it */
	if (!p->sender)
		set_sender(p, h.from);
	if (p->serial != p->sender->newest || !bytes_eq(h.from, bytes_str(p->sender->address)))
		return false;
	p->sender->quiet = false;
	return true;
}

static void on_in_message(void *ctx, struct bytes message)
{
	struct in_peer *p = ctx;
	struct nng_net *n = p->net;
	if (admit(p, message))
		n->base.on_message(n->base.ctx, message);
}

static const struct link_ops in_ops = {.on_message = on_in_message, .on_down = on_in_down};

static void accept_next(struct nng_net *n)
{
	nng_stream_listener_accept(n->listener, n->accept_aio);
}

static void on_reaccept(struct env_timer *t)
{
	accept_next(container_of(t, struct nng_net, reaccept_timer));
}

static void on_accepted(struct mail *m)
{
	struct nng_net *n = container_of(m, struct nng_net, accept_mail);
	if (nng_aio_result(n->accept_aio) == NNG_ECANCELED && n->reaccept) {
		n->reaccept = false;
		accept_next(n);
		return;
	}
	if (nng_aio_result(n->accept_aio) != 0) {
		/* Out of descriptors, or a TLS handshake that failed at once: not the end of the inbox. */
		env_timer_start(n->env, &n->reaccept_timer, REACCEPT_NS);
		return;
	}
	n->reaccept = false; /* it was sooner than the cancellation */
	struct in_peer *p = new0(struct in_peer);
	p->net = n;
	p->serial = ++n->last_serial;
	DL_APPEND(n->in_peers, p);
	p->link = link_new(n->mailbox, nng_aio_get_output(n->accept_aio, 0), n->inbox_tls, &in_ops, p);
	accept_next(n);
}

/* ------------------------------------------------------------------ certificates that change */

static char *copy_path(const char *path)
{
	return path ? mem_strdup(path) : NULL;
}

static void keep_tls_files(struct nng_net *n, const struct rpc_nng_config *config)
{
	n->tls_files = (struct rpc_nng_config){.tls_cert_file = copy_path(config->tls_cert_file),
					       .tls_key_file = copy_path(config->tls_key_file),
					       .tls_ca_file = copy_path(config->tls_ca_file),
					       .tls_server_name = copy_path(config->tls_server_name)};
}

static void forget_tls_files(struct nng_net *n)
{
	free((char *)n->tls_files.tls_cert_file);
	free((char *)n->tls_files.tls_key_file);
	free((char *)n->tls_files.tls_ca_file);
	free((char *)n->tls_files.tls_server_name);
}

/*
 * Dialers are made for each connection, so the next one has the new certificates. The accept that waits has the old
 * ones: it is ended, and the next begins at once; who dials meanwhile waits in the kernel's queue.
 */
static struct err reload_tls(struct nng_net *n, struct arena *errors)
{
	struct nng_tls next;
	if (!n->tls.server)
		return err_static(ERR_FAILED_PRECONDITION, "no certificates are configured between daemons");
	try(nng_tls_init(&next, &n->tls_files, errors));
	if (n->inbox_tls && !nng_listener_set_tls(n->listener, &next)) {
		nng_tls_done(&next);
		return err_static(ERR_INTERNAL, "the inbox does not take the new certificates");
	}
	nng_tls_done(&n->tls); /* connections hold what they need of it */
	n->tls = next;
	if (n->inbox_tls && !n->reaccept_timer.armed) {
		n->reaccept = true;
		nng_aio_cancel(n->accept_aio);
	}
	return err_ok;
}

/* ------------------------------------------------------------------ making and ending */

static void net_free(struct rpc_net *base)
{
	struct nng_net *n = net_of(base);
	nng_stream_listener_close(n->listener);
	aio_end(n->accept_aio, n->mailbox, &n->accept_mail);
	nng_stream_listener_free(n->listener);
	env_timer_stop(n->env, &n->reaccept_timer);
	struct out_peer *o, *o_next;
	HASH_ITER (hh, n->peers, o, o_next) {
		out_peer_free(o);
	}
	struct in_peer *i, *i_next;
	DL_FOREACH_SAFE (n->in_peers, i, i_next) {
		in_peer_free(i);
	}
	mailbox_free(n->mailbox);
	nng_tls_done(&n->tls);
	forget_tls_files(n);
	free(n);
}

static const struct rpc_net_ops ops = {.send = net_send, .forget = net_forget, .free = net_free};

static struct err nng_net_new(struct env *env, const struct rpc_nng_config *config, struct arena *errors,
			      struct rpc_net **ret)
{
	struct nng_net *n = new0(struct nng_net);
	n->base.ops = &ops;
	n->env = env;
	n->inbox_tls = nng_url_is_tls(config->listen);
	n->accept_mail.fn = on_accepted;
	n->reaccept_timer.fn = on_reaccept;
	struct err e = nng_tls_init(&n->tls, config, errors);
	if (!err_is(e))
		e = nng_open_listener(config->listen, &n->tls, errors, &n->listener);
	if (err_is(e)) {
		nng_tls_done(&n->tls);
		free(n);
		return e;
	}
	keep_tls_files(n, config);
	n->mailbox = mailbox_new(env);
	n->accept_aio = aio_new(on_accept_done, n);
	accept_next(n);
	*ret = &n->base;
	return err_ok;
}

struct err rpc_nng_reload_tls(struct rpc_net *net, struct arena *errors)
{
	if (net->ops != &ops)
		return err_static(ERR_FAILED_PRECONDITION, "daemons of one process need no certificates");
	return reload_tls(net_of(net), errors);
}

struct err rpc_nng_new(struct loop *loop, const struct rpc_nng_config *config, struct arena *errors,
		       struct rpc_net **ret)
{
	if (strncmp(config->listen, "inproc://", strlen("inproc://")) == 0)
		return inproc_net_new(loop_env(loop), config->listen, errors, ret);
	return nng_net_new(loop_env(loop), config, errors, ret);
}
