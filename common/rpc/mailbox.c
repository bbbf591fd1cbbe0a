/*
 * A locked list and a wake-up. The lock is held for a few instructions, never while mail is handled.
 */
#include "common/rpc/mailbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"

struct mailbox {
	struct env *env;
	struct env_task wake;
	pthread_mutex_t lock; /* for what follows */
	struct mail *first;
	size_t len;
	bool posted; /* wake is on its way to the loop */
	bool closed; /* freed; wake, when it comes, frees the rest */
};

static void destroy(struct mailbox *b)
{
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* With the lock held. */
static void unlink_mail(struct mailbox *b, struct mail *m)
{
	DL_DELETE(b->first, m);
	m->queued = false;
	b->len--;
}

static struct mail *pop(struct mailbox *b)
{
	pthread_mutex_lock(&b->lock);
	struct mail *m = b->first;
	if (m)
		unlink_mail(b, m);
	pthread_mutex_unlock(&b->lock);
	return m;
}

static void on_wake(struct env_task *t)
{
	struct mailbox *b = container_of(t, struct mailbox, wake);
	pthread_mutex_lock(&b->lock);
	b->posted = false;
	size_t len = b->len;
	bool closed = b->closed;
	pthread_mutex_unlock(&b->lock);
	if (closed) {
		destroy(b);
		return;
	}
	/* What comes meanwhile has its own wake-up, so that the rest of the loop gets its turn. */
	struct mail *m;
	while (len-- > 0 && (m = pop(b)))
		m->fn(m);
}

struct mailbox *mailbox_new(struct env *env)
{
	struct mailbox *b = new0(struct mailbox);
	b->env = env;
	b->wake.fn = on_wake;
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

void mailbox_free(struct mailbox *b)
{
	pthread_mutex_lock(&b->lock);
	/* A task that was posted cannot be taken back: the loop still has it in its hands. */
	bool wait = b->posted;
	b->closed = true;
	pthread_mutex_unlock(&b->lock);
	if (!wait)
		destroy(b);
}

void mailbox_push(struct mailbox *b, struct mail *m)
{
	pthread_mutex_lock(&b->lock);
	assert(!m->queued && !b->closed);
	m->queued = true;
	DL_APPEND(b->first, m);
	b->len++;
	if (!b->posted) {
		b->posted = true;
		env_post(b->env, &b->wake);
	}
	pthread_mutex_unlock(&b->lock);
}

bool mailbox_has(struct mailbox *b, const struct mail *m)
{
	pthread_mutex_lock(&b->lock);
	bool queued = m->queued;
	pthread_mutex_unlock(&b->lock);
	return queued;
}

void mailbox_remove(struct mailbox *b, struct mail *m)
{
	pthread_mutex_lock(&b->lock);
	if (m->queued)
		unlink_mail(b, m);
	pthread_mutex_unlock(&b->lock);
}
