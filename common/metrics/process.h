/*
 * Metrics of the process itself: CPU, memory, descriptors, under the names that Prometheus clients use everywhere.
 */
#ifndef COMMON_METRICS_PROCESS_H
#define COMMON_METRICS_PROCESS_H

#include "common/metrics/metrics.h"

/* Registers process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, read at each exposition. */
void metrics_add_process(struct metrics *m);

#endif
