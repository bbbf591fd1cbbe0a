/*
 * Which worker builds have completed workflow tasks of a run: the points it can be reset to, and the BuildIds and
 * BinaryChecksums search attributes.
 */
#ifndef SERVICES_HISTORY_CORE_RESET_POINTS_H
#define SERVICES_HISTORY_CORE_RESET_POINTS_H

#include "services/history/core/api_names.h"
#include "services/history/core/txn.h"

/* After a WorkflowTaskCompleted event with these values. */
void reset_points_add(struct txn *t, int64_t completed_event_id, const char *binary_checksum, const char *build_id);
/* `version` NULL: the worker said nothing of its build. */
void build_ids_add(struct txn *t, const COMMON(WorkerVersionStamp) *version);

/*
 * The run's points as the next run of its chain gets them: this run's own expire when the run is forgotten. Never NULL.
 * They replace the run's.
 */
WORKFLOW(ResetPoints) *reset_points_hand_on(struct txn *t);

#endif
