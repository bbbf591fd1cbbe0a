/*
 * A connection that comes back: connecting, setting up, noticing that it was lost, trying again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/pg/pg_impl.h"

#define BACKOFF_MIN_NS	   (20 * NS_PER_MS)
#define ANSWER_GRACE_NS	   (2 * NS_PER_S) /* beyond the server's own statement timeout */
#define TEXT_MAX	   512
#define SHARE_MIN_NS	   NS_PER_S /* of one server among several */
#define WATCH_INTERVAL_MAX (10 * NS_PER_S)

static void connect_start(struct pg_link *l);

/* ------------------------------------------------------------------ ops waiting, late and lost */

static struct err unavailable(struct pg_op *op, const char *text)
{
	return err_make(op->arena, ERR_UNAVAILABLE, "database: %s", text);
}

/* The op went down with the connection. */
static void fail(struct pg_link *l, struct pg_op *op, const char *why)
{
	if (!err_is(op->e)) {
		op->e = unavailable(op, why);
		if (op->writes && op->results) {
			op->e.reason = ERR_REASON_OUTCOME_UNKNOWN;
			op->e.message = arena_printf(op->arena, "database: connection lost during commit: %s", why);
		}
	}
	pg_pipe_answer(l, op);
}

static int64_t answer_timeout(const struct pg_link *l)
{
	return l->config.statement_timeout_ns > 0 ? l->config.statement_timeout_ns + ANSWER_GRACE_NS : INT64_MAX;
}

static void fail_late_queued(struct pg_link *l)
{
	int64_t now = env_mono_ns(l->env);
	while (!l->dead && l->queued && now - l->queued->since_ns >= l->config.connect_timeout_ns) {
		struct pg_op *op = l->queued;
		DL_DELETE(l->queued, op);
		fail(l, op, "no connection");
	}
}

static void watch(struct pg_link *l)
{
	if (!l->watch.armed && (l->queued || l->sent))
		env_timer_start(
			l->env, &l->watch,
			min_i64(WATCH_INTERVAL_MAX, min_i64(l->config.connect_timeout_ns, answer_timeout(l)) / 2 + 1));
}

static void release(struct pg_link *l)
{
	if (l->dead && l->calling == 0)
		free(l);
}

static void on_watch(struct env_timer *t)
{
	struct pg_link *l = container_of(t, struct pg_link, watch);
	l->calling++;
	fail_late_queued(l);
	if (!l->dead && l->sent && env_mono_ns(l->env) - l->sent->since_ns >= answer_timeout(l))
		pg_link_broken(l, "the server does not answer");
	if (!l->dead)
		watch(l);
	l->calling--;
	release(l);
}

void pg_link_submit(struct pg_link *l, struct pg_op *op, pg_done_fn *fn, void *ctx)
{
	assert(op->queries && !l->dead);
	op->fn = fn;
	op->ctx = ctx;
	op->since_ns = op->submitted_ns = env_mono_ns(l->env);
	l->load++;
	pg_meter_began(l->config.meter);
	if (l->state == LINK_READY && !l->lost_why) {
		pg_pipe_send(l, op);
	} else if (op->now) {
		DL_APPEND(l->failing, op);
		env_defer(l->env, &l->lost);
		return;
	} else {
		DL_APPEND(l->queued, op);
	}
	watch(l);
}

/* ------------------------------------------------------------------ losing it */

void pg_link_broken(struct pg_link *l, const char *why)
{
	if (l->lost_why)
		return;
	l->lost_why = mem_strdup(why);
	size_t len = strlen(l->lost_why);
	while (len && l->lost_why[len - 1] == '\n')
		l->lost_why[--len] = 0;
	/* At once: libpq has closed the socket when reading failed, and the next one that anybody here opens gets the
	 * same number, which must not be watched by then. */
	loop_poll_free(l->poll);
	l->poll = NULL;
	env_defer(l->env, &l->lost);
}

