/*
 * Faults of the simulation: kills, pauses, cuts, resets, a database that stalls, fails, restarts, or loses a writer's
 * connection with a commit under way; and operators who drain nodes and move shards.
 */
#include "tests/sim/faults.h"

#include <stdlib.h>

#include "common/edge/internal.h"
#include "common/edge/polls/internal.h"
#include "common/mem/mem.h"

#define FAULTS_MAX 64

struct fault {
	struct sim_faults *owner;
	struct env_timer timer;
	void (*undo)(struct fault *f);
	struct sim_node *a, *b;
	uint64_t incarnation; /* of a, when it happened */
	int left;
};

struct sim_faults {
	struct sim_cluster *c;
	struct fake_env env;
	struct fault faults[FAULTS_MAX];
	int count;
	bool healed;
};

static struct sim_node *any(struct sim_cluster *c)
{
	return &c->nodes[fake_world_below(&c->world, c->node_count)];
}

static struct sim_node *any_history(struct sim_cluster *c)
{
	struct sim_node *n = any(c);
	while (n->role != SIM_HISTORY)
		n = any(c);
	return n;
}

static void undo_later(struct fault *f, void (*undo)(struct fault *f), int64_t max_ns)
{
	f->undo = undo;
	env_timer_start(&f->owner->env.env, &f->timer,
			(int64_t)fake_world_below(&f->owner->c->world, (uint64_t)max_ns));
}

static void undo_kill(struct fault *f)
{
	if (!f->a->running)
		sim_node_start(f->a);
}

static void do_kill(struct fault *f)
{
	f->a = any(f->owner->c);
	sim_node_kill(f->a);
	undo_later(f, undo_kill, 8 * NS_PER_S);
}

static void kill_while_handing(struct fault *f)
{
	if (f->owner->healed || !f->a->running || f->a->incarnation != f->incarnation)
		return;
	sim_say(f->owner->c, "%s dies while tasks are on their way through it", f->a->id);
	sim_node_kill(f->a);
	undo_later(f, undo_kill, 8 * NS_PER_S);
}

static void await_hand(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	const int64_t at_it_max_ns = NS_PER_MS, look_max_ns = 400 * NS_PER_US;
	f->a = any(c);
	f->incarnation = f->a->incarnation;
	if (f->a->running && f->a->edge && f->a->edge->polls->hands)
		undo_later(f, kill_while_handing, at_it_max_ns);
	else if (!f->owner->healed && --f->left > 0)
		undo_later(f, await_hand, look_max_ns);
}

/* A gateway, in the milliseconds in which nobody else knows what becomes of a task. */
static void do_kill_handing(struct fault *f)
{
	f->left = 10000;
	await_hand(f);
}

static void undo_pause(struct fault *f)
{
	if (f->a->running && f->a->incarnation == f->incarnation) {
		f->a->env.paused = false;
		sim_say(f->owner->c, "%s goes on", f->a->id);
	}
}

static void do_pause(struct fault *f)
{
	f->a = any(f->owner->c);
	if (!f->a->running)
		return;
	f->incarnation = f->a->incarnation;
	f->a->env.paused = true;
	sim_say(f->owner->c, "%s paused", f->a->id);
	undo_later(f, undo_pause, 10 * NS_PER_S);
}

static void undo_cut(struct fault *f)
{
	fake_net_cut(f->owner->c->net, f->a->address, f->b->address, false);
	sim_say(f->owner->c, "%s and %s reach each other again", f->a->id, f->b->id);
}

static void do_cut(struct fault *f)
{
	f->a = any(f->owner->c);
	f->b = any(f->owner->c);
	if (f->a == f->b)
		return;
	fake_net_cut(f->owner->c->net, f->a->address, f->b->address, true);
	sim_say(f->owner->c, "%s and %s cut off", f->a->id, f->b->id);
	undo_later(f, undo_cut, 8 * NS_PER_S);
}

static void undo_silence(struct fault *f)
{
	fake_net_silence(f->owner->c->net, f->a->address, f->b->address, false);
	sim_say(f->owner->c, "%s and %s hear each other again", f->a->id, f->b->id);
}

/* Packets vanish: what is sent seems to leave, and nobody is told. */
static void do_silence(struct fault *f)
{
	f->a = any(f->owner->c);
	f->b = any(f->owner->c);
	if (f->a == f->b)
		return;
	fake_net_silence(f->owner->c->net, f->a->address, f->b->address, true);
	sim_say(f->owner->c, "silence between %s and %s", f->a->id, f->b->id);
	undo_later(f, undo_silence, 15 * NS_PER_S);
}

static void do_reset(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	fake_net_reset(c->net, any(c)->address, any(c)->address);
}

