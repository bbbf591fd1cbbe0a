/*
 * The store on PostgreSQL: its connections, notifications, making and freeing.
 */
#include <stdlib.h>

#include "common/pg/pg_meter.h"
#include "common/store/pg_store.h"

#define CONNECT_TIMEOUT_NS   (5 * NS_PER_S)
#define BACKOFF_MAX_NS	     NS_PER_S
#define PARTITION_WIDTH_NS   (24 * 3600 * NS_PER_S)
#define STATEMENT_TIMEOUT_NS (30 * NS_PER_S)
#define WRITER_LOCK_NS	     (500 * NS_PER_MS)
#define FOLDER_LOCK_NS	     (5 * NS_PER_S)
/* A connection: one that the server works on, one that is on its way. What comes then gathers, and goes together. */
#define READS_UNDER_WAY 2

struct err pg_store_fenced(const char *text)
{
	return (struct err){.code = ERR_ABORTED, .reason = ERR_REASON_FENCED, .message = text};
}

struct err pg_store_err(struct err e)
{
	if (e.code == ERR_ABORTED && e.reason != ERR_REASON_FENCED)
		e.code = ERR_UNAVAILABLE;
	return e;
}

/* ------------------------------------------------------------------ reads */

void pg_store_read(struct pg_store *s, struct pg_op *op, pg_done_fn *fn, void *ctx)
{
	if (s->readers)
		pg_pool_submit(s->readers, op, fn, ctx);
	else
		pg_link_submit(s->control, op, fn, ctx);
}

bool pg_store_reader_free(const struct pg_store *s)
{
	return s->readers ? pg_pool_has_room(s->readers, READS_UNDER_WAY) : pg_link_load(s->control) < READS_UNDER_WAY;
}

void pg_store_read_done(struct pg_store *s)
{
	if (s->loads.count || s->histories.count || s->dues.count || s->outbounds.count)
		env_defer(s->base.env, &s->flush_loads);
}

/* ------------------------------------------------------------------ calls answered by an error alone */

struct pg_done_ctx *pg_done_ctx_new(struct pg_store *s, struct pg_op *op, store_done_fn *fn, void *ctx)
{
	struct pg_done_ctx *c = arena_new0(pg_op_arena(op), struct pg_done_ctx);
	*c = (struct pg_done_ctx){.s = s, .fn = fn, .ctx = ctx};
	return c;
}

void pg_store_on_done(void *ctx, const struct pg_done *d)
{
	struct pg_done_ctx *c = ctx;
	struct err e = pg_store_err(d->e);
	if (!err_is(e) && c->none_text && pg_row_count(d->rows[d->count - 1]) == 0)
		e = (struct err){.code = ERR_ABORTED, .reason = c->none_reason, .message = c->none_text};
	c->fn(c->ctx, e);
}

/* ------------------------------------------------------------------ events of the connections */

static void on_notification(void *ctx, const char *channel, const char *payload)
{
	struct pg_store *s = ctx;
	(void)channel;
	if (s->notify)
		s->notify(s->notify_ctx, payload);
}

/* After a reconnect nobody knows what was missed. */
static void on_control_up(void *ctx)
{
	struct pg_store *s = ctx;
	bool again = s->control_was_up;
	s->control_was_up = true;
	if (!again || !s->notify)
		return;
	s->notify(s->notify_ctx, STORE_TOPIC_NODES);
	s->notify(s->notify_ctx, STORE_TOPIC_NAMESPACES);
	s->notify(s->notify_ctx, STORE_TOPIC_SETTINGS);
}

static void on_writer_down(void *ctx, struct err why, bool was_up)
{
	struct pg_store *s = ctx;
	(void)why;
	if (!was_up)
		return;
	store_claims_clear(&s->claims);
	s->writer_resets++;
	if (s->reset)
		s->reset(s->reset_ctx);
}

static void pg_on_notify(struct store *base, void (*fn)(void *ctx, const char *topic), void *ctx)
{
	pg_of(base)->notify = fn;
	pg_of(base)->notify_ctx = ctx;
}

static void pg_on_writer_reset(struct store *base, void (*fn)(void *ctx), void *ctx)
{
	pg_of(base)->reset = fn;
	pg_of(base)->reset_ctx = ctx;
}

/* ------------------------------------------------------------------ making and freeing */

