/*
 * What the edge's files share. For common/edge only.
 */
#ifndef COMMON_EDGE_INTERNAL_H
#define COMMON_EDGE_INTERNAL_H

#include <perdure/token.pb-c.h>

#include "common/edge/edge.h"
#include "common/edge/measure.h"
#include "common/edge/reach.h"
#include "common/edge/wire.h"
#include "common/namespaces/namespace_api.h"

struct polls;
struct forward;

struct edge {
	struct edge_parts parts;
	struct env *env; /* parts.env, for short */
	struct edge_config config;
	struct namespace_api namespace_api;
	struct edge_call *calls; /* all that have not ended */
	size_t call_count;
	struct polls *polls;
	struct forward *waiting; /* forwards between two attempts */
	struct edge_measures *measures;
	struct reach *reach;
};

/* ------------------------------------------------------------------ a call (call.c) */

#define CALL_ARENA_LIMIT (64u * 1024 * 1024)

struct arena *edge_arena(struct edge_call *c);
const char *edge_header(const struct edge_call *c, const char *key);
/* Ends the call and frees its arena and memory: c is gone. Returns what ops->finish() returned. */
bool edge_finish(struct edge_call *c, struct err e, const struct bytes *parts, size_t part_count);
void edge_fail(struct edge_call *c, struct err e);
/* Packs the message in the call's arena. */
void edge_reply(struct edge_call *c, const ProtobufCMessage *response);
/* The request, unpacked into the call's arena; an error for bytes that take too much memory. */
must_check struct err edge_unpack(struct edge_call *c, void *ret_message);
/* What the call may still take: its own deadline, or the default from when it began. */
int64_t edge_deadline_ns(const struct edge_call *c);

/* Fields of the request by name; the request type has them (asserted). data NULL: absent. */
uint32_t edge_field_number(const struct edge_call *c, const char *name);
struct bytes edge_field(const struct edge_call *c, const char *name);
struct bytes edge_field_in(const struct edge_call *c, const char *outer, const char *inner);
/* NUL-terminated copy in the call's arena, "" when absent. */
const char *edge_text(struct edge_call *c, struct bytes field);

/* ------------------------------------------------------------------ admission (admit.c) */

/* Found before a method's check() and serve() are called; in the call's arena. */
struct admitted {
	const struct route *route;
	const char *namespace, *namespace_id; /* "" where the method needs none */
	int64_t retention_ns;
	const Perdure__NamespaceRecord *record; /* valid during check() only */
	const Perdure__TaskToken *token;	/* NULL unless the method needs one */
};

enum route_need {
	NEED_NOTHING,
	NEED_NAMESPACE, /* by the request's field `namespace` */
	NEED_TOKEN,	/* by its task_token */
};

struct route {
	void (*serve)(struct edge_call *c, struct admitted *a);
	enum route_need need;
	unsigned states; /* NAMESPACE_MAY(…); 0: registered or deprecated */
	/* What can be said about the request without state; may be NULL. */
	struct err (*check)(struct edge_call *c, struct admitted *a);

	/* For forward_serve(): where the workflow id is. NULL with NEED_TOKEN: in the token. */
	const char *execution;	 /* a field of type WorkflowExecution */
	const char *workflow_id; /* a field of the request */
	/* A missing request_id is made up, so that a retry is recognised: as if the client had given it, or between us
	 * and history only, where clients would see it. */
	enum { REQUEST_ID_AS_GIVEN, REQUEST_ID_FILLED, REQUEST_ID_HIDDEN } request_id;
	bool retry_lost; /* may be sent again when the outcome is unknown */
};

/* NULL when the method isn't served. */
const struct route *route_of(const struct api_method *method);

/* ------------------------------------------------------------------ checks (check.c) */

bool is_uuid(struct bytes s);
must_check struct err check_id_len(const struct edge *e, struct bytes value, const char *text);
must_check struct err check_task_queue(struct edge_call *c, bool root_only);
struct err check_execution(struct edge_call *c, struct admitted *a);
struct err check_start(struct edge_call *c, struct admitted *a);
struct err check_signal(struct edge_call *c, struct admitted *a);
struct err check_query(struct edge_call *c, struct admitted *a);
struct err check_by_id(struct edge_call *c, struct admitted *a);
struct err check_answer(struct edge_call *c, struct admitted *a);
struct err check_query_answer(struct edge_call *c, struct admitted *a);

/* ------------------------------------------------------------------ who serves */

/* forward.c */
void forward_serve(struct edge_call *c, struct admitted *a);
void forward_wake(struct edge *e);  /* the live nodes changed */
void forward_hurry(struct edge *e); /* what waits for a run's events is answered within a second */
/* oversize.c: the request, or a smaller one in its place. */
struct bytes oversize_replace(struct edge_call *c);

/* namespace_calls.c */
void namespace_register_serve(struct edge_call *c, struct admitted *a);
void namespace_describe_serve(struct edge_call *c, struct admitted *a);
void namespace_list_serve(struct edge_call *c, struct admitted *a);
void namespace_update_serve(struct edge_call *c, struct admitted *a);
void namespace_deprecate_serve(struct edge_call *c, struct admitted *a);
void namespace_delete_serve(struct edge_call *c, struct admitted *a);
struct err namespace_name_check(struct edge_call *c, struct admitted *a);

/* system.c */
void system_info_serve(struct edge_call *c, struct admitted *a);
void cluster_info_serve(struct edge_call *c, struct admitted *a);
void search_attributes_serve(struct edge_call *c, struct admitted *a);

/* task_queue.c */
void task_queue_describe_serve(struct edge_call *c, struct admitted *a);
void task_queue_partitions_serve(struct edge_call *c, struct admitted *a);
struct err task_queue_describe_check(struct edge_call *c, struct admitted *a);
struct err task_queue_partitions_check(struct edge_call *c, struct admitted *a);

#endif
