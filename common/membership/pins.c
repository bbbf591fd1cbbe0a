/*
 * Shards that an operator gave to a node, and who served a shard before that changed.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/membership/internal.h"

/* A hand-over of everything that a node has takes less. */
#define HINT_NS (30 * NS_PER_S)

static struct pin *find(const struct membership *m, uint32_t shard)
{
	struct pin *p;
	HASH_FIND(hh, m->pins, &shard, sizeof shard, p);
	return p;
}

static struct pin *add(struct membership *m, uint32_t shard)
{
	struct pin *p = new0(struct pin);
	p->shard = shard;
	HASH_ADD(hh, m->pins, shard, sizeof p->shard, p);
	return p;
}

static void drop(struct membership *m, struct pin *p)
{
	HASH_DEL(m->pins, p);
	free(p->node_id);
	free(p->before);
	free(p);
}

/* node_id NULL: no pin any more. */
static void change(struct pin *p, const char *node_id, int64_t now)
{
	free(p->before);
	p->before = p->node_id;
	p->node_id = node_id ? mem_strdup(node_id) : NULL;
	p->changed_ns = now;
}

bool membership_take_pins(struct membership *m, const struct store_pin *pins, size_t count)
{
	int64_t now = env_mono_ns(m->env);
	bool changed = false;
	struct pin *p, *next;
	for (p = m->pins; p; p = p->hh.next)
		p->present = false;
	for (size_t i = 0; i < count; i++) {
		p = find(m, pins[i].shard);
		if (!p)
			p = add(m, pins[i].shard);
		p->present = true;
		if (str_eq(p->node_id, pins[i].node_id))
			continue;
		change(p, pins[i].node_id, now);
		changed = true;
	}
	HASH_ITER (hh, m->pins, p, next) {
		if (p->present)
			continue;
		if (p->node_id) {
			change(p, NULL, now);
			changed = true;
		} else if (now - p->changed_ns >= HINT_NS) {
			drop(m, p);
		}
	}
	return changed;
}

void membership_free_pins(struct membership *m)
{
	struct pin *p, *next;
	HASH_ITER (hh, m->pins, p, next)
		drop(m, p);
}

/* NULL: no such live node of history. */
static struct watched *history_node(const struct membership *m, const char *node_id)
{
	struct watched *w = node_id ? membership_row(m, node_id) : NULL;
	return w && w->live && w->member.role == MEMBER_HISTORY ? w : NULL;
}

const struct member *membership_pinned(const struct membership *m, uint32_t shard)
{
	struct pin *p = m->pins ? find(m, shard) : NULL;
	struct watched *w = p ? history_node(m, p->node_id) : NULL;
	return w && !w->member.draining ? &w->member : NULL;
}

const struct member *membership_had_before(const struct membership *m, uint32_t shard)
{
	struct pin *p = m->pins ? find(m, shard) : NULL;
	int64_t now = env_mono_ns(m->env);
	struct watched *w = p ? history_node(m, p->node_id) : NULL;
	if (w && w->member.draining && now - w->drains_since_ns < HINT_NS)
		return &w->member;
	if (!p || now - p->changed_ns >= HINT_NS)
		return NULL;
	w = history_node(m, p->before);
	return w ? &w->member : NULL;
}
