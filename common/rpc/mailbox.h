/*
 * From any thread to one loop: what is pushed is handled on the loop, in order, with one wake-up for many.
 *
 * A piece of mail is embedded in the object that it is about (container_of() gives that back), so a push allocates
 * nothing, and it can be taken back when the object goes.
 */
#ifndef COMMON_RPC_MAILBOX_H
#define COMMON_RPC_MAILBOX_H

#include "common/env/env.h"

struct mailbox;

struct mail {
	void (*fn)(struct mail *m); /* on the loop */
	struct mail *prev, *next;
	bool queued;
};

struct mailbox *mailbox_new(struct env *env);
/* On the loop. Nobody pushes any more. Mail that is still there is not handled. */
void mailbox_free(struct mailbox *b);
/* From any thread; m is in no mailbox. */
void mailbox_push(struct mailbox *b, struct mail *m);
bool mailbox_has(struct mailbox *b, const struct mail *m);
/* On the loop, when nobody pushes m any more: takes it back. Harmless when it is not there. */
void mailbox_remove(struct mailbox *b, struct mail *m);

#endif
