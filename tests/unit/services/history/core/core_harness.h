/*
 * Scenarios on the functional core: a run, a clock that the test moves, and the two kinds of workers, without a server.
 *
 * Every step commits as the shell does: the delta is packed, kept, and applied to the run. After each one the harness
 * checks that the run equals what its deltas alone would give, that a snapshot of it comes back as it was, and that
 * events are numbered without gaps.
 *
 * What is returned lives until harness_done(). A step that the core refuses fails the test, unless its name says _err.
 */
#ifndef TESTS_UNIT_SERVICES_HISTORY_CORE_CORE_HARNESS_H
#define TESTS_UNIT_SERVICES_HISTORY_CORE_CORE_HARNESS_H

#include "services/history/core/api_names.h"
#include "services/history/core/core.h"

#define HARNESS_RUNS_MAX 8
#define HARNESS_QUEUE	 "queue"
#define HARNESS_SHARD	 7

struct harness_run {
	struct run *run;
	HISTORY(HistoryEvent) **events;
	size_t event_count, event_cap;
	struct bytes *deltas;
	size_t delta_count, delta_cap;
	bool heartbeats; /* changed in place: no longer equal to its deltas */
};

struct harness {
	struct core_config config;
	struct arena *arena;
	int64_t now_ns;
	uint64_t random;
	struct harness_run runs[HARNESS_RUNS_MAX]; /* in the order in which they began */
	size_t run_count;
	struct harness_run *current;	    /* the one that steps act on: the last */
	Perdure__TaskToken *workflow_token; /* of the last workflow task that was polled */
	unsigned polls;
	const char *sticky_queue; /* NULL: the worker's answers name none */
	int64_t sticky_timeout_ns;
};

void harness_init(struct harness *h);
void harness_done(struct harness *h);
void harness_advance(struct harness *h, int64_t ns);

/* A transition of the current run (or, without one, of a run that begins) and its end. Nothing is committed when
 * nothing was touched. A run that t.next starts becomes the current one. */
void harness_begin(struct harness *h, struct txn *t);
void harness_commit(struct harness *h, struct txn *t);

/* A request with workflow "wf", type "kind", queue HARNESS_QUEUE, identity "starter"; to be changed and started. */
WS(StartWorkflowExecutionRequest) *harness_start_request(struct harness *h);
void harness_start(struct harness *h, WS(StartWorkflowExecutionRequest) *req); /* NULL: as it is */

/* A worker takes the scheduled workflow task. */
WS(PollWorkflowTaskQueueResponse) *harness_poll(struct harness *h);
/* It answers the one it polled last, naming h->sticky_queue for the next one. _err: what the worker is told (the
 * refused answer is committed). */
WS(RespondWorkflowTaskCompletedResponse) *harness_answer(struct harness *h, COMMAND(Command) **commands, size_t n);
struct err harness_answer_err(struct harness *h, COMMAND(Command) **commands, size_t n);
#define harness_answer_with(h, ...)                                                                                    \
	harness_answer((h), (COMMAND(Command) *[]){__VA_ARGS__},                                                       \
		       sizeof((COMMAND(Command) *[]){__VA_ARGS__}) / sizeof(COMMAND(Command) *))
#define harness_answer_err_with(h, ...)                                                                                \
	harness_answer_err((h), (COMMAND(Command) *[]){__VA_ARGS__},                                                   \
			   sizeof((COMMAND(Command) *[]){__VA_ARGS__}) / sizeof(COMMAND(Command) *))
void harness_signal(struct harness *h, const char *name);
void harness_on_time(struct harness *h);

/* An activity worker takes the pending activity of this id. _outcome: what becomes of the attempt to. */
WS(PollActivityTaskQueueResponse) *harness_poll_activity(struct harness *h, const char *activity_id);
Perdure__StartTask *harness_activity_task(struct harness *h, const char *activity_id);
Perdure__TaskToken *harness_token(struct harness *h, ProtobufCBinaryData task_token);

/* What it answers: committed unless it is refused. By the token of its task, or by the activity's id. */
struct activity_ref harness_by_token(struct harness *h, const WS(PollActivityTaskQueueResponse) *task);
struct activity_ref harness_by_id(const char *activity_id);
struct err harness_completed(struct harness *h, struct activity_ref ref);
struct err harness_failed(struct harness *h, struct activity_ref ref, FAILURE(Failure) *failure,
			  COMMON(Payloads) *last_heartbeat_details);
struct err harness_canceled(struct harness *h, struct activity_ref ref);
struct err harness_heartbeat(struct harness *h, struct activity_ref ref, const char *details,
			     struct heartbeat_reply *ret);

/* Commands: schedule with id "…", type "work", the run's queue; durations in ns, 0: not set. */
COMMAND(Command) *harness_schedule(struct harness *h, const char *activity_id, int64_t schedule_to_close_ns);
COMMAND(Command) *harness_cancel_activity(struct harness *h, int64_t scheduled_event_id);
COMMAND(Command) *harness_timer(struct harness *h, const char *timer_id, int64_t ns);
COMMAND(Command) *harness_cancel_timer(struct harness *h, const char *timer_id);
COMMAND(Command) *harness_complete(struct harness *h);
COMMAND(Command) *harness_marker(struct harness *h, const char *name);

COMMON(Payloads) *harness_payloads(struct harness *h, const char *json);
/* An application failure. */
FAILURE(Failure) *harness_failure(struct harness *h, const char *message);

/* The event of the current run by its id. */
const HISTORY(HistoryEvent) *harness_event(const struct harness *h, int64_t id);
/* Compares the current run's events from `first_id` on with names such as "TIMER_STARTED TIMER_FIRED". */
void harness_assert_events(const struct harness *h, int64_t first_id, const char *types);

#endif
