/*
 * Settings for the whole cluster in PostgreSQL: read only; perdurectl writes them.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

static const struct pg_stmt stmt_list = {
	"setting_list",
	"SELECT name, value, changed_by, changed_ns FROM cluster_setting WHERE scope = '' ORDER BY name"};

struct list_ctx {
	store_settings_fn *fn;
	void *ctx;
};

static void on_listed(void *ctx, const struct pg_done *d)
{
	struct list_ctx *c = ctx;
	if (err_is(d->e)) {
		c->fn(c->ctx, pg_store_err(d->e), NULL, 0);
		return;
	}
	const PGresult *r = d->rows[0];
	size_t count = pg_row_count(r);
	struct store_setting *list = mem_zalloc(count * sizeof *list);
	for (size_t i = 0; i < count; i++)
		list[i] = (struct store_setting){.name = pg_text(r, i, 0),
						 .value = pg_text(r, i, 1),
						 .changed_by = pg_text(r, i, 2),
						 .changed_ns = pg_int8(r, i, 3)};
	c->fn(c->ctx, err_ok, list, count);
	free(list);
}

void pg_settings(struct store *base, store_settings_fn *fn, void *ctx)
{
	struct pg_op *op = pg_op_new();
	struct list_ctx *c = arena_new0(pg_op_arena(op), struct list_ctx);
	*c = (struct list_ctx){fn, ctx};
	pg_op_add(op, &stmt_list);
	pg_link_submit(pg_of(base)->control, op, on_listed, c);
}
