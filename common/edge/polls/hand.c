/*
 * A task that matching handed over, on its way to one of our polls.
 *
 *                        ┌────── started, and the worker gets it ───────────────▶ STARTED
 *     handed ─▶ STARTING ┼────── somebody else has it, or it is no task any more ▶ ALREADY_STARTED, GONE
 *        │         ▲ │   └────── started, but the poll is gone ─▶ REVERTING ─────▶ GONE (history offers it anew)
 *        │         └─┘ not owner, lost: again, with the same request id    └─────▶ HANDED_BACK (history out of reach)
 *        └────── no poll left ─────────────────────────────────────────────────▶ HANDED_BACK
 *
 * The poll of a hand that ends otherwise than STARTED waits on.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/edge/polls/internal.h"
#include "common/mem/mem.h"

#define ATTEMPT_DEADLINE_NS (5 * NS_PER_S)
/* How long a start, and then its reversal, is tried. Matching gives the task to another gateway long before. */
#define GIVE_UP_NS     (10 * NS_PER_S)
#define BACKOFF_MIN_NS (5 * NS_PER_MS)
#define BACKOFF_MAX_NS (500 * NS_PER_MS)
#define WAKE_SPREAD_NS (5 * NS_PER_MS)

static void attempt(struct hand *h);

/* ------------------------------------------------------------------ the end */

void hand_free(struct hand *h)
{
	struct polls *p = h->polls;
	env_timer_stop(p->env, &h->timer);
	if (h->sent.pending)
		reach_cancel(&h->sent);
	span_end(h->span, err_static(ERR_CANCELLED, "the process ends"));
	DL_DELETE(p->hands, h);
	h->queue->hand_count--;
	free(h->matching);
	free(h);
}

/* Its poll, if it is still there, waits on; or ends, if its time came while the task was on its way. */
static void let_go(struct hand *h)
{
	struct polls *p = h->polls;
	struct poll *poll = h->poll;
	h->poll = NULL;
	if (!poll)
		return;
	queue_release(h->queue, poll);
	if (p->draining || env_mono_ns(p->env) >= poll->timer.due_ns)
		poll_end_empty(poll);
}

static struct measured_task measured(const struct hand *h)
{
	return (struct measured_task){
		.method = h->method,
		.task_queue = h->queue->key.name,
		.task = bytes_of(h->task, h->task_len),
		.began_ns = h->began_ns,
		.poll_waited_ns = h->poll_waited_ns,
		.tries = h->attempts,
	};
}

static void end_hand(struct hand *h, Perdure__TaskOutcome__Verdict verdict)
{
	struct polls *p = h->polls;
	struct measured_task t = measured(h);
	t.outcome = credits_verdict_name(verdict);
	measure_task_ended(p->edge, &t, h->span);
	h->span = NULL;
	credits_outcome(p, h->matching, h->hand_id, verdict);
	let_go(h);
	hand_free(h);
	polls_check_drained(p);
}

/* Nobody will do what may have been started. */
static void take_back(struct hand *h)
{
	if (h->query) { /* it can be asked again as it is: starting it left no trace */
		end_hand(h, PERDURE__TASK_OUTCOME__VERDICT__HANDED_BACK);
		return;
	}
	let_go(h);
	h->state = HAND_REVERTING;
	h->tries = 0;
	h->give_up_ns = env_mono_ns(h->polls->env) + GIVE_UP_NS;
	attempt(h);
}

static void give_up(struct hand *h)
{
	if (h->state == HAND_STARTING && h->maybe_started)
		take_back(h);
	else
		end_hand(h, PERDURE__TASK_OUTCOME__VERDICT__HANDED_BACK);
}

/* The poll went. What was asked of history comes to its end without it; nothing more is asked for it. */
void hand_lost_poll(struct hand *h)
{
	h->poll = NULL;
	if (h->state == HAND_STARTING && !h->sent.pending)
		give_up(h);
}

/* ------------------------------------------------------------------ attempts */

