/*
 * A loop thread: libuv driving one `struct env`.
 */
#ifndef COMMON_LOOP_LOOP_H
#define COMMON_LOOP_LOOP_H

#include <uv.h>

#include "common/env/env.h"
#include "common/err/err.h"

struct loop;

/* The loop is made on one thread and run on one thread, which may be another. */
struct loop *loop_new(void);
/* Not running any more; every handle closed. */
void loop_free(struct loop *l);
struct env *loop_env(struct loop *l);
uv_loop_t *loop_uv(struct loop *l);
/* Until loop_stop(), then until all handles are closed. */
void loop_run(struct loop *l);
/* From any thread. */
void loop_stop(struct loop *l);

/* Watches a file descriptor that a library owns (libpq, nng); level-triggered. */
struct loop_poll;
typedef void loop_poll_fn(void *ctx, bool readable, bool writable);
struct loop_poll *loop_poll_new(struct loop *l, int fd, loop_poll_fn *fn, void *ctx);
void loop_poll_set(struct loop_poll *p, bool read, bool write);
/* Stops watching at once; the descriptor may be closed after this returns. */
void loop_poll_free(struct loop_poll *p);

/* Calls fn on the loop for SIGTERM/SIGINT. */
void loop_on_signal(struct loop *l, int signum, void (*fn)(void *ctx, int signum), void *ctx);

#endif
