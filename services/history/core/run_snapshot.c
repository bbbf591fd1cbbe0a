/*
 * A run as one message: what a fold writes and a load reads. Entries are sorted, so that equal runs give equal bytes.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/core/run.h"
#include "services/history/core/run_internal.h"

static int by_scheduled_event(const void *a, const void *b)
{
	int64_t x = (*(Perdure__ActivityInfo *const *)a)->scheduled_event_id;
	int64_t y = (*(Perdure__ActivityInfo *const *)b)->scheduled_event_id;
	return (x > y) - (x < y);
}

static int by_timer_id(const void *a, const void *b)
{
	return strcmp((*(Perdure__TimerInfo *const *)a)->timer_id, (*(Perdure__TimerInfo *const *)b)->timer_id);
}

static int by_string(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_request_id(const void *a, const void *b)
{
	return strcmp((*(Perdure__RequestIdInfo *const *)a)->request_id,
		      (*(Perdure__RequestIdInfo *const *)b)->request_id);
}

void run_pack_snapshot(const struct run *r, struct buf *out)
{
	Perdure__RunSnapshot s = PERDURE__RUN_SNAPSHOT__INIT;
	s.start = r->start;
	s.exec = r->exec;
	s.activities = mem_alloc(sizeof *s.activities * HASH_COUNT(r->activities));
	for (struct run_activity *a = r->activities; a; a = a->hh.next)
		s.activities[s.n_activities++] = a->info;
	qsort(s.activities, s.n_activities, sizeof *s.activities, by_scheduled_event);
	s.timers = mem_alloc(sizeof *s.timers * HASH_COUNT(r->timers));
	for (struct run_timer *t = r->timers; t; t = t->hh.next)
		s.timers[s.n_timers++] = t->info;
	qsort(s.timers, s.n_timers, sizeof *s.timers, by_timer_id);
	s.signal_request_ids = mem_alloc(sizeof *s.signal_request_ids * HASH_COUNT(r->signal_request_ids));
	for (struct run_id_seen *i = r->signal_request_ids; i; i = i->hh.next)
		s.signal_request_ids[s.n_signal_request_ids++] = i->id;
	qsort(s.signal_request_ids, s.n_signal_request_ids, sizeof *s.signal_request_ids, by_string);
	s.request_ids = mem_alloc(sizeof *s.request_ids * HASH_COUNT(r->request_ids));
	for (struct run_id_seen *i = r->request_ids; i; i = i->hh.next)
		s.request_ids[s.n_request_ids++] = i->info;
	qsort(s.request_ids, s.n_request_ids, sizeof *s.request_ids, by_request_id);
	s.buffered = r->buffered;
	s.n_buffered = r->buffered_count;

	size_t len = perdure__run_snapshot__get_packed_size(&s);
	perdure__run_snapshot__pack(&s, buf_reserve(out, len));
	out->len += len;
	free(s.activities);
	free(s.timers);
	free(s.signal_request_ids);
	free(s.request_ids);
}

struct err run_from_snapshot(struct arena *errors, struct bytes snapshot, struct run **ret)
{
	Perdure__RunSnapshot *s = perdure__run_snapshot__unpack(NULL, snapshot.len, snapshot.data);
	if (!s || !s->start || !s->exec) {
		if (s)
			perdure__run_snapshot__free_unpacked(s, NULL);
		return err_make(errors, ERR_INTERNAL, "a stored run cannot be read (%zu bytes)", snapshot.len);
	}
	struct run *r = run_new();
	run_set_start(r, s->start);
	run_set_exec(r, s->exec);
	for (size_t i = 0; i < s->n_activities; i++)
		run_put_activity(r, s->activities[i]);
	for (size_t i = 0; i < s->n_timers; i++)
		run_put_timer(r, s->timers[i]);
	for (size_t i = 0; i < s->n_signal_request_ids; i++)
		run_put_signal_request_id(r, s->signal_request_ids[i]);
	for (size_t i = 0; i < s->n_request_ids; i++)
		run_put_request_id(r, s->request_ids[i]);
	run_set_buffered(r, s->buffered, s->n_buffered);

	/* The run has everything now; the lists that held it remain to be freed. */
	s->start = NULL;
	s->exec = NULL;
	s->n_activities = s->n_timers = s->n_signal_request_ids = s->n_request_ids = 0;
	free(s->activities);
	free(s->timers);
	free(s->signal_request_ids);
	free(s->request_ids);
	s->activities = NULL;
	s->timers = NULL;
	s->signal_request_ids = NULL;
	s->request_ids = NULL;
	s->buffered = NULL;
	s->n_buffered = 0;
	perdure__run_snapshot__free_unpacked(s, NULL);
	*ret = r;
	return err_ok;
}
