/*
 * Partitions of task queues as JSON; see admin.h.
 */
#include <utlist.h>

#include "common/http/json.h"
#include "services/matching/admin/admin.h"
#include "services/matching/internal.h"

static const char *pollers_name(Perdure__TaskKind kind)
{
	return kind == PERDURE__TASK_KIND__TASK_KIND_ACTIVITY ? "activity" : "workflow";
}

/* Seconds; NULL for none. */
static json_t *age(const struct matching *m, int64_t since_ns)
{
	return since_ns ? json_real((double)max_i64(env_wall_ns(m->env) - since_ns, 0) / NS_PER_S) : json_null();
}

struct counts {
	int64_t open_polls, credits;
	size_t waiting, handed;
};

static struct counts count(const struct partition *p)
{
	struct counts s = {.waiting = p->waiting_count, .handed = HASH_COUNT(p->tasks) - p->waiting_count};
	const struct credit *c;
	DL_FOREACH2(p->credits, c, in_partition_next)
	{
		s.open_polls += c->idle;
		s.credits += max_i64(credit_available(c), 0);
	}
	return s;
}

static json_t *pollers_json(struct partition *p)
{
	json_t *list = json_array();
	pollers_expire(p);
	for (const struct poller *r = p->pollers; r; r = r->hh.next)
		json_array_append_new(list, json_pack("{s:s, s:o, s:f}", "identity", r->info->identity,
						      "last_poll_seconds_ago", age(p->m, r->info->last_access_time_ns),
						      "rate_per_second", r->info->rate_per_second));
	return list;
}

static json_t *gateways_json(const struct partition *p)
{
	json_t *list = json_array();
	const struct credit *c;
	DL_FOREACH2(p->credits, c, in_partition_next)
	json_array_append_new(list, json_pack("{s:s, s:i, s:I}", "address", c->gateway->address, "open_polls",
					      (int)c->idle, "credits", (json_int_t)credit_available(c)));
	return list;
}

/* Here and in history. */
static json_t *priorities_json(const struct partition *p, const struct sums *s)
{
	json_t *list = json_array();
	for (int k = 0; k < PRIORITIES; k++)
		if (s->of[k].count)
			json_array_append_new(list, json_pack("{s:i, s:I, s:o}", "priority", k, "count",
							      (json_int_t)s->of[k].count, "oldest_seconds",
							      age(p->m, s->of[k].oldest_ns)));
	return list;
}

static json_t *partition_json(struct partition *p, bool detail)
{
	struct counts s = count(p);
	struct sums sums = pull_sum(p);
	double added, handed;
	rate_look(p, &added, &handed);
	json_t *v = json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:f, s:i, s:I, s:b}",
			      "namespace_id", p->queue->namespace_id, "name", p->queue->name, "pollers",
			      pollers_name(p->queue->pollers), "sticky", p->queue->sticky, "partition", (int)p->number,
			      "partitions", (int)p->count, "open_polls", (json_int_t)s.open_polls, "credits",
			      (json_int_t)s.credits, "waiting", (json_int_t)s.waiting, "handed", (json_int_t)s.handed,
			      "backlog", (json_int_t)sums.all.count, "oldest_seconds", age(p->m, sums.all.oldest_ns),
			      "add_rate", added, "dispatch_rate", handed, "known_pollers", (int)HASH_COUNT(p->pollers),
			      "bytes", (json_int_t)p->bytes, "rate_limited", p->rate > 0);
	if (!detail)
		return v;
	json_object_set_new(v, "poller_list", pollers_json(p));
	json_object_set_new(v, "gateways", gateways_json(p));
	json_object_set_new(v, "by_priority", priorities_json(p, &sums));
	return v;
}

static void on_queues(void *ctx, struct http_request *req)
{
	struct matching *m = *(struct matching *const *)ctx;
	if (!m) {
		http_reply_json_error(req, 503, "this node is starting");
		return;
	}
	const char *name = http_query(req, "name"), *namespace_id = http_query(req, "namespace_id");
	const char *pollers = http_query(req, "pollers");
	json_t *list = json_array();
	struct partition *p, *tmp;
	HASH_ITER (hh, m->partitions, p, tmp)
		if ((!name || str_eq(name, p->queue->name)) &&
		    (!namespace_id || str_eq(namespace_id, p->queue->namespace_id)) &&
		    (!pollers || str_eq(pollers, pollers_name(p->queue->pollers))))
			json_array_append_new(list, partition_json(p, name != NULL));
	http_reply_json(req, 200,
			json_pack("{s:s, s:b, s:I, s:f, s:o}", "node_id", membership_self_id(m->membership), "draining",
				  m->draining || membership_told_to_drain(m->membership), "memory_bytes",
				  (json_int_t)m->counts.bytes, "busy", m->load.busy, "partitions", list));
}

void matching_admin_serve(struct matching *const *m, struct http_server *http)
{
	http_route(http, "GET", "/admin/matching/queues", on_queues, (void *)m);
}
