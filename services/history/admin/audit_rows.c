/*
 * Pages of a shard's rows. What seems wrong, and some of the rest, gets a closer look (audit_look.c).
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/admin/audit_impl.h"

#define HISTORY_OF 64 /* rows of which one is looked at with its history, by itself */

static char *or_null(const char *s)
{
	return s ? mem_strdup(s) : NULL;
}

/* ------------------------------------------------------------------ where the pages are */

static void cursor_put(struct audit_cursor *c, const char *namespace_id, const char *workflow_id, const char *run_id,
		       int64_t start_seq)
{
	char *n = or_null(namespace_id), *w = or_null(workflow_id),
	     *r = or_null(run_id); /* may be of the cursor itself */
	free(c->namespace_id);
	free(c->workflow_id);
	free(c->run_id);
	c->namespace_id = n;
	c->workflow_id = w;
	c->run_id = r;
	c->start_seq = start_seq;
}

void audit_cursor_reset(struct audit_cursor *c)
{
	cursor_put(c, NULL, NULL, NULL, 0);
	c->closed = c->ended = false;
}

static void next_table(struct audit_cursor *c)
{
	cursor_put(c, NULL, NULL, NULL, 0);
	if (c->closed)
		c->ended = true;
	else
		c->closed = true;
}

/* ------------------------------------------------------------------ a page */

static void note(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	(void)kind;
	(void)workflow_id;
	(void)run_id;
	(void)text;
	(*(size_t *)ctx)++;
}

/* In memory it isn't open any more, or it isn't known to be. */
static bool ended_in_memory(const struct audit_turn *t, const struct store_run_row *row)
{
	struct workflow *wf = workflow_get(t->s, row->namespace_id, row->workflow_id);
	const struct cached_run *r = workflow_run(wf, row->run_id);
	bool ended = r && (!run_open(r->run) || cached_run_gone(r));
	workflow_put(wf);
	return ended;
}

/* The open run before this one, when it is of the same workflow id; NULL: none. */
static const char *open_before(struct audit_turn *t, const struct store_run_row *row, char **ret_gone)
{
	*ret_gone = NULL;
	if (!row->open || ended_in_memory(t, row))
		return NULL;
	struct buf key = {0};
	buf_printf(&key, "%s/%s%c", row->namespace_id, row->workflow_id, 0);
	size_t len;
	char *workflow = (char *)buf_take(&key, &len);
	bool same = t->open_workflow && str_eq(t->open_workflow, workflow) && !str_eq(t->open_run, row->run_id);
	*ret_gone = t->open_run;
	const char *other = same ? t->open_run : NULL;
	free(t->open_workflow);
	t->open_workflow = workflow;
	t->open_run = mem_strdup(row->run_id);
	return other;
}

static bool wants_history(struct auditor *a)
{
	uint8_t n = 0;
	if (!a->asked.active)
		env_random(a->h->env, &n, sizeof n);
	return n % HISTORY_OF == 0;
}

static void look_at_row(struct auditor *a, const struct store_run_row *row)
{
	struct audit_turn *t = a->turn;
	size_t wrong = 0;
	char *before;
	const char *other = open_before(t, row, &before);
	struct run *run = audit_row(row, a->h->config.shard_count, &(struct audit_sink){note, &wrong});
	if (run)
		audit_row_live(t->s, row, run, &(struct audit_sink){note, &wrong});
	run_free(run);
	a->rows++;
	if (a->asked.active)
		a->asked.rows++;
	if (wrong || other || wants_history(a))
		audit_look_add(t, row, other);
	free(before);
}

static void on_page(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct auditor *a = ctx;
	struct audit_turn *t = a->turn;
	struct audit_cursor *c = t->cursor;
	if (err_is(e) || !shard_serving(t->s)) {
		a->inconclusive++;
		a->asked.inconclusive += a->asked.active;
		c->ended = c->ended || a->asked.active; /* who asked hears that not all was seen */
		audit_turn_end(a);
		return;
	}
	size_t i = 0;
	for (; i < count && audit_in_scope(a, rows[i].namespace_id, rows[i].workflow_id); i++)
		look_at_row(a, &rows[i]);
	t->rows_left -= (int64_t)i;
	if (i < count || count < t->scan.limit)
		next_table(c);
	else
		cursor_put(c, rows[i - 1].namespace_id, rows[i - 1].workflow_id, rows[i - 1].run_id,
			   rows[i - 1].start_seq);
	audit_looks(a);
}

void audit_looked(struct auditor *a)
{
	audit_looks_free(a->turn);
	audit_rows(a);
}

void audit_rows(struct auditor *a)
{
	struct audit_turn *t = a->turn;
	struct audit_cursor *c = t->cursor;
	if (c->ended || t->rows_left <= 0 || !shard_serving(t->s)) {
		audit_turn_end(a);
		return;
	}
	const struct audit_asked *k = &a->asked;
	if (!c->namespace_id && k->active && k->namespace_id) /* before the first row in question */
		cursor_put(c, k->namespace_id, k->workflow_id ? k->workflow_id : "", "", INT64_MIN);
	t->scan = (struct store_scan){.shard = t->s->id,
				      .closed = c->closed,
				      .after_namespace_id = c->namespace_id,
				      .after_workflow_id = c->workflow_id,
				      .after_run_id = c->run_id,
				      .after_start_seq = c->start_seq,
				      .limit = (size_t)min_i64(AUDIT_PAGE_ROWS, t->rows_left)};
	store_scan(a->h->store, &t->scan, on_page, a);
}
