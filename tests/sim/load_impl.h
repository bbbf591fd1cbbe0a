/*
 * What the simulated clients and workers share. For tests/sim/{load,client,worker,activity}.c.
 */
#ifndef TESTS_SIM_LOAD_IMPL_H
#define TESTS_SIM_LOAD_IMPL_H

#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "tests/sim/load.h"
#include "tests/sim/script.h"

#define SIM_QUEUE   "sim"
#define API(name)   Temporal__Api__##name
#define EVENT(name) TEMPORAL__API__ENUMS__V1__EVENT_TYPE__EVENT_TYPE_##name

/* ------------------------------------------------------------------ workflows, as their clients see them */

struct sim_signal {
	struct sim_workflow *workflow;
	int step;
	char name[16], request_id[48];
	struct env_timer timer;
};

struct sim_workflow {
	struct sim_load *load;
	int number;
	int round; /* the id is used again when a chain of runs has ended */
	char id[32], request_id[48];
	struct sim_script script;
	struct sim_signal signals[SIM_STEPS_MAX];
	bool started, asked_to_end, ended;
	bool unsure;	      /* whether the request to end it took effect */
	bool blind;	      /* its first run is unknown: another one follows it already */
	char run[40];	      /* of the chain: the one that is read; "": the current one */
	int64_t history_seen; /* events of it that were seen */
	struct sim_chain chain;
	unsigned acked;			   /* signals, by step */
	unsigned unsure_signals;	   /* tried before, with unknown outcome */
	unsigned attempts[SIM_STEPS_MAX];  /* of the step's activity, as bits: handed to a worker */
	int64_t heartbeats[SIM_STEPS_MAX]; /* the greatest progress reported */
	struct env_timer next, query, rival;
	unsigned query_expects; /* signals acknowledged before it was asked */
	int query_round;
};

/* ------------------------------------------------------------------ workers */

#define SIM_CACHE_MAX 16

/* A run that the worker has replayed, so that it needs only what is new. */
struct sim_cached {
	char run_id[40];
	struct sim_tally tally;
};

enum sim_poll_kind { POLL_WORKFLOW, POLL_STICKY, POLL_ACTIVITY, POLL_KINDS };

struct sim_poller {
	struct sim_worker *worker;
	enum sim_poll_kind kind;
	struct env_timer again;
	bool polling;
	struct sim_pending *call;
};

/* A process with pollers, a sticky queue and a cache. When it dies, all of that goes, and another begins. */
struct sim_worker {
	struct sim_load *load;
	int number, generation;
	char sticky_queue[32];
	struct sim_poller pollers[POLL_KINDS];
	struct sim_cached cache[SIM_CACHE_MAX];
	int cache_next;
	struct sim_job *jobs;
};

struct sim_load {
	struct sim_cluster *c;
	struct fake_env env; /* the clients' own process: never killed */
	struct sim_workflow *workflows;
	int count, done;
	struct sim_worker *workers;
	int worker_count;
	bool calm;
};

/* load.c */
struct sim_workflow *sim_workflow_find(struct sim_load *l, const char *id);
/* What a client may hear while things break: it tries again. */
bool sim_passing(struct err e);
/* Soon, at random. */
void sim_again(struct sim_load *l, struct env_timer *t);
bool sim_happens(struct sim_load *l, double probability); /* never once it is calm */
/* Valid until the next call but one. */
API(Common__V1__Payloads) * sim_payloads(const char *fmt, ...) printf_like(1, 2);

/* client.c */
void sim_workflow_init(struct sim_workflow *w, struct sim_load *l, int number);

/* worker.c */
void sim_worker_init(struct sim_worker *w, struct sim_load *l, int number);
/* kill -9 of a worker; another one begins in its place. */
void sim_worker_die(struct sim_worker *w);
void sim_poll_again(struct sim_poller *p);
void sim_worker_free(struct sim_worker *w);

/* activity.c */
/* A worker has a task; it is copied. */
void sim_job_start(struct sim_worker *w, const WS(PollActivityTaskQueueResponse) *task);
/* The worker died with it. */
void sim_jobs_drop(struct sim_worker *w);

#endif
