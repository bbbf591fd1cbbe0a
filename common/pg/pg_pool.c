/*
 * A bounded set of links that share the work.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/pg/pg.h"

struct pg_pool {
	struct pg_link **links;
	size_t size;
};

struct err pg_pool_new(struct loop *loop, const struct pg_link_config *config, size_t size, struct arena *errors,
		       struct pg_pool **ret)
{
	assert(size > 0);
	struct pg_pool *p = new0(struct pg_pool);
	p->links = mem_zalloc(size * sizeof(struct pg_link *));
	for (p->size = 0; p->size < size; p->size++) {
		struct err e = pg_link_new(loop, config, NULL, NULL, errors, &p->links[p->size]);
		if (err_is(e)) {
			pg_pool_free(p);
			return e;
		}
	}
	*ret = p;
	return err_ok;
}

void pg_pool_free(struct pg_pool *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->size; i++)
		pg_link_free(p->links[i]);
	free(p->links);
	free(p);
}

/* A link that is up before one that isn't, then the one with less to do. */
static bool better(const struct pg_link *a, const struct pg_link *b)
{
	if (pg_link_ready(a) != pg_link_ready(b))
		return pg_link_ready(a);
	return pg_link_load(a) < pg_link_load(b);
}

void pg_pool_submit(struct pg_pool *p, struct pg_op *op, pg_done_fn *fn, void *ctx)
{
	struct pg_link *best = p->links[0];
	for (size_t i = 1; i < p->size; i++)
		if (better(p->links[i], best))
			best = p->links[i];
	pg_link_submit(best, op, fn, ctx);
}

bool pg_pool_has_room(const struct pg_pool *p, size_t load)
{
	for (size_t i = 0; i < p->size; i++)
		if (pg_link_load(p->links[i]) < load)
			return true;
	return false;
}
