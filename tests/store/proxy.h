/*
 * A Unix-socket proxy in front of PostgreSQL, on the test's own loop: it can cut a connection at a chosen moment.
 */
#ifndef TESTS_STORE_PROXY_H
#define TESTS_STORE_PROXY_H

#include "common/loop/loop.h"

struct proxy;

enum proxy_cut {
	PROXY_CUT_NEVER,
	PROXY_CUT_REQUEST, /* the next thing a client sends is thrown away, and its connection closed */
	PROXY_CUT_ANSWER,  /* it is passed on; its connection is closed when the server answers, unseen by the client */
};

/* Listens in `folder` (".s.PGSQL.<port>") and connects to the server's socket. */
struct proxy *proxy_new(struct loop *loop, const char *folder, int port, const char *server_socket);
/* Closes everything; the loop must turn once more. */
void proxy_free(struct proxy *p);
/* Once. */
void proxy_set_cut(struct proxy *p, enum proxy_cut cut);
/* While held, what clients send stays here. */
void proxy_hold(struct proxy *p, bool hold);

#endif