static void close_connection(struct pg_link *l)
{
	env_timer_stop(l->env, &l->timer);
	env_undefer(l->env, &l->flush);
	loop_poll_free(l->poll);
	if (l->conn)
		PQfinish(l->conn);
	l->poll = NULL;
	l->conn = NULL;
	l->writing = false;
	pg_pipe_forget_prepared(l);
}

/* Doubles from attempt to attempt, somewhere between half and all of it. */
static int64_t backoff(struct pg_link *l)
{
	int64_t pause = BACKOFF_MIN_NS;
	for (int i = 0; i < l->attempts && pause < l->config.backoff_max_ns; i++)
		pause *= 2;
	pause = min_i64(pause, max_i64(l->config.backoff_max_ns, BACKOFF_MIN_NS));
	uint32_t dice;
	env_random(l->env, &dice, sizeof dice);
	return pause / 2 + (int64_t)(dice % (uint64_t)(pause / 2 + 1));
}

static void fail_all(struct pg_link *l, const char *why)
{
	while (!l->dead && l->failing) {
		struct pg_op *op = l->failing;
		DL_DELETE(l->failing, op);
		fail(l, op, why);
	}
}

static void lose_connection(struct pg_link *l)
{
	char why[TEXT_MAX];
	snprintf(why, sizeof why, "%s", l->lost_why);
	free(l->lost_why);
	l->lost_why = NULL;
	bool was_up = l->state == LINK_READY;
	if (was_up)
		pg_meter_lost(l->config.meter);
	else
		pg_meter_not_connected(l->config.meter);
	struct pg_op *op, *tmp;
	DL_CONCAT(l->failing, l->sent);
	l->sent = NULL;
	DL_FOREACH_SAFE (l->queued, op, tmp) {
		if (op->now) {
			DL_DELETE(l->queued, op);
			DL_APPEND(l->failing, op);
		}
	}
	close_connection(l);
	l->state = LINK_WAITING;
	bool pause = was_up || pg_hosts_next(&l->hosts);
	env_timer_start(l->env, &l->timer, pause ? backoff(l) : 0);
	l->attempts += pause;
	if (l->events.on_down)
		l->events.on_down(l->ctx, (struct err){.code = ERR_UNAVAILABLE, .message = why}, was_up);
	fail_all(l, why);
}

static void on_lost(struct env_task *t)
{
	struct pg_link *l = container_of(t, struct pg_link, lost);
	l->calling++;
	if (l->lost_why)
		lose_connection(l);
	else
		fail_all(l, "not connected");
	l->calling--;
	release(l);
}

/* ------------------------------------------------------------------ setting up */

static void on_flush(struct env_task *t)
{
	struct pg_link *l = container_of(t, struct pg_link, flush);
	if (l->conn && !l->lost_why)
		pg_pipe_flush(l);
}

static void on_traffic(void *ctx, bool readable, bool writable)
{
	struct pg_link *l = ctx;
	l->calling++;
	if (readable)
		pg_pipe_read(l);
	if (writable && !l->dead && l->conn && !l->lost_why)
		pg_pipe_flush(l);
	l->calling--;
	release(l);
}

static void on_set_up(void *ctx, const struct pg_done *d)
{
	struct pg_link *l = ctx;
	if (l->lost_why)
		return;
	if (err_is(d->e) || pg_row_count(d->rows[0]) != 1) {
		pg_link_broken(l, err_is(d->e) ? d->e.message : "set-up failed");
		return;
	}
	l->backend_pid = pg_int4(d->rows[0], 0, 0);
	l->state = LINK_READY;
	l->attempts = 0;
	l->hosts.failed = 0;
	pg_meter_connected(l->config.meter);
	env_timer_stop(l->env, &l->timer);
	if (l->events.on_up)
		l->events.on_up(l->ctx);
	while (!l->dead && !l->lost_why && l->queued) {
		struct pg_op *op = l->queued;
		DL_DELETE(l->queued, op);
		pg_pipe_send(l, op);
	}
	if (!l->dead)
		watch(l);
}

/*
 * Our statements are all of the kind "few rows by key": one generic plan each, which must not depend on how small the
 * tables were when it was made.
 */