static void undo_db_down(struct fault *f)
{
	fake_db_set_down(f->owner->c->db, false);
	sim_say(f->owner->c, "database up");
}

static void do_db_down(struct fault *f)
{
	sim_say(f->owner->c, "database down");
	fake_db_set_down(f->owner->c->db, true);
	undo_later(f, undo_db_down, 4 * NS_PER_S);
}

static void undo_db_cut(struct fault *f)
{
	if (f->a->running && f->a->incarnation == f->incarnation)
		fake_store_cut(f->a->store, false);
	sim_say(f->owner->c, "%s reaches the database again", f->a->id);
}

static void do_db_cut(struct fault *f)
{
	f->a = any(f->owner->c);
	if (!f->a->running)
		return;
	f->incarnation = f->a->incarnation;
	sim_say(f->owner->c, "%s cut off from the database", f->a->id);
	fake_store_cut(f->a->store, true);
	undo_later(f, undo_db_cut, 6 * NS_PER_S);
}

static void do_commit_fate(struct fault *f)
{
	static const enum fake_fate fates[] = {FAKE_FATE_FAIL, FAKE_FATE_UNKNOWN_APPLIED, FAKE_FATE_UNKNOWN_LOST,
					       FAKE_FATE_UNKNOWN_LATE};
	struct sim_cluster *c = f->owner->c;
	f->a = any_history(c);
	uint64_t i = fake_world_below(&c->world, array_len(fates));
	if (!f->a->running)
		return;
	sim_say(c, "%s: its next commit has fate %d", f->a->id, (int)fates[i]);
	fake_store_next_commit(f->a->store, fates[i]);
}

static void do_lose_writer(struct fault *f)
{
	f->a = any_history(f->owner->c);
	if (!f->a->running)
		return;
	sim_say(f->owner->c, "%s loses its writer's connection", f->a->id);
	fake_store_lose_writer(f->a->store);
}

/* ------------------------------------------------------------------ ends and beginnings */

static void do_drain(struct fault *f)
{
	sim_node_drain(any(f->owner->c));
}

/* Starts and dies, again and again. */
static void undo_loop(struct fault *f)
{
	if (f->a->running)
		sim_node_kill(f->a);
	else
		sim_node_start(f->a);
	if (--f->left > 0)
		undo_later(f, undo_loop, NS_PER_S);
	else
		undo_later(f, undo_kill, NS_PER_S);
}

static void do_loop(struct fault *f)
{
	f->a = any(f->owner->c);
	f->left = 3 + (int)fake_world_below(&f->owner->c->world, 6);
	sim_say(f->owner->c, "%s begins and ends %d times", f->a->id, f->left);
	undo_loop(f);
}

/* Of one kind, all at once. */
static void do_kill_all(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	enum sim_role role = any(c)->role;
	for (size_t i = 0; i < c->node_count; i++) {
		if (c->nodes[i].role != role || !c->nodes[i].running)
			continue;
		sim_node_kill(&c->nodes[i]);
		env_timer_start(&c->env.env, &c->nodes[i].exit, (int64_t)fake_world_below(&c->world, 4000) * NS_PER_MS);
	}
}

/* ------------------------------------------------------------------ what operators do */

static void undo_tell(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	sim_say(c, "%s is told to work again", f->a->id);
	fake_db_tell_to_drain(c->db, f->a->id, false);
}

/* It stays as it is over restarts, if its turn to be told otherwise doesn't come before. */
static void do_tell(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	f->a = any(c);
	sim_say(c, "%s is told to drain", f->a->id);
	fake_db_tell_to_drain(c->db, f->a->id, true);
	undo_later(f, undo_tell, 8 * NS_PER_S);
}

static void pin(struct sim_cluster *c)
{
	uint32_t shard = (uint32_t)fake_world_below(&c->world, SIM_SHARDS);
	const char *to = fake_world_below(&c->world, 3) ? any(c)->id : NULL; /* of another role now and then */
	sim_say(c, "shard %u is %s%s", shard, to ? "pinned to " : "not pinned any more", to ? to : "");
	fake_db_pin(c->db, shard, to);
}

static void undo_pins(struct fault *f)
{
	pin(f->owner->c);
	if (--f->left > 0)
		undo_later(f, undo_pins, 2 * NS_PER_S);
}

/* Shards are moved about; some stay where they were put, also when all is healed. */
static void do_pins(struct fault *f)
{
	f->left = 1 + (int)fake_world_below(&f->owner->c->world, 6);
	undo_pins(f);
}

/* ------------------------------------------------------------------ slowness */