static void retry(struct hand *h)
{
	struct env *env = h->polls->env;
	bool pointless = h->state == HAND_STARTING && !h->poll;
	if (pointless || env_mono_ns(env) >= h->give_up_ns) {
		give_up(h);
		return;
	}
	int64_t backoff = min_i64(BACKOFF_MIN_NS << min_i64(h->tries, 7), BACKOFF_MAX_NS);
	uint32_t r;
	env_random(env, &r, sizeof r);
	h->tries++;
	env_timer_start(env, &h->timer, backoff / 2 + (int64_t)((uint64_t)r * (uint64_t)backoff >> 32));
}

static void on_timer(struct env_timer *t)
{
	attempt(container_of(t, struct hand, timer));
}

void hands_wake(struct polls *p)
{
	struct hand *h;
	DL_FOREACH (p->hands, h) {
		uint32_t r;
		env_random(p->env, &r, sizeof r);
		if (h->timer.armed)
			env_timer_start(p->env, &h->timer, r % WAKE_SPREAD_NS);
	}
}

/* Did the callee perhaps do it, although its answer didn't reach us? */
static bool outcome_unknown(struct err e)
{
	return e.reason == ERR_REASON_PEER_LOST || e.reason == ERR_REASON_OUTCOME_UNKNOWN ||
	       (e.reason == ERR_REASON_NONE && e.code == ERR_DEADLINE_EXCEEDED);
}

static void log_refused(const struct hand *h, const char *text, struct err e)
{
	log_warn(h->polls->edge->parts.log, text, log_str("task_queue", h->queue->key.name), log_int("shard", h->shard),
		 log_err(e));
}

static void deliver(struct hand *h, struct bytes response)
{
	struct poll *poll = h->poll;
	h->poll = NULL;
	h->maybe_started = true;
	if (poll && poll_deliver(poll, response))
		end_hand(h, PERDURE__TASK_OUTCOME__VERDICT__STARTED);
	else
		take_back(h);
}

static void on_started(void *ctx, struct err e, struct bytes body)
{
	struct hand *h = ctx;
	if (err_is(e)) {
		h->maybe_started = h->maybe_started || outcome_unknown(e);
		if (err_retryable(e) || outcome_unknown(e)) {
			retry(h);
			return;
		}
		/* History will offer it again by itself, after a while: not at once, as a hand-back would. */
		log_refused(h, "history refused to start a task", e);
		end_hand(h, PERDURE__TASK_OUTCOME__VERDICT__GONE);
		return;
	}
	/* Taken apart by hand: the response may be large, and goes to the worker as it is. */
	switch (wire_value(body, 1)) {
	case PERDURE__START_TASK_REPLY__OUTCOME__STARTED:
		deliver(h, wire_bytes(body, 2));
		break;
	case PERDURE__START_TASK_REPLY__OUTCOME__ALREADY_STARTED:
		end_hand(h, PERDURE__TASK_OUTCOME__VERDICT__ALREADY_STARTED);
		break;
	default:
		end_hand(h, PERDURE__TASK_OUTCOME__VERDICT__GONE);
		break;
	}
}

static void on_reverted(void *ctx, struct err e, struct bytes body)
{
	struct hand *h = ctx;
	(void)body;
	if (err_is(e) && (err_retryable(e) || outcome_unknown(e))) {
		retry(h);
		return;
	}
	if (err_is(e))
		log_refused(h, "history refused to take a start back", e);
	/* The task of this stamp is no more: history offers it again under a new one. */
	end_hand(h, PERDURE__TASK_OUTCOME__VERDICT__GONE);
}

