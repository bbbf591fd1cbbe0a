/*
 * Metrics of the process itself, from getrusage and /proc/self.
 */
#include "common/metrics/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/mem/mem.h"

static int64_t cpu_ns(void)
{
	struct rusage u;
	if (getrusage(RUSAGE_SELF, &u) != 0)
		return 0;
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * NS_PER_US;
}

static int64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	int64_t size, resident;
	if (!f)
		return 0;
	int n = fscanf(f, "%" SCNd64 " %" SCNd64, &size, &resident);
	fclose(f);
	return n == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}

static int64_t open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int64_t n = 0;
	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n - 3; /* ".", ".." and the one this took */
}

/* The registry, as context: the handles are looked up again, once a scrape. */
static void collect(void *ctx)
{
	struct metrics *m = ctx;
	metrics_counter_seconds(m, "process_cpu_seconds_total", "CPU time used.", NULL, 0)->value = cpu_ns();
	gauge_set(metrics_gauge(m, "process_resident_memory_bytes", "Resident memory.", NULL, 0), resident_bytes());
	metrics_counter(m, "restarts", "1: the process started.", NULL, 0)->value = 1;
	gauge_set(metrics_gauge(m, "process_open_fds", "Open file descriptors.", NULL, 0), open_descriptors());
}

void metrics_add_process(struct metrics *m)
{
	metrics_on_collect(m, collect, m);
}