static void set_up(struct pg_link *l)
{
	char timeouts[TEXT_MAX];
	snprintf(timeouts, sizeof timeouts,
		 "SELECT pg_backend_pid(), set_config('statement_timeout', '%lld', false), "
		 "set_config('lock_timeout', '%lld', false), set_config('plan_cache_mode', 'force_generic_plan', "
		 "false), "
		 "set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false)",
		 (long long)(l->config.statement_timeout_ns / NS_PER_MS),
		 (long long)(l->config.lock_timeout_ns / NS_PER_MS));
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, timeouts);
	if (l->config.listen) {
		char listen[TEXT_MAX];
		snprintf(listen, sizeof listen, "LISTEN %s", l->config.listen);
		pg_op_add_text(op, listen);
	}
	op->fn = on_set_up;
	op->ctx = l;
	op->since_ns = op->submitted_ns = env_mono_ns(l->env);
	l->load++;
	pg_meter_began(l->config.meter);
	pg_pipe_send(l, op);
}

/* ------------------------------------------------------------------ connecting */

static void on_connect_ready(void *ctx, bool readable, bool writable);

/* libpq may close its socket and open another from one step to the next, so each step watches anew. */
static void watch_socket(struct pg_link *l, loop_poll_fn *fn, bool read, bool write)
{
	l->poll = loop_poll_new(l->loop, PQsocket(l->conn), fn, l);
	loop_poll_set(l->poll, read, write);
}

static void connect_step(struct pg_link *l, PostgresPollingStatusType next)
{
	switch (next) {
	case PGRES_POLLING_READING:
		watch_socket(l, on_connect_ready, true, false);
		break;
	case PGRES_POLLING_WRITING:
		watch_socket(l, on_connect_ready, false, true);
		break;
	case PGRES_POLLING_OK:
		l->state = LINK_SETUP;
		if (PQsetnonblocking(l->conn, 1) != 0 || !PQenterPipelineMode(l->conn)) {
			pg_link_broken(l, PQerrorMessage(l->conn));
			return;
		}
		watch_socket(l, on_traffic, true, false);
		set_up(l);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		pg_link_broken(l, PQerrorMessage(l->conn));
		break;
	}
}

static void on_connect_ready(void *ctx, bool readable, bool writable)
{
	(void)readable;
	(void)writable;
	struct pg_link *l = ctx;
	loop_poll_free(l->poll);
	l->poll = NULL;
	connect_step(l, PQconnectPoll(l->conn));
}

static void on_timer(struct env_timer *t)
{
	struct pg_link *l = container_of(t, struct pg_link, timer);
	if (l->state == LINK_WAITING)
		connect_start(l);
	else
		pg_link_broken(l, "connecting took too long");
}

static void on_notice(void *ctx, const PGresult *r)
{
	(void)ctx;
	(void)r;
}

/* The DSN's own settings come last and win, but for those that keep the lease (R7), and its list of servers. */
static PGconn *connect_begin(const struct pg_link_config *c, const struct pg_hosts *h)
{
	char user_timeout[32], idle[32];
	snprintf(user_timeout, sizeof user_timeout, "%lld", (long long)(c->tcp_timeout_ns / NS_PER_MS));
	snprintf(idle, sizeof idle, "%lld", (long long)max_i64(1, c->tcp_timeout_ns / NS_PER_S / 2));
	bool timeouts = c->tcp_timeout_ns > 0;
	const char *keys[15], *values[15];
	int n = 0;
#define PUT(key, value) (keys[n] = (key), values[n] = (value), n++)
	PUT("application_name", c->name);
	PUT("target_session_attrs", "read-write");
	PUT("dbname", c->dsn);
	if (h->hosts)
		PUT("host", h->hosts[h->at]);
	if (h->addresses)
		PUT("hostaddr", h->addresses[h->at]);
	if (h->ports)
		PUT("port", h->ports[h->at]);
	PUT("client_encoding", "UTF8");
	if (timeouts) {
		PUT("keepalives", "1");
		PUT("keepalives_idle", idle);
		PUT("keepalives_interval", "1");
		PUT("keepalives_count", "2");
		PUT("tcp_user_timeout", user_timeout);
	}
#undef PUT
	keys[n] = values[n] = NULL;
	return PQconnectStartParams(keys, values, 1);
}

