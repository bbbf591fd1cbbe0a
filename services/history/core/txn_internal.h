/*
 * What txn.c and events.c share.
 */
#ifndef SERVICES_HISTORY_CORE_TXN_INTERNAL_H
#define SERVICES_HISTORY_CORE_TXN_INTERNAL_H

#include "services/history/core/txn.h"

/* Room for one more item: the array, or a wider copy of it in the arena. */
void *txn_grow(struct arena *a, void *items, size_t count, size_t *cap, size_t item_size);
#define txn_push(t, items, count, cap, item)                                                                           \
	do {                                                                                                           \
		(t)->items = txn_grow((t)->arena, (t)->items, (t)->count, &(t)->cap, sizeof *(t)->items);              \
		(t)->items[(t)->count++] = (item);                                                                     \
	} while (0)

/* An event that is not written: with type, time and empty attributes. */
Temporal__Api__History__V1__HistoryEvent *txn_event_new(struct txn *t, Temporal__Api__Enums__V1__EventType type);
/* The held events as the delta's whole list of buffered events. */
Perdure__BufferedEvent **txn_pack_held(struct txn *t, size_t *ret_count);
/* The run is closed: what waited is never written. */
void txn_drop_held(struct txn *t);

#endif