static void undo_slow_net(struct fault *f)
{
	fake_net_set_latency(f->owner->c->net, 100 * NS_PER_US, 100 * NS_PER_US);
	fake_net_set_notice(f->owner->c->net, NS_PER_MS, NS_PER_MS);
	sim_say(f->owner->c, "the network is fast again");
}

/* Messages take long, and so does the news of a connection's end. */
static void do_slow_net(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	static const int64_t most[] = {5 * NS_PER_MS, 50 * NS_PER_MS, 500 * NS_PER_MS};
	int64_t max = most[fake_world_below(&c->world, array_len(most))];
	fake_net_set_latency(c->net, 100 * NS_PER_US, max);
	fake_net_set_notice(c->net, NS_PER_MS, 4 * max);
	sim_say(c, "the network is slow: up to %lld ms", max / NS_PER_MS);
	undo_later(f, undo_slow_net, 5 * NS_PER_S);
}

static void undo_bad_db(struct fault *f)
{
	const struct fake_faults none = {.latency_min_ns = 100 * NS_PER_US, .latency_max_ns = 100 * NS_PER_US};
	fake_db_set_faults(f->owner->c->db, &none);
	sim_say(f->owner->c, "the database is well again");
}

/* Slow, with calls that fail, and commits that lose their connection. */
static void do_bad_db(struct fault *f)
{
	const struct fake_faults bad = {
		.latency_min_ns = 100 * NS_PER_US,
		.latency_max_ns = 20 * NS_PER_MS,
		.fail = 0.05,
		.lose_writer = 0.02,
		.stall = 0.05,
		.stall_ns = 700 * NS_PER_MS,
	};
	sim_say(f->owner->c, "the database is unwell");
	fake_db_set_faults(f->owner->c->db, &bad);
	undo_later(f, undo_bad_db, 5 * NS_PER_S);
}

/* A clock is set: later ones of the same node may be earlier. It stays so until the process begins again. */
static void do_set_clock(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	struct sim_node *n = any(c);
	n->env.wall_offset_ns = (int64_t)fake_world_below(&c->world, 2 * SIM_CLOCK_OFF_NS) - SIM_CLOCK_OFF_NS;
	sim_say(c, "%s: its clock is off by %lld ms", n->id, (long long)n->env.wall_offset_ns / NS_PER_MS);
}

static void do_reset_one_way(struct fault *f)
{
	struct sim_cluster *c = f->owner->c;
	fake_net_reset_one_way(c->net, any(c)->address, any(c)->address);
}

static void (*const kinds[])(struct fault *f) = {
	do_kill,    do_kill,	 do_kill,	 do_pause,	  do_cut,	   do_reset, do_reset_one_way,
	do_db_down, do_db_cut,	 do_commit_fate, do_commit_fate,  do_lose_writer,  do_drain, do_drain,
	do_loop,    do_kill_all, do_slow_net,	 do_bad_db,	  do_set_clock,	   do_tell,  do_tell,
	do_pins,    do_pins,	 do_silence,	 do_kill_handing, do_kill_handing,
};

static void on_fault(struct env_timer *t)
{
	struct fault *f = container_of(t, struct fault, timer);
	if (f->owner->healed)
		return;
	if (f->undo) {
		void (*undo)(struct fault *) = f->undo;
		f->undo = NULL;
		undo(f);
		return;
	}
	kinds[fake_world_below(&f->owner->c->world, array_len(kinds))](f);
}

struct sim_faults *sim_faults_new(struct sim_cluster *c, int count, int64_t span_ns)
{
	struct sim_faults *s = new0(struct sim_faults);
	s->c = c;
	s->count = count < FAULTS_MAX ? count : FAULTS_MAX;
	fake_env_init(&s->env, &c->world);
	for (int i = 0; i < s->count; i++) {
		s->faults[i].owner = s;
		s->faults[i].timer.fn = on_fault;
		env_timer_start(&s->env.env, &s->faults[i].timer,
				(int64_t)fake_world_below(&c->world, (uint64_t)span_ns));
	}
	return s;
}

void sim_faults_heal(struct sim_faults *s)
{
	s->healed = true;
	for (int i = 0; i < s->count; i++) {
		s->faults[i].left = 1;
		if (s->faults[i].undo)
			s->faults[i].undo(&s->faults[i]);
	}
	for (size_t i = 0; i < s->c->node_count; i++)
		if (!s->c->nodes[i].running)
			sim_node_start(&s->c->nodes[i]);
	for (size_t i = 0; i < s->c->node_count; i++)
		s->c->nodes[i].env.paused = false;
	sim_say(s->c, "healed");
}

void sim_faults_free(struct sim_faults *s)
{
	fake_env_done(&s->env);
	free(s);
}
