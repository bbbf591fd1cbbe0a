/*
 * Reset points and build ids.
 */
#include "services/history/core/reset_points.h"

#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/search_attributes.h"

#define POINTS_MAX 20

static WORKFLOW(ResetPoints) *points_of(struct txn *t)
{
	WORKFLOW(ResetPoints) *p =
		pb_unpack(t->arena, &WORKFLOW_FN(reset_points__descriptor), txn_peek(t)->auto_reset_points);
	return p ? p : pb_new0(t->arena, WORKFLOW(ResetPoints), WORKFLOW_FN(reset_points));
}

/* The checksums of all points, as the search attribute shows them. */
static void put_checksums(struct txn *t, const WORKFLOW(ResetPoints) *points)
{
	char **sums = arena_array(t->arena, char *, points->n_points);
	size_t n = 0;
	for (size_t i = 0; i < points->n_points; i++)
		if (!str_empty(points->points[i]->binary_checksum))
			sums[n++] = points->points[i]->binary_checksum;
	Perdure__RunExec *exec = txn_exec(t);
	exec->search_attributes = sa_put_keyword_list(t->arena, exec->search_attributes, "BinaryChecksums", sums, n);
}

void reset_points_add(struct txn *t, int64_t completed_event_id, const char *binary_checksum, const char *build_id)
{
	WORKFLOW(ResetPoints) *points = points_of(t);
	for (size_t i = 0; i < points->n_points; i++)
		if (str_eq(points->points[i]->binary_checksum, binary_checksum) &&
		    str_eq(points->points[i]->build_id, build_id))
			return;
	WORKFLOW(ResetPointInfo) *p = pb_new0(t->arena, WORKFLOW(ResetPointInfo), WORKFLOW_FN(reset_point_info));
	p->binary_checksum = arena_strdup(t->arena, binary_checksum);
	p->build_id = arena_strdup(t->arena, build_id);
	p->run_id = t->start->run_id;
	p->first_workflow_task_completed_id = completed_event_id;
	p->create_time = pb_timestamp(t->arena, t->now_ns);
	p->resettable = true;
	size_t drop = points->n_points + 1 > POINTS_MAX ? points->n_points + 1 - POINTS_MAX : 0;
	WORKFLOW(ResetPointInfo) **kept = arena_array(t->arena, WORKFLOW(ResetPointInfo) *, points->n_points + 1);
	size_t n = 0;
	for (size_t i = drop; i < points->n_points; i++)
		kept[n++] = points->points[i];
	kept[n++] = p;
	points->points = kept;
	points->n_points = n;
	txn_exec(t)->auto_reset_points = pb_pack(t->arena, &points->base);
	if (!str_empty(binary_checksum))
		put_checksums(t, points);
}

/* ------------------------------------------------------------------ build ids */

#define UNVERSIONED "unversioned"

static const char *build_id_value(struct arena *a, const COMMON(WorkerVersionStamp) *v)
{
	if (!v)
		return NULL;
	if (str_empty(v->build_id))
		return UNVERSIONED;
	return arena_printf(a, "%s:%s", v->use_versioning ? "versioned" : UNVERSIONED, v->build_id);
}

/* The attribute is looked into only when a worker of another build than the last one's answers. */
static bool known(struct txn *t, ProtobufCBinaryData version)
{
	const Perdure__RunExec *exec = txn_peek(t);
	return exec->last_completed_workflow_task_started_event_id != 0 &&
	       bytes_eq(pb_bytes(exec->most_recent_worker_version), pb_bytes(version));
}

void build_ids_add(struct txn *t, const COMMON(WorkerVersionStamp) *v)
{
	ProtobufCBinaryData packed = pb_pack(t->arena, v ? &v->base : NULL);
	if (known(t, packed))
		return;
	Perdure__RunExec *exec = txn_exec(t);
	exec->most_recent_worker_version = packed;

	size_t n_old, n = 0;
	char **old = sa_get_keyword_list(t->arena, exec->search_attributes, "BuildIds", &n_old);
	char **values = arena_array(t->arena, char *, n_old + 2);
	const char *value = build_id_value(t->arena, v);
	if (!v || !v->use_versioning)
		values[n++] = arena_strdup(t->arena, UNVERSIONED);
	bool found = !value || (n && str_eq(value, UNVERSIONED));
	for (size_t i = 0; i < n_old; i++) {
		found = found || str_eq(old[i], value);
		if (!str_eq(old[i], UNVERSIONED))
			values[n++] = old[i];
	}
	if (!found)
		values[n++] = arena_strdup(t->arena, value);
	/* The oldest go when there is no room; the first says that the run is unversioned and stays. */
	for (size_t bytes = 0; n > 1; n--) {
		bytes = 2;
		for (size_t i = 0; i < n; i++)
			bytes += strlen(values[i]) + 3;
		if (bytes <= SEARCH_ATTRIBUTE_VALUE_BYTES_MAX)
			break;
		memmove(values + 1, values + 2, (n - 2) * sizeof *values);
	}
	exec->search_attributes = sa_put_keyword_list(t->arena, exec->search_attributes, "BuildIds", values, n);
}

/* ------------------------------------------------------------------ the next run */

WORKFLOW(ResetPoints) *reset_points_hand_on(struct txn *t)
{
	WORKFLOW(ResetPoints) *points = points_of(t);
	size_t n = 0;
	for (size_t i = 0; i < points->n_points; i++) {
		WORKFLOW(ResetPointInfo) *p = points->points[i];
		if (p->expire_time && pb_timestamp_ns(p->expire_time) < t->now_ns)
			continue;
		if (str_eq(p->run_id, t->start->run_id))
			p->expire_time = pb_timestamp(t->arena, time_add_ns(t->now_ns, t->retention_ns));
		points->points[n++] = p;
	}
	points->n_points = n;
	txn_exec(t)->auto_reset_points = pb_pack(t->arena, &points->base);
	return points;
}
