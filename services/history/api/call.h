/*
 * The generic request machine: route → load → decide → commit → reply.
 *
 * A public request that a run's shard serves arrives as perdure.HistoryCall. The method's row says which run it means
 * and which step decides; a step is synchronous and either makes a transition (whose commit the reply waits for), or
 * reads, or waits for something itself (long poll, query) and replies later.
 */
#ifndef SERVICES_HISTORY_API_CALL_H
#define SERVICES_HISTORY_API_CALL_H

#include "services/history/history.h"

struct api_method_row;

struct call {
	struct history *h;
	struct rpc_request *req;
	struct arena *arena; /* the request's */
	const Perdure__HistoryCall *envelope;
	const struct api_method_row *row;
	void *request;		   /* the public request, unpacked */
	Perdure__TaskToken *token; /* of requests that carry one */
	const char *run_id;	   /* "" or NULL: the current one */
	struct shard *shard;
	struct namespaces_wait names;
	struct run_wait wait;
	struct waiter waiter;
	struct bytes response;
	struct err failed; /* committed with what was written, then answered */
	bool replied;
	bool proven; /* see struct waiter */
	int64_t epoch;
	/* For measure.c, on the monotonic clock; 0: not reached. */
	int64_t began_ns, decided_from_ns, reading_from_ns, committing_from_ns;
	struct span *span; /* NULL: not traced */
};

enum run_need {
	RUN_MUST, /* NOT_FOUND without it */
	RUN_MAY,  /* run NULL when there is none */
};

struct api_method_row {
	const char *name;
	const ProtobufCMessageDescriptor *request;
	enum run_need need;
	/* Where the request names the run, and its task token: fills run_id and token. NULL: neither. */
	struct err (*target)(struct call *c);
	/* Decides. An error is the answer. OK without call_wait() or a reply: answered with c->response at once. */
	struct err (*step)(struct call *c, struct workflow *wf, struct cached_run *run);
};

const struct api_method_row *call_row(const char *method);

/* For the steps. */
void call_begin(struct call *c, struct txn *t, struct workflow *wf, struct cached_run *run);
/* Commits the transition; the reply, c->response (or c->failed), follows when it is durable. Returns the run. */
struct cached_run *call_commit(struct call *c, struct txn *t, struct workflow *wf, struct cached_run *run);
/* The reply waits for what the run was last touched by. */
void call_after(struct call *c, struct cached_run *run);
void call_pack(struct call *c, const ProtobufCMessage *response);
/* Replies now and frees the call. */
void call_reply(struct call *c, struct err e);

struct err call_not_found(struct call *c);

/* Steps in files of their own. */
struct err step_get_history(struct call *c, struct workflow *wf, struct cached_run *run);
struct err step_get_history_reverse(struct call *c, struct workflow *wf, struct cached_run *run);
struct err step_query(struct call *c, struct workflow *wf, struct cached_run *run);
struct err step_query_completed(struct call *c, struct workflow *wf, struct cached_run *run);
struct err step_workflow_task_completed(struct call *c, struct workflow *wf, struct cached_run *run);

/* ------------------------------------------------------------------ workflow task responses (task_response.c) */

/* Adds history, page token and queries to a poll's response and packs it: needs events, so it may take a while. */
struct task_response {
	void (*fn)(struct task_response *r, struct err e, struct bytes packed);
	struct arena *arena; /* everything below lives in it */
	struct cached_run *run;
	WS(PollWorkflowTaskQueueResponse) *resp;
	Temporal__Api__History__V1__HistoryEvent *transient_events[2];
	/* What is known at once is packed at once: what it points to (the run, queries whose callers may go) need not
	 * outlast the reading of events. */
	struct bytes head, transient;
	Perdure__HistoryPageToken token;
	int64_t first, last; /* events to show, the transient ones aside */
	struct events_read read;
};
/* How much of it; the last event is what the run has now. */
enum task_history {
	TASK_HISTORY_ALL,
	TASK_HISTORY_NEWS, /* since the last completed workflow task: the worker has the rest (sticky) */
	TASK_HISTORY_NONE, /* the worker has it all: a query on its sticky queue */
};
void task_response_make(struct task_response *r, enum task_history history);

/* ------------------------------------------------------------------ queries (query.c) */

struct query;
/* Those that wait for a workflow task: attached to the one that starts now. */
void queries_attach(struct cached_run *run, struct arena *arena, WS(PollWorkflowTaskQueueResponse) *resp);
/* The results that a worker's answer carries leave the run's list; they are given out once the answer is taken. */
struct query *queries_take_results(struct cached_run *run, const WS(RespondWorkflowTaskCompletedRequest) *req);
void queries_answer(struct cached_run *run, struct query *taken);
/* A gateway has a poll for a query task. False: gone. */
bool query_start(struct cached_run *run, const Perdure__StartTask *req, struct arena *arena,
		 WS(PollWorkflowTaskQueueResponse) *resp);

#endif
