/*
 * An edge in a small cluster in virtual time: history and matching are endpoints whose answers the test decides, the
 * client is a transport that remembers how its calls ended.
 */
#ifndef TESTS_UNIT_COMMON_EDGE_HARNESS_H
#define TESTS_UNIT_COMMON_EDGE_HARNESS_H

#include <check.h>

#include <perdure/cluster.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/edge/edge.h"
#include "common/relay/relay.h"
#include "common/store/fake.h"
#include "tests/support/fake_env.h"
#include "tests/support/fake_net.h"

#define WS(name)     Temporal__Api__Workflowservice__V1__##name
#define METHOD(id)   (&api_methods[API_METHOD_WORKFLOW_##id])
#define SHARDS	     8
#define NAMESPACE_ID "11111111-1111-4111-8111-111111111111"
#define MS	     NS_PER_MS

#define HELD_MAX 64

/* A request that a peer holds until the test answers it. */
struct held {
	struct rpc_request *req;
	bool cancelled;
	struct arena *arena;
};

/* A node beside the edge. */
struct peer_node {
	struct fake_env env;
	struct store *store;
	struct rpc *rpc;
	struct membership *membership;
	struct relay *relay; /* history's */
	bool alive;
	const char *address;
	enum member_role role;
	uint64_t incarnation;
	/* history: unanswered requests in order of arrival, by method */
	struct held calls[HELD_MAX], starts[HELD_MAX], reverts[HELD_MAX], describes[HELD_MAX];
	size_t call_count, start_count, revert_count, describe_count;
	/* matching: what the gateways said, messages unpacked, newest last */
	Perdure__Credits *credits[HELD_MAX];
	size_t credit_count;
	Perdure__TaskOutcome outcomes[HELD_MAX];
	size_t outcome_count;
	char gateway[256]; /* who sent the credits */
};

/* How a client's call ended. */
struct client_call {
	struct edge_call call;
	bool finished, cancelled, slim;
	bool refuse; /* finish() says that nothing was written */
	struct err e;
	char message[512];
	char detail_type[128];
	uint8_t *body;
	size_t body_len;
	int64_t finished_ns;
	const char *client_name;
	uint8_t *request;
};

struct cluster {
	struct fake_world world;
	struct fake_net *net;
	struct fake_db *db;
	struct fake_env env;
	struct store *store;
	struct rpc *rpc;
	struct membership *membership;
	struct namespaces *namespaces;
	struct edge *edge;
	bool no_relays; /* nodes that start are of a release without */
	struct peer_node history, history2, matching, matching2;
	const char *hand_request_id; /* of what is handed out; NULL: none */
	bool drained;
};

extern struct cluster k;

/* With one history node, one matching node and the namespace "default". */
void cluster_setup(void);
void cluster_teardown(void);
void advance(int64_t ns);
void put_namespace(const char *id, const char *name, int state);

void peer_start(struct peer_node *p, enum member_role role, const char *address);
/* kill -9: its row stays until it expires. */
void peer_kill(struct peer_node *p);
void peer_leave(struct peer_node *p);

/* The oldest held request; the message unpacked from its arena. */
Perdure__HistoryCall *next_call(struct peer_node *p);
Perdure__StartTask *next_start(struct peer_node *p);
Perdure__RevertStart *next_revert(struct peer_node *p);
void reply(struct held *list, size_t *count, const void *data, size_t len);
void reply_err(struct held *list, size_t *count, enum err_code code, enum err_reason reason, const char *message);
#define reply_call(p, text)	 reply((p)->calls, &(p)->call_count, text, strlen(text))
#define fail_call(p, code, why)	 reply_err((p)->calls, &(p)->call_count, code, why, "failed")
#define fail_start(p, code, why) reply_err((p)->starts, &(p)->start_count, code, why, "failed")
#define reply_revert(p)		 reply((p)->reverts, &(p)->revert_count, NULL, 0)
void reply_start(struct peer_node *p, Perdure__StartTaskReply__Outcome outcome, const char *response);

/* The last word of the gateway about a queue; NULL when the last report that should name it did not. */
const Perdure__QueueCredit *credit_of(struct peer_node *p, const char *queue);
void hand_out(struct peer_node *p, const char *queue, bool sticky, Perdure__TaskKind pollers, uint64_t hand_id,
	      const char *workflow_id);
void hand_out_query(struct peer_node *p, const char *queue, uint64_t hand_id, const char *workflow_id);
Perdure__TaskOutcome__Verdict outcome_of(struct peer_node *p, uint64_t hand_id);

/* A call with the packed message and a deadline after timeout_ns (0: none). Begun at once. */
struct client_call *client_begin(const struct api_method *method, const ProtobufCMessage *request, int64_t timeout_ns);
struct client_call *client_begin_bytes(const struct api_method *method, struct bytes request, int64_t timeout_ns);
void client_cancel(struct client_call *c);
void client_free(struct client_call *c);
/* Begins the call, lets 100 ms pass and compares the error. */
void expect_error(const struct api_method *method, const ProtobufCMessage *request, enum err_code code,
		  const char *text);
void expect_body(const struct client_call *c, const char *body);

struct client_call *poll_workflow(const char *queue, const char *identity, int64_t timeout_ns);
struct client_call *poll_activity(const char *queue, const char *identity, int64_t timeout_ns);
struct client_call *poll_sticky(const char *queue, const char *normal, const char *identity, int64_t timeout_ns);

int run_suite(const char *name, const TTest *const *tests, size_t count);

#endif
