/*
 * What a simulated workflow does, step by step, and what its history must say in the end. Pure: events in, the next
 * command out.
 */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

#include <temporal/api/history/v1/message.pb-c.h>

#include "common/base/bytes.h"
#include "tests/support/fake_env.h"

#define SIM_STEPS_MAX 8

enum sim_step {
	STEP_ACTIVITY,	    /* tried until it succeeds */
	STEP_ACTIVITY_ONCE, /* one attempt, whatever comes of it */
	STEP_ACTIVITY_LONG, /* heartbeats; tried until it succeeds */
	STEP_TIMER,
	STEP_SIGNAL, /* waits for the signal of this step's number */
	STEP_CONTINUE,
	/* ends */
	STEP_COMPLETE,
	STEP_CANCELLED,	 /* waits to be asked, then cancels itself */
	STEP_TERMINATED, /* waits to be terminated */
	STEP_TIMED_OUT,	 /* waits for its run timeout, which may come at any step */
};

struct sim_script {
	enum sim_step steps[SIM_STEPS_MAX];
	int count;
};

void sim_script_make(struct sim_script *s, struct fake_world *w);
enum sim_step sim_script_end(const struct sim_script *s);
bool sim_script_has(const struct sim_script *s, enum sim_step step);
/* "activity timer signal complete" */
void sim_script_print(const struct sim_script *s, struct buf *out);

/* What the events of a run say, as far as they were seen. */
struct sim_tally {
	int round;					/* of the workflow id */
	int from;					/* the run begins with this step */
	unsigned carried;				/* signals that earlier runs of the chain had, by step */
	int begun[SIM_STEPS_MAX], ended[SIM_STEPS_MAX]; /* activities and timers */
	int failed[SIM_STEPS_MAX];
	int signals[SIM_STEPS_MAX];
	int64_t scheduled_event[SIM_STEPS_MAX];
	int cancel_requests;
	int closed; /* the event type that ended the run; 0: open */
	int64_t events;
	int64_t kept; /* … that stay: those of a workflow task tried again are shown, but not written yet */
	bool gap;
	char next_run[40];
};

void sim_tally_add(struct sim_tally *t, const Temporal__Api__History__V1__History *h);
/* Signals that a worker with this history knows of, by step. */
unsigned sim_tally_signals(const struct sim_tally *t);

enum sim_command { COMMAND_NONE, COMMAND_ACTIVITY, COMMAND_TIMER, COMMAND_CONTINUE, COMMAND_COMPLETE, COMMAND_CANCEL };

/* What the workflow does next; *ret_step: at which step. */
enum sim_command sim_decide(const struct sim_script *s, const struct sim_tally *t, int *ret_step);

/* What the runs of a chain say together. */
struct sim_chain {
	int begun[SIM_STEPS_MAX], ended[SIM_STEPS_MAX], failed[SIM_STEPS_MAX], signals[SIM_STEPS_MAX];
	int cancel_requests;
	bool gap;
};

void sim_chain_add(struct sim_chain *c, const struct sim_tally *closed);
/* The last run of the chain is closed: false and a text when the chain is not what the script asked for. `acked`:
 * signals that were acknowledged; `repeated`: those that may be there twice. */
bool sim_chain_judge(const struct sim_chain *c, const struct sim_script *s, const struct sim_tally *last,
		     unsigned acked, unsigned repeated, struct buf *ret_why);

#endif
