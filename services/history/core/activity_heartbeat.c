/*
 * Heartbeats: the one change of a run that is made in place, and journalled later.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/core/activity.h"
#include "services/history/core/failure.h"

static void replace_string(char **s, const char *value)
{
	if (*s != protobuf_c_empty_string)
		free(*s);
	*s = mem_strdup(value);
}

static void replace_details(struct run *run, Perdure__ActivityInfo *a,
			    const Temporal__Api__Common__V1__Payloads *details)
{
	size_t len = details ? protobuf_c_message_get_packed_size(&details->base) : 0;
	run->bytes += len;
	run->bytes -= a->heartbeat_details.len;
	free(a->heartbeat_details.data);
	a->heartbeat_details = (ProtobufCBinaryData){len, NULL};
	if (len) {
		a->heartbeat_details.data = mem_alloc(len);
		protobuf_c_message_pack(&details->base, a->heartbeat_details.data);
	}
}

struct err core_heartbeat(struct run *run, struct activity_ref ref, int64_t now_ns, struct arena *arena,
			  const Temporal__Api__Common__V1__Payloads *details, const char *identity,
			  struct heartbeat_reply *ret)
{
	*ret = (struct heartbeat_reply){0};
	const Perdure__ActivityInfo *found;
	try(activity_find(run, ref, false, arena, &found));
	struct run_activity *entry = run_find_activity(run, found->scheduled_event_id);
	Perdure__ActivityInfo *a = entry->info;
	ret->cancel_requested = a->cancel_requested;
	ret->paused = a->paused;
	replace_details(run, a, details);
	a->last_heartbeat_time_ns = now_ns;
	if (!str_empty(identity) && !str_eq(identity, a->last_worker_identity)) {
		run->bytes += strlen(identity);
		run->bytes -= strlen(a->last_worker_identity);
		replace_string(&a->last_worker_identity, identity);
	}
	entry->details_dirty = true;
	return err_ok;
}

bool core_heartbeat_too_large(const struct core_config *config, const Temporal__Api__Common__V1__Payloads *details)
{
	return details && config->blob_bytes_max > 0 &&
	       protobuf_c_message_get_packed_size(&details->base) > (size_t)config->blob_bytes_max;
}

struct err core_heartbeat_refuse(struct txn *t, struct activity_ref ref, const char *identity)
{
	return core_fail_activity(t, ref, failure_server(t->arena, "Heartbeat details exceed size limit.", true), NULL,
				  identity);
}

void core_heartbeat_flush(struct txn *t)
{
	for (struct run_activity *a = t->run->activities; a; a = a->hh.next)
		if (a->details_dirty && txn_activity(t, a->info->scheduled_event_id))
			txn_activity_put(t, a->info->scheduled_event_id);
}
