/*
 * From a decided transition to the journal and to memory: the one way in which a run changes.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/history.h"
#include "services/history/measure.h"

static void random_bytes(void *ctx, void *out, size_t len)
{
	env_random(ctx, out, len);
}

static const char *find_namespace(void *ctx, const char *name)
{
	const struct history *h = ctx;
	const struct namespace *ns = h->namespaces ? namespaces_by_name(h->namespaces, name) : NULL;
	return ns ? ns->id : NULL;
}

void transition_begin(struct txn *t, struct shard *s, struct workflow *wf, struct cached_run *run, struct arena *arena)
{
	const struct namespace *ns = s->h->namespaces ? namespaces_by_id(s->h->namespaces, wf->namespace_id) : NULL;
	struct batch *b = s->open;
	int64_t seq = b ? b->seq : (s->inflight ? s->inflight->seq : s->last_seq) + 1;
	*t = (struct txn){
		.run = run ? run->run : NULL,
		.config = &s->h->config.core,
		.arena = arena,
		.now_ns = env_wall_ns(s->h->env),
		.random = random_bytes,
		.random_ctx = s->h->env,
		.namespace_id = wf->namespace_id,
		.namespace_name = ns ? ns->name : "",
		.retention_ns =
			ns && ns->record->retention_ns ? ns->record->retention_ns : s->h->config.default_retention_ns,
		.next_start_seq = (seq << 20) + (b ? s->start_counter : 0),
		.shard_epoch = (uint64_t)s->epoch,
		.find_namespace = find_namespace,
		.find_namespace_ctx = s->h,
	};
	txn_begin(t);
}

/* Puts one delta, given as bytes, into memory. */
static struct cached_run *apply(struct workflow *wf, struct cached_run *run, struct bytes bytes,
				const struct task_trace *trace)
{
	Perdure__RunDelta *d = perdure__run_delta__unpack(NULL, bytes.len, bytes.data);
	assert(d); /* we packed it ourselves */
	struct batch *b = wf->shard->open;
	bool fresh = !run;
	struct run *state = fresh ? run_new() : run->run;
	run_apply(state, d);
	if (fresh) {
		run = workflow_add_run(wf, state);
		wf->current = run;
		wf->current_known = true;
	}
	if (d->event_count)
		history_log_append(run->log, d->first_event_id, (size_t)d->event_count,
				   bytes_of(d->events.data, d->events.len));
	perdure__run_delta__free_unpacked(d, NULL);
	run->seq = b->seq;
	if (!run->dirty_since)
		run->dirty_since = b->seq;
	batch_touch(b, run);
	dispatch_collect(run, b, trace);
	cached_run_update(run);
	if (state->deleted && wf->current == run)
		workflow_forget_current(wf);
	if (run->queries && !state->deleted)
		queries_recheck(run);
	return run;
}

struct cached_run *transition_commit(struct txn *t, struct workflow *wf, struct cached_run *run)
{
	if (!t->touched && !t->next)
		return run;
	struct shard *s = wf->shard;
	struct batch *b = shard_open_batch(s);
	for (struct txn *i = t; i; i = i->next) {
		struct buf delta = {0};
		txn_finish(i, &delta);
		if (!delta.len)
			continue;
		buf_put_field(&b->record, 3, buf_view(&delta));
		b->deltas++;
		if (!i->run)
			s->start_counter++;
		bool was_open = !i->run || run_open(i->run);
		run = apply(wf, i->run ? run : NULL, buf_view(&delta), &t->trace);
		if (was_open && !run_open(run->run))
			measure_closed(s->h->measures, t->namespace_name, (int)run->run->exec->status);
		buf_done(&delta);
	}
	return run;
}