static void attempt(struct hand *h)
{
	struct polls *p = h->polls;
	env_timer_stop(p->env, &h->timer); /* a start that waited for its next attempt may give way to a reversal */
	/* While the shard moves, who had it before may serve it still. */
	struct membership *m = p->edge->parts.membership;
	const struct member *owner = h->tries % 2 ? membership_shard_other(m, h->shard) : NULL;
	if (!owner)
		owner = membership_shard_owner(m, h->shard);
	if (!owner) {
		retry(h);
		return;
	}
	bool starting = h->state == HAND_STARTING;
	/* StartTask and RevertStart: field 1 is the task, field 2 the request id. */
	struct buf head = {0};
	buf_put_field(&head, 1, bytes_of(h->task, h->task_len));
	buf_put_field(&head, 2, bytes_str(h->request_id));
	struct bytes parts[2] = {buf_view(&head)};
	if (starting)
		parts[1] = bytes_of(h->poll->start, h->poll->start_len);
	h->attempts += starting;
	struct rpc_call call = {
		.address = owner->address,
		.method = starting ? RPC_HISTORY_START_TASK : RPC_HISTORY_REVERT_START,
		.parts = parts,
		.part_count = starting ? 2 : 1,
		.deadline_ns = env_mono_ns(p->env) + ATTEMPT_DEADLINE_NS,
		.traceparent = span_traceparent(h->span),
		.fn = starting ? on_started : on_reverted,
		.ctx = h,
	};
	reach_begin(p->edge->reach, &h->sent, &call);
	buf_done(&head);
}

/* ------------------------------------------------------------------ from matching */

static void start(struct poll_queue *q, struct poll *poll, const Perdure__HandedTask *t, const char *from)
{
	struct polls *p = q->polls;
	size_t len = perdure__dispatch_task__get_packed_size(t->task);
	struct hand *h = mem_zalloc(sizeof *h + len);
	h->polls = p;
	h->queue = q;
	h->poll = poll;
	h->hand_id = t->hand_id;
	h->matching = mem_strdup(from);
	h->shard = t->task->shard;
	h->query = t->task->kind == PERDURE__TASK_KIND__TASK_KIND_QUERY;
	h->task_len = perdure__dispatch_task__pack(t->task, h->task);
	h->timer.fn = on_timer;
	h->began_ns = env_mono_ns(p->env);
	h->method = poll->call->method;
	h->poll_waited_ns = h->began_ns - poll->call->began_ns;
	h->give_up_ns = h->began_ns + GIVE_UP_NS;
	if (strlen(t->request_id) < sizeof h->request_id && !str_empty(t->request_id))
		memcpy(h->request_id, t->request_id, strlen(t->request_id) + 1);
	else
		env_uuid(p->env, h->request_id);
	DL_APPEND(p->hands, h);
	q->hand_count++;
	struct measured_task m = measured(h);
	h->span = measure_task_began(p->edge, &m);
	queue_occupy(q, poll, h);
	attempt(h);
}

static void on_handed_task(struct polls *p, uint64_t session, const Perdure__HandedTask *t, const char *from)
{
	struct poll_queue *q = t->queue && t->task ? queue_find(p, t->queue) : NULL;
	struct poll *poll = NULL;
	if (q && session == p->session && t->partition < q->partition_cap) {
		queue_received(q, t->partition, t->task);
		poll = queue_choose(q, t->partition);
	}
	if (!poll || p->draining)
		credits_outcome(p, from, t->hand_id, PERDURE__TASK_OUTCOME__VERDICT__HANDED_BACK);
	else
		start(q, poll, t, from);
}

/* News of the queues: what is handed over rests on them already. */
static void on_news(struct polls *p, const Perdure__HandOut *m)
{
	for (size_t i = 0; i < m->n_queues; i++) {
		struct poll_queue *q = m->queues[i]->queue ? queue_find(p, m->queues[i]->queue) : NULL;
		if (q)
			queue_set_partitions(q, m->queues[i]->count, m->queues[i]->version);
	}
	for (size_t i = 0; i < m->n_hungry; i++) {
		struct poll_queue *q = m->hungry[i]->queue ? queue_find(p, m->hungry[i]->queue) : NULL;
		if (q)
			queue_feed(q, m->hungry[i]->partition, m->hungry[i]->tasks);
	}
}

static void on_tasks(void *ctx, struct rpc_request *req)
{
	struct polls *p = ctx;
	struct bytes body = rpc_body(req);
	Perdure__HandOut *m = perdure__hand_out__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	for (size_t i = 0; m && i < m->n_tasks; i++)
		on_handed_task(p, m->session, m->tasks[i], rpc_from(req));
	if (m)
		on_news(p, m);
	rpc_reply(req, NULL, 0);
}

void hands_serve(struct polls *p)
{
	rpc_serve(p->edge->parts.rpc, RPC_GATEWAY_TASKS, on_tasks, p);
}
