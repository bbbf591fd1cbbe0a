/*
 * What an operator sees of a history node, over its HTTP port (perdurectl asks):
 *
 *   /admin/history/overview   the node and its shards
 *   /admin/history/run        a run: its state, what it waits for, and why that doesn't come (?namespace_id,
 *                             workflow_id, run_id)
 *   /admin/history/events     its history, temporal.api.history.v1.History encoded
 *   /admin/history/audit      what the auditor found; ?run=1 begins a round now (&shard, namespace_id, workflow_id:
 *                             of those only; &repair=1: what can be derived again is; &rate: rows a second)
 *
 * Reading only, and of this node's memory: shards that it doesn't serve are answered with 421.
 */
#ifndef SERVICES_HISTORY_ADMIN_ADMIN_H
#define SERVICES_HISTORY_ADMIN_ADMIN_H

#include <jansson.h>

#include "services/history/history.h"

struct auditor;
struct http_server;

struct history_admin {
	struct history *history; /* NULL until there is one: 503 */
	struct auditor *auditor; /* as long as there is a history */
};

/* The admin outlives the server's requests. */
void history_admin_serve(struct history_admin *a, struct http_server *http);

/* ------------------------------------------------------------------ overview.c, run_json.c, why.c */

json_t *admin_overview(const struct history *h);
const char *admin_shard_state(enum shard_state state);
/* recent: its last events, encoded, which may say why a workflow task fails. */
json_t *admin_run(const struct cached_run *r, struct bytes recent);
/* {"reason": a word for scripts, "why": one sentence, "queue": of the task that wants for a worker}. */
json_t *admin_why(const struct cached_run *r, struct bytes recent);
/* RFC 3339; NULL, and so JSON's null with "s?", for 0 and INT64_MAX. */
const char *admin_time(struct arena *a, int64_t ns);
/* "Running", "Completed", … */
const char *admin_status(int32_t status);

#endif
