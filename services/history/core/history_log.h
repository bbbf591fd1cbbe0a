/*
 * The events of one run that are in memory: spliced encoded bytes (temporal.api.history.v1.History), in order, without
 * gaps; nothing is decoded.
 */
#ifndef SERVICES_HISTORY_CORE_HISTORY_LOG_H
#define SERVICES_HISTORY_CORE_HISTORY_LOG_H

#include "common/base/bytes.h"

struct history_log;

struct history_log *history_log_new(void);
/* Accepts NULL. */
void history_log_free(struct history_log *l);
/* `count` events that begin with id first_event_id, which follows the last one there (any id when empty). Copied. */
void history_log_append(struct history_log *l, int64_t first_event_id, size_t count, struct bytes events);
/* Of the first and last event in memory; 0 when empty. */
int64_t history_log_first(const struct history_log *l);
int64_t history_log_last(const struct history_log *l);
/* Appends events first..last, as far as they are in memory, to out. */
void history_log_read(const struct history_log *l, int64_t first, int64_t last, struct buf *out);
/* Forgets events up to and including last (they are in the database), as far as whole chunks allow. */
void history_log_drop(struct history_log *l, int64_t last);
/* Memory used. */
size_t history_log_bytes(const struct history_log *l);

#endif
