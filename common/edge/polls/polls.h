/*
 * Polls of workers: parked here until matching hands over a task for one of them. See README.md in this folder.
 */
#ifndef COMMON_EDGE_POLLS_POLLS_H
#define COMMON_EDGE_POLLS_POLLS_H

#include "common/edge/internal.h"

struct polls;

struct polls *polls_new(struct edge *e);
/* Every poll ends empty-handed, and new ones are refused, until it is called with false. */
void polls_pause(struct polls *p, bool pause);
/* Every poll ends empty-handed; `done` when what was on its way is settled. New polls are refused from now on. */
void polls_drain(struct polls *p, void (*done)(void *ctx), void *ctx);
/* Accepts NULL. The calls of its polls have been finished. */
void polls_free(struct polls *p);
/* The live nodes changed: owners may have. */
void polls_wake(struct polls *p);

/* The routes. */
struct err poll_check(struct edge_call *c, struct admitted *a);
void poll_serve(struct edge_call *c, struct admitted *a);
void poll_shutdown_serve(struct edge_call *c, struct admitted *a);

#endif
