/*
 * The load as a whole: its clients and workers, made and freed.
 */
#include "tests/sim/load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "tests/sim/load_impl.h"

struct sim_workflow *sim_workflow_find(struct sim_load *l, const char *id)
{
	int number = id[0] == 'w' ? atoi(id + 1) : -1; /* "w3", "w3-1" */
	return number >= 0 && number < l->count ? &l->workflows[number] : NULL;
}

bool sim_passing(struct err e)
{
	return e.code == ERR_UNAVAILABLE || e.code == ERR_DEADLINE_EXCEEDED || e.code == ERR_CANCELLED ||
	       e.code == ERR_ABORTED || e.code == ERR_RESOURCE_EXHAUSTED;
}

void sim_again(struct sim_load *l, struct env_timer *t)
{
	env_timer_start(&l->env.env, t, (int64_t)(20 + fake_world_below(&l->c->world, 200)) * NS_PER_MS);
}

bool sim_happens(struct sim_load *l, double probability)
{
	return !l->calm && fake_world_chance(&l->c->world, probability);
}

API(Common__V1__Payloads) * sim_payloads(const char *fmt, ...)
{
	static struct {
		char text[96];
		API(Common__V1__Payload) payload, *list[1];
		API(Common__V1__Payloads) all;
	} slots[2], *s;
	static int turn;
	s = &slots[turn++ % 2];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(s->text, sizeof s->text, fmt, ap);
	va_end(ap);
	temporal__api__common__v1__payload__init(&s->payload);
	temporal__api__common__v1__payloads__init(&s->all);
	s->payload.data = (ProtobufCBinaryData){strlen(s->text), (uint8_t *)s->text};
	s->list[0] = &s->payload;
	s->all.payloads = s->list;
	s->all.n_payloads = 1;
	return &s->all;
}

struct sim_load *sim_load_new(struct sim_cluster *c, int workflows, int workers)
{
	struct sim_load *l = new0(struct sim_load);
	l->c = c;
	fake_env_init(&l->env, &c->world);
	l->count = workflows;
	l->workflows = mem_zalloc((size_t)workflows * sizeof *l->workflows);
	l->worker_count = workers;
	l->workers = mem_zalloc((size_t)workers * sizeof *l->workers);
	for (int i = 0; i < workflows; i++)
		sim_workflow_init(&l->workflows[i], l, i);
	for (int i = 0; i < workers; i++)
		sim_worker_init(&l->workers[i], l, i);
	return l;
}

/* After the cluster: its last calls still come back to us. */
void sim_load_free(struct sim_load *l)
{
	for (int i = 0; i < l->worker_count; i++)
		sim_worker_free(&l->workers[i]);
	fake_env_done(&l->env);
	free(l->workflows);
	free(l->workers);
	free(l);
}

bool sim_load_done(void *load)
{
	struct sim_load *l = load;
	return l->done == l->count || l->c->violation[0];
}

void sim_load_calm(struct sim_load *l)
{
	l->calm = true;
}

void sim_load_describe(const struct sim_load *l, struct buf *out)
{
	buf_printf(out, "%d of %d done;", l->done, l->count);
	for (int i = 0; i < l->count; i++) {
		const struct sim_workflow *w = &l->workflows[i];
		if (w->ended)
			continue;
		buf_printf(out, " %s(", w->id);
		sim_script_print(&w->script, out);
		buf_printf(out, "):%s%s signals=%x events=%" PRId64, w->started ? "started," : "",
			   w->asked_to_end ? "asked," : "", w->acked, w->history_seen);
	}
}
