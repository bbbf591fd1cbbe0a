/*
 * The simulation: whole clusters on simulated time, broken in ways that a seed decides. A failing seed repeats exactly.
 *
 *   sim [--seeds N] [--first S] [--seed S] [--faults N] [--workflows N] [--verbose]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/check.h"
#include "tests/sim/faults.h"
#include "tests/sim/load.h"

#define FAULTS_SPAN_NS (15 * NS_PER_S)
#define PATIENCE_NS    (240 * NS_PER_S)

struct options {
	uint64_t first;
	int seeds, faults, workflows, jobs;
	bool verbose;
};

static bool run_seed(const struct options *o, uint64_t seed)
{
	static struct sim_cluster c;
	sim_cluster_init(&c, seed, 2, 2, 2, o->verbose);
	struct sim_load *load = sim_load_new(&c, o->workflows, 4);
	struct sim_faults *faults = sim_faults_new(&c, o->faults, FAULTS_SPAN_NS);
	for (int64_t end = c.world.now_ns + FAULTS_SPAN_NS; c.world.now_ns < end && !c.violation[0];) {
		fake_world_advance(&c.world, NS_PER_S);
		sim_check_stored(&c);
	}
	sim_faults_heal(faults);
	sim_load_calm(load);
	if (!fake_world_until(&c.world, sim_load_done, load, PATIENCE_NS)) {
		struct buf text = {0};
		sim_load_describe(load, &text);
		sim_violation(&c, "stuck: %.*s", (int)text.len, (const char *)text.data);
		buf_done(&text);
	}
	if (!c.violation[0]) {
		fake_world_advance(&c.world, NS_PER_S);
		sim_check_stored(&c);
		sim_check_memory(&c);
	}
	bool ok = !c.violation[0];
	if (!ok)
		printf("seed %" PRIu64 ": %s\n", seed, c.violation);
	fflush(stdout);
	sim_cluster_done(&c);
	sim_faults_free(faults);
	sim_load_free(load);
	return ok;
}

/* Seeds are shared out over two processes. */
static int run_share(const struct options *o, int job)
{
	int failed = 0;
	for (int i = job; i < o->seeds; i += o->jobs)
		failed += !run_seed(o, o->first + (uint64_t)i);
	return failed > 250 ? 250 : failed;
}

static int run_all(const struct options *o)
{
	int failed = 0;
	if (o->jobs == 1)
		return run_share(o, 0);
	for (int job = 0; job < o->jobs; job++) {
		fflush(stdout);
		if (fork() == 0)
			_exit(run_share(o, job));
	}
	for (int job = 0; job < o->jobs; job++) {
		int status = 0;
		wait(&status);
		failed += WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (!WIFEXITED(status))
			printf("a simulation process died of signal %d\n", WTERMSIG(status));
	}
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
