/*
 * A network in memory, below rpc: endpoints by address, with latency, cuts and deaths, on a fake_world.
 *
 * It keeps what `struct rpc_net` promises, no more: messages between two endpoints travel over a connection; when that
 * ends, what was under way on it is lost and both ends that still live hear of it, each in its own time.
 */
#ifndef TESTS_SUPPORT_FAKE_NET_H
#define TESTS_SUPPORT_FAKE_NET_H

#include "common/rpc/rpc.h"
#include "tests/support/fake_env.h"

struct fake_net;

struct fake_net *fake_net_new(struct fake_world *w);
/* All endpoints are freed. */
void fake_net_free(struct fake_net *n);

/* An endpoint for rpc_new(), which owns it. At most one an address at a time; freeing it is the process's death. */
struct rpc_net *fake_net_endpoint(struct fake_net *n, struct env *env, const char *address);

/* One way; the default is 100 µs to 100 µs. Order is kept whatever the latency. */
void fake_net_set_latency(struct fake_net *n, int64_t min_ns, int64_t max_ns);
/* How long after the end of a connection its ends hear of it; the default is 1 ms to 1 ms. */
void fake_net_set_notice(struct fake_net *n, int64_t min_ns, int64_t max_ns);

/* Connections between the two end (if there are any), and new ones can be made at once. */
void fake_net_reset(struct fake_net *n, const char *a, const char *b);
/* The connection over which `from` sends to `to` ends, the other way stays: what one reset TCP connection does. */
void fake_net_reset_one_way(struct fake_net *n, const char *from, const char *to);
/* Nothing passes between the two from now on, and nobody is told until a send times out (after the notice). */
void fake_net_cut(struct fake_net *n, const char *a, const char *b, bool cut);

/*
 * The same without anybody ever being told: what is sent seems to leave, new connections seem to come about (as behind
 * a proxy, or until TCP gives up). What is silent now stays lost when the silence ends.
 */
void fake_net_silence(struct fake_net *n, const char *a, const char *b, bool silent);

/* Messages delivered so far. */
uint64_t fake_net_delivered(const struct fake_net *n);

#endif
