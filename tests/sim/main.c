/*
 * The simulation: whole clusters on simulated time, broken in ways that a seed decides. A failing seed repeats exactly.
 *
 *   sim [--seeds N] [--first S] [--seed S] [--faults N] [--workflows N] [--verbose]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/check.h"
#include "tests/sim/deep.h"
#include "tests/sim/doomed.h"
#include "tests/sim/faults.h"
#include "tests/sim/load.h"
#include "tests/sim/severed.h"
#include "tests/sim/tenants.h"

#define FAULTS_SPAN_NS (15 * NS_PER_S)
#define PATIENCE_NS    (240 * NS_PER_S)
#define REST_NS	       (5 * NS_PER_S) /* longer than checkpoints are apart */

struct options {
	uint64_t first;
	int seeds, faults, workflows, jobs;
	bool verbose;
};

struct clients {
	struct sim_load *load;
	struct sim_doomed *doomed;
	struct sim_tenants *tenants;
};

static bool all_done(void *ctx)
{
	const struct clients *a = ctx;
	return sim_load_done(a->load) && sim_doomed_done(a->doomed) && sim_tenants_done(a->tenants);
}

static void say_stuck(struct sim_cluster *c, const struct clients *a)
{
	struct buf text = {0};
	sim_load_describe(a->load, &text);
	sim_doomed_describe(a->doomed, &text);
	sim_tenants_describe(a->tenants, &text);
	sim_describe_shards(c);
	sim_violation(c, "stuck: %.*s", (int)text.len, (const char *)text.data);
	buf_done(&text);
}

/* These every so many seeds: nobody breaks anything but what the scenario does. */
static bool run_deep(const struct options *o, uint64_t seed)
{
	static struct sim_cluster c;
	sim_cluster_init(&c, seed, 1 + (int)(seed / 16 % 3), 1 + (int)(seed / 48 % 2), 1, o->verbose);
	sim_deep(&c);
	if (c.violation[0])
		printf("seed %" PRIu64 " (deep): %s\n", seed, c.violation);
	fflush(stdout);
	return !c.violation[0];
}

static bool run_severed(const struct options *o, uint64_t seed)
{
	static struct sim_cluster c;
	sim_cluster_init(&c, seed, 2 + (int)(seed / 32 % 2), 1, 1, o->verbose);
	sim_severed(&c);
	if (c.violation[0])
		printf("seed %" PRIu64 " (severed): %s\n", seed, c.violation);
	fflush(stdout);
	return !c.violation[0];
}

static bool run_seed(const struct options *o, uint64_t seed)
{
	if (seed % 16 == 5)
		return run_deep(o, seed);
	if (seed % 32 == 13)
		return run_severed(o, seed);
	static struct sim_cluster c;
	sim_cluster_init(&c, seed, 1 + (int)(seed % 3), 1 + (int)(seed / 3 % 2), 1 + (int)(seed / 6 % 2), o->verbose);
	struct sim_load *load = sim_load_new(&c, o->workflows, 4);
	struct clients clients = {load, sim_doomed_new(&c, o->workflows / 2), sim_tenants_new(&c, o->workflows / 3)};
	struct sim_faults *faults = sim_faults_new(&c, o->faults, FAULTS_SPAN_NS);
	for (int64_t end = c.world.now_ns + FAULTS_SPAN_NS; c.world.now_ns < end && !c.violation[0];) {
		fake_world_advance(&c.world, NS_PER_S);
		sim_check_stored(&c);
		sim_check_timers(&c);
	}
	sim_faults_heal(faults);
	sim_load_calm(load);
	if (!fake_world_until(&c.world, all_done, &clients, PATIENCE_NS))
		say_stuck(&c, &clients);
	if (!c.violation[0]) {
		fake_world_advance(&c.world, REST_NS);
		sim_check_stored(&c);
		sim_check_backlog(&c);
		sim_check_memory(&c);
		sim_check_auditors(&c);
		sim_doomed_check(clients.doomed);
		sim_tenants_check(clients.tenants);
	}
	bool ok = !c.violation[0];
	if (!ok)
		printf("seed %" PRIu64 ": %s\n", seed, c.violation);
	fflush(stdout);
	sim_cluster_done(&c);
	sim_faults_free(faults);
	sim_tenants_free(clients.tenants);
	sim_doomed_free(clients.doomed);
	sim_load_free(load);
	return ok;
}