/* Of several servers each has its share, so that all have had a turn before those who wait give up. */
static int64_t attempt_timeout(const struct pg_link *l)
{
	int64_t all = l->config.connect_timeout_ns, count = (int64_t)max_i64(1, (int64_t)l->hosts.count);
	return max_i64(all / count, min_i64(all, SHARE_MIN_NS));
}

static void connect_start(struct pg_link *l)
{
	l->state = LINK_CONNECTING;
	env_timer_start(l->env, &l->timer, attempt_timeout(l));
	l->conn = connect_begin(&l->config, &l->hosts);
	if (!l->conn || PQstatus(l->conn) == CONNECTION_BAD) {
		pg_link_broken(l, l->conn ? PQerrorMessage(l->conn) : "out of memory");
		return;
	}
	PQsetNoticeReceiver(l->conn, on_notice, NULL);
	connect_step(l, PGRES_POLLING_WRITING);
}

/* ------------------------------------------------------------------ making and freeing */

struct err pg_link_new(struct loop *loop, const struct pg_link_config *config, const struct pg_link_events *events,
		       void *ctx, struct arena *errors, struct pg_link **ret)
{
	char *text = NULL;
	PQconninfoOption *options = PQconninfoParse(config->dsn, &text);
	if (!options) {
		struct err e =
			err_make(errors, ERR_INVALID_ARGUMENT, "the database's DSN: %s", text ? text : "out of memory");
		PQfreemem(text);
		return e;
	}
	PQconninfoFree(options);
	struct pg_link *l = new0(struct pg_link);
	l->loop = loop;
	l->env = loop_env(loop);
	l->config = *config;
	l->config.dsn = mem_strdup(config->dsn);
	l->config.name = mem_strdup(config->name);
	l->config.listen = config->listen ? mem_strdup(config->listen) : NULL;
	pg_hosts_init(&l->hosts, config->dsn);
	if (events)
		l->events = *events;
	l->ctx = ctx;
	l->timer.fn = on_timer;
	l->watch.fn = on_watch;
	l->flush.fn = on_flush;
	l->lost.fn = on_lost;
	l->state = LINK_WAITING;
	env_timer_start(l->env, &l->timer, 0);
	*ret = l;
	return err_ok;
}

static void drop_ops(struct pg_link *l, struct pg_op **list)
{
	while (*list) {
		struct pg_op *op = *list;
		DL_DELETE(*list, op);
		if (!op->prepares)
			pg_meter_dropped(l->config.meter);
		pg_op_free(op);
	}
}

void pg_link_free(struct pg_link *l)
{
	if (!l)
		return;
	assert(!l->dead);
	close_connection(l);
	env_timer_stop(l->env, &l->watch);
	env_undefer(l->env, &l->lost);
	drop_ops(l, &l->queued);
	drop_ops(l, &l->sent);
	drop_ops(l, &l->failing);
	if (l->state == LINK_READY)
		pg_meter_closed(l->config.meter);
	l->config.meter = NULL; /* an op whose callback freed us is still to be answered */
	free((char *)l->config.dsn);
	free((char *)l->config.name);
	free((char *)l->config.listen);
	pg_hosts_done(&l->hosts);
	free(l->prepare_error);
	free(l->lost_why);
	l->prepare_error = l->lost_why = NULL;
	l->dead = true;
	release(l);
}

bool pg_link_ready(const struct pg_link *l)
{
	return l->state == LINK_READY && !l->lost_why;
}

size_t pg_link_load(const struct pg_link *l)
{
	return l->load;
}

int64_t pg_link_waiting_ns(const struct pg_link *l)
{
	return pg_link_ready(l) && l->sent ? env_mono_ns(l->env) - l->sent->since_ns : 0;
}

void pg_link_give_up(struct pg_link *l, const char *why)
{
	if (pg_link_ready(l))
		pg_link_broken(l, why);
}

int32_t pg_link_backend_pid(const struct pg_link *l)
{
	return l->backend_pid;
}