static void pg_free(struct store *base)
{
	struct pg_store *s = pg_of(base);
	pg_link_free(s->control);
	pg_link_free(s->writer);
	pg_link_free(s->folder);
	pg_link_free(s->upkeep);
	arena_free(s->upkeep_arena);
	pg_pool_free(s->readers);
	env_undefer(base->env, &s->unclaimed);
	pg_load_done(s);
	pg_folds_free(s);
	store_claims_done(&s->claims);
	free(s->registered_node_id);
	free(s->announced);
	free((char *)s->link_config.dsn);
	free((char *)s->link_config.name);
	pg_meter_free(s->meter);
	ZSTD_freeCCtx(s->zip);
	ZSTD_freeDCtx(s->unzip);
	free(s);
}

static const struct store_ops pg_ops = {
	.node_renew = pg_node_renew,
	.node_leave = pg_node_leave,
	.on_notify = pg_on_notify,
	.shards = pg_shards,
	.claim = pg_claim,
	.release = pg_release,
	.read_journal = pg_read_journal,
	.commit = pg_commit,
	.on_writer_reset = pg_on_writer_reset,
	.load_run = pg_load_run,
	.load_history = pg_load_history,
	.load_due = pg_load_due,
	.load_tasks = pg_load_tasks,
	.sum_tasks = pg_sum_tasks,
	.scan = pg_scan,
	.fold = pg_fold_start,
	.maintain_partitions = pg_maintain_partitions,
	.namespaces = pg_namespaces,
	.namespace_put = pg_namespace_put,
	.namespace_delete = pg_namespace_delete,
	.list_namespace = pg_list_namespace,
	.purge = pg_purge,
	.purge_progress = pg_purge_progress,
	.settings = pg_settings,
	.cluster = pg_cluster,
	.free = pg_free,
};

static int64_t or_default(int64_t v, int64_t otherwise)
{
	return v ? v : otherwise;
}

static struct err connect_all(struct pg_store *s, const struct store_pg_config *c, struct arena *errors)
{
	struct pg_link_config link = {
		.dsn = c->dsn,
		.name = str_empty(c->name) ? "perdure" : c->name,
		.connect_timeout_ns = or_default(c->connect_timeout_ns, CONNECT_TIMEOUT_NS),
		.backoff_max_ns = or_default(c->backoff_max_ns, BACKOFF_MAX_NS),
		.statement_timeout_ns = max_i64(or_default(c->statement_timeout_ns, STATEMENT_TIMEOUT_NS), 0),
		.tcp_timeout_ns = c->lease_ns * 2 / 3,
		.meter = s->meter,
	};
	s->partition_width_ns = or_default(c->partition_width_ns, PARTITION_WIDTH_NS);
	s->link_config = link;
	s->link_config.dsn = mem_strdup(link.dsn);
	s->link_config.name = mem_strdup(link.name);
	if (c->readers > 0)
		try(pg_pool_new(s->loop, &link, (size_t)c->readers, errors, &s->readers));
	if (c->writer) {
		const struct pg_link_events events = {.on_down = on_writer_down};
		link.lock_timeout_ns = WRITER_LOCK_NS;
		try(pg_link_new(s->loop, &link, &events, s, errors, &s->writer));
		link.lock_timeout_ns = FOLDER_LOCK_NS;
		try(pg_link_new(s->loop, &link, NULL, NULL, errors, &s->folder));
	}
	const struct pg_link_events events = {.on_up = on_control_up, .on_notify = on_notification};
	link.lock_timeout_ns = WRITER_LOCK_NS;
	/* A renewal that takes longer than the lease is worth nothing. */
	if (c->lease_ns > 0 && (link.statement_timeout_ns == 0 || link.statement_timeout_ns > c->lease_ns))
		link.statement_timeout_ns = c->lease_ns;
	link.listen = PG_CHANNEL;
	return pg_link_new(s->loop, &link, &events, s, errors, &s->control);
}

struct err store_pg_new(struct loop *loop, const struct store_pg_config *config, struct arena *errors,
			struct store **ret)
{
	struct pg_store *s = new0(struct pg_store);
	s->base = (struct store){.ops = &pg_ops, .env = loop_env(loop)};
	s->loop = loop;
	s->zip = ZSTD_createCCtx();
	s->unzip = ZSTD_createDCtx();
	assert(s->zip && s->unzip);
	pg_commit_init(s);
	pg_load_init(s);
	if (config->metrics)
		s->meter = pg_meter_new(config->metrics, config->service);
	struct err e = connect_all(s, config, errors);
	if (err_is(e)) {
		pg_free(&s->base);
		return e;
	}
	*ret = &s->base;
	return err_ok;
}
