/*
 * Who polls a partition, for DescribeTaskQueue.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

#define LISTED_NS (300 * NS_PER_S)

static Perdure__PollerInfo *copy_info(const Perdure__PollerInfo *i)
{
	struct bytes b = matching_pack(&i->base);
	Perdure__PollerInfo *copy = perdure__poller_info__unpack(NULL, b.len, b.data);
	free((void *)b.data);
	return copy;
}

static void take(struct partition *p, const Perdure__PollerInfo *info)
{
	struct poller *r = NULL;
	HASH_FIND_STR(p->pollers, info->identity, r);
	if (r && r->info->last_access_time_ns > info->last_access_time_ns)
		return;
	if (r) { /* the key is part of the info */
		HASH_DEL(p->pollers, r);
		perdure__poller_info__free_unpacked(r->info, NULL);
	} else {
		r = new0(struct poller);
	}
	r->info = copy_info(info);
	HASH_ADD_KEYPTR(hh, p->pollers, r->info->identity, strlen(r->info->identity), r);
}

void pollers_take(struct partition *p, Perdure__PollerInfo *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		take(p, list[i]);
	if (count)
		rate_set_limit(p);
}

static void poller_free(struct partition *p, struct poller *r)
{
	HASH_DEL(p->pollers, r);
	perdure__poller_info__free_unpacked(r->info, NULL);
	free(r);
}

void pollers_expire(struct partition *p)
{
	int64_t now = env_wall_ns(p->m->env);
	struct poller *r, *tmp;
	HASH_ITER (hh, p->pollers, r, tmp)
		if (now - r->info->last_access_time_ns >= LISTED_NS)
			poller_free(p, r);
	rate_set_limit(p);
}

void pollers_free(struct partition *p)
{
	struct poller *r, *tmp;
	HASH_ITER (hh, p->pollers, r, tmp)
		poller_free(p, r);
}
