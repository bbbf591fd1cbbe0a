/*
 * How run.c lets run_snapshot.c fill a run. Each takes what it is given, which was allocated with malloc.
 */
#ifndef SERVICES_HISTORY_CORE_RUN_INTERNAL_H
#define SERVICES_HISTORY_CORE_RUN_INTERNAL_H

#include "services/history/core/run.h"

void run_set_start(struct run *r, Perdure__RunStart *start);
void run_set_exec(struct run *r, Perdure__RunExec *exec);
void run_put_activity(struct run *r, Perdure__ActivityInfo *info);
void run_put_timer(struct run *r, Perdure__TimerInfo *info);
void run_put_signal_request_id(struct run *r, char *id);
void run_put_request_id(struct run *r, Perdure__RequestIdInfo *info);
/* Replaces the whole list. */
void run_set_buffered(struct run *r, Perdure__BufferedEvent **events, size_t n);

#endif