/* What a process that dies leaves behind, in shared memory. */
struct job {
	pid_t pid;
	int next; /* index of the seed after the one under way */
	int failed;
};

/* So many failures say what there is to say. */
#define FAILURES_MAX 10

/* Seeds are shared out over the processes. */
static void run_share(const struct options *o, struct job *j)
{
	while (j->next < o->seeds && j->failed < FAILURES_MAX) {
		int i = j->next;
		j->next += o->jobs;
		j->failed += !run_seed(o, o->first + (uint64_t)i);
	}
}

static void start_job(const struct options *o, struct job *j)
{
	fflush(stdout);
	pid_t pid = fork();
	assert(pid >= 0);
	if (pid == 0) {
		run_share(o, j);
		_exit(0);
	}
	j->pid = pid;
}

/* Returns whether another process goes on behind the seed that killed this one. */
static bool died(const struct options *o, struct job *j, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	printf("seed %" PRIu64 ": the process died of %s %d\n", o->first + (uint64_t)(j->next - o->jobs),
	       WIFEXITED(status) ? "exit status" : "signal",
	       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	j->failed++;
	start_job(o, j);
	return true;
}

static int run_all(const struct options *o)
{
	struct job *jobs =
		mmap(NULL, (size_t)o->jobs * sizeof *jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert(jobs != MAP_FAILED);
	for (int i = 0; i < o->jobs; i++) {
		jobs[i].next = i;
		if (o->jobs == 1)
			run_share(o, &jobs[i]);
		else
			start_job(o, &jobs[i]);
	}
	int failed = 0;
	for (int left = o->jobs == 1 ? 0 : o->jobs; left > 0;) {
		int status = 0;
		pid_t pid = wait(&status);
		assert(pid > 0);
		for (int i = 0; i < o->jobs; i++)
			if (jobs[i].pid == pid && !died(o, &jobs[i], status))
				left--;
	}
	for (int i = 0; i < o->jobs; i++)
		failed += jobs[i].failed;
	munmap(jobs, (size_t)o->jobs * sizeof *jobs);
	return failed;
}

static int64_t number(const char *text)
{
	return text ? strtoll(text, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	struct options o = {.first = 1, .seeds = 100, .faults = 8, .workflows = 6, .jobs = 2};
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (str_eq(argv[i], "--verbose")) {
			o.verbose = true;
			continue;
		}
		i++;
		if (str_eq(argv[i - 1], "--seeds"))
			o.seeds = (int)number(value);
		else if (str_eq(argv[i - 1], "--first"))
			o.first = (uint64_t)number(value);
		else if (str_eq(argv[i - 1], "--faults"))
			o.faults = (int)number(value);
		else if (str_eq(argv[i - 1], "--workflows"))
			o.workflows = (int)number(value);
		else if (str_eq(argv[i - 1], "--jobs"))
			o.jobs = (int)number(value);
		else if (str_eq(argv[i - 1], "--seed")) {
			o.first = (uint64_t)number(value);
			o.seeds = o.jobs = 1;
		} else {
			fprintf(stderr,
				"usage: sim [--seeds N] [--first S] [--seed S] [--faults N] [--workflows N] [--jobs N] "
				"[--verbose]\n");
			return 2;
		}
	}
	int failed = run_all(&o);
	printf("%d passed, %d failed\n", o.seeds - failed, failed);
	return failed ? 1 : 0;
}
