/*
 * Messages between endpoints of one process: the sender's bytes become the receiver's, without a copy or a thread.
 *
 * nng's streams have no inproc, and its inproc sockets would cost three thread switches a message. All endpoints of the
 * process are in one list under one lock, which is held while a message is put into the receiver's mailbox; so an
 * endpoint that is found there is alive.
 */
#include "common/rpc/inproc_net.h"

#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "common/rpc/mailbox.h"

/* As long as a peer elsewhere gets to answer the first call. */
#define CONNECT_TIMEOUT_NS (250 * NS_PER_MS)

struct inproc_net {
	struct rpc_net base;
	struct env *env;
	char *address;
	struct mailbox *mailbox;
	struct outbox *outboxes; /* by peer; of messages that are owed on_sent() */
	struct letter *letters;	 /* received, not handled yet; under `lock` */
	struct inproc_net *prev, *next;
};

/* A message under way to a peer, from net_send() to on_sent(). */
struct outbox {
	struct inproc_net *net;
	char *address;
	bool delivered;
	struct env_timer timer; /* when it was not: until on_peer_down() */
	struct env_task sent;	/* when it was */
	struct outbox *prev, *next;
};

/* What one endpoint finds in its mailbox: a message, or (data NULL) that the peer is gone. */
struct letter {
	struct mail mail;
	struct inproc_net *to;
	char *from;
	uint8_t *data;
	size_t len;
	struct letter *prev, *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct inproc_net *endpoints; /* under lock */

static struct inproc_net *net_of(struct rpc_net *base)
{
	return container_of(base, struct inproc_net, base);
}

/* With the lock held. */
static struct inproc_net *find(const char *address)
{
	struct inproc_net *n;
	DL_FOREACH (endpoints, n) {
		if (strcmp(n->address, address) == 0)
			return n;
	}
	return NULL;
}

/* ------------------------------------------------------------------ receiving */

static void letter_free(struct letter *l)
{
	free(l->from);
	free(l->data);
	free(l);
}

static void on_letter(struct mail *m)
{
	struct letter *l = container_of(m, struct letter, mail);
	struct inproc_net *n = l->to;
	pthread_mutex_lock(&lock);
	DL_DELETE(n->letters, l);
	pthread_mutex_unlock(&lock);
	if (l->data)
		n->base.on_message(n->base.ctx, bytes_of(l->data, l->len));
	else
		n->base.on_peer_down(n->base.ctx, l->from);
	letter_free(l);
}

/* With the lock held. Takes ownership of data. */
static void deliver(struct inproc_net *to, const char *from, uint8_t *data, size_t len)
{
	struct letter *l = new0(struct letter);
	l->mail.fn = on_letter;
	l->to = to;
	l->from = mem_strdup(from);
	l->data = data;
	l->len = len;
	DL_APPEND(to->letters, l);
	mailbox_push(to->mailbox, &l->mail);
}

/* ------------------------------------------------------------------ sending */

static void outbox_free(struct outbox *o)
{
	env_timer_stop(o->net->env, &o->timer);
	env_undefer(o->net->env, &o->sent);
	DL_DELETE(o->net->outboxes, o);
	free(o->address);
	free(o);
}

static void finish(struct outbox *o)
{
	struct inproc_net *n = o->net;
	char *address = mem_strdup(o->address);
	bool delivered = o->delivered;
	outbox_free(o);
	if (!delivered)
		n->base.on_peer_down(n->base.ctx, address);
	n->base.on_sent(n->base.ctx, address);
	free(address);
}

static void on_timeout(struct env_timer *t)
{
	finish(container_of(t, struct outbox, timer));
}

static void on_sent(struct env_task *t)
{
	finish(container_of(t, struct outbox, sent));
}

static void net_send(struct rpc_net *base, const char *address, uint8_t *data, size_t len)
{
	struct inproc_net *n = net_of(base);
	struct outbox *o = new0(struct outbox);
	o->net = n;
	o->address = mem_strdup(address);
	o->timer.fn = on_timeout;
	o->sent.fn = on_sent;
	DL_APPEND(n->outboxes, o);
	pthread_mutex_lock(&lock);
	struct inproc_net *to = find(address);
	o->delivered = to != NULL;
	if (to)
		deliver(to, n->address, data, len);
	pthread_mutex_unlock(&lock);
	if (o->delivered) {
		env_defer(n->env, &o->sent);
	} else {
		free(data);
		env_timer_start(n->env, &o->timer, CONNECT_TIMEOUT_NS);
	}
}

static void net_forget(struct rpc_net *base, const char *address)
{
	struct inproc_net *n = net_of(base);
	struct outbox *o, *next;
	DL_FOREACH_SAFE (n->outboxes, o, next) {
		if (strcmp(o->address, address) == 0)
			outbox_free(o);
	}
	pthread_mutex_lock(&lock);
	struct inproc_net *to = find(address);
	if (to)
		deliver(to, n->address, NULL, 0);
	pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------ making and ending */

static void net_free(struct rpc_net *base)
{
	struct inproc_net *n = net_of(base);
	struct inproc_net *peer;
	pthread_mutex_lock(&lock);
	DL_DELETE(endpoints, n);
	/* Who never heard of us does not mind. */
	DL_FOREACH (endpoints, peer) {
		deliver(peer, n->address, NULL, 0);
	}
	pthread_mutex_unlock(&lock);
	/* From here on nobody finds us. */
	struct letter *l, *l_next;
	DL_FOREACH_SAFE (n->letters, l, l_next) {
		mailbox_remove(n->mailbox, &l->mail);
		letter_free(l);
	}
	struct outbox *o, *o_next;
	DL_FOREACH_SAFE (n->outboxes, o, o_next) {
		outbox_free(o);
	}
	mailbox_free(n->mailbox);
	free(n->address);
	free(n);
}

static const struct rpc_net_ops ops = {.send = net_send, .forget = net_forget, .free = net_free};

struct err inproc_net_new(struct env *env, const char *address, struct arena *errors, struct rpc_net **ret)
{
	struct inproc_net *n = new0(struct inproc_net);
	n->base.ops = &ops;
	n->env = env;
	n->address = mem_strdup(address);
	n->mailbox = mailbox_new(env);
	pthread_mutex_lock(&lock);
	bool taken = find(address) != NULL;
	if (!taken)
		DL_APPEND(endpoints, n);
	pthread_mutex_unlock(&lock);
	if (!taken) {
		*ret = &n->base;
		return err_ok;
	}
	mailbox_free(n->mailbox);
	free(n->address);
	free(n);
	return err_make(errors, ERR_ALREADY_EXISTS, "cannot listen on %s: the address is in use", address);
}
