/*
 * perdure-history: owns shards, decides what workflows do next, and keeps it.
 */
#ifndef SERVICES_HISTORY_HISTORY_H
#define SERVICES_HISTORY_HISTORY_H

#include "common/daemon/daemon.h"
#include "common/namespaces/namespaces.h"
#include "common/relay/relay.h"
#include "common/tz/tz_db.h"
#include "services/history/known/known.h"
#include "services/history/purge/purge.h"
#include "services/history/shard/shard.h"
#include "services/history/upkeep.h"

extern const struct daemon_spec history_daemon;

struct history_config {
	const char *node_id;
	uint64_t incarnation;
	uint32_t shard_count;
	int64_t cache_bytes_max;
	int64_t known_bytes_max;	  /* of the filters of workflow ids */
	int64_t checkpoint_interval_ns;	  /* dirty runs are folded at least this often */
	int64_t checkpoint_journal_bytes; /* … or when this much journal has gathered in a shard */
	int64_t lookahead_ns;		  /* runs due within it are in memory */
	int64_t idle_evict_ns;		  /* a clean run unused for so long leaves memory */
	int64_t offer_again_ns;		  /* an unstarted task is offered again after */
	int64_t takeover_grace_ns;
	int64_t long_poll_max_ns;
	int64_t lease_ns;	      /* of everybody's membership */
	bool alone;		      /* every earlier process of this node is known to be dead (its lock is ours) */
	int64_t upkeep_interval_ns;   /* of closed runs' partitions */
	int64_t purge_grace_ns;	      /* after which a deleted namespace is emptied … */
	int64_t names_age_max_ns;     /* … because nobody goes by what it knew of namespaces for longer than this */
	int64_t default_retention_ns; /* of a namespace that is not (or no longer) known */
	struct core_config core;
};

/* Totals since the start, for metrics (measure.c). */
struct history_counts {
	uint64_t commits_failed, journal_bytes, shards_claimed, shards_lost, timers_fired;
};

struct start;

/* The service, over interfaces only, so that the simulation can run it. */
struct history {
	struct env *env;
	struct rpc *rpc;
	struct store *store;
	struct membership *membership;
	struct namespaces *namespaces;
	struct log *log;
	struct tz_db *zones; /* of cron schedules */
	struct history_config config;
	struct shard **shards; /* shard_count */
	struct committer *committer;
	struct dispatch *dispatch;
	struct upkeep *upkeep;
	struct relay *relay; /* makes edges' calls to other history nodes that they can't reach */
	struct purge *purge;
	struct known *known;   /* which workflow ids the database may know */
	struct arena *scratch; /* internal transitions; reset by each */
	int64_t cache_bytes;
	uint64_t last_run_serial;
	int64_t runs_aside;	      /* that the database refuses to take */
	uint64_t evicted, trimmed_at; /* runs that left memory, in all and when it was last given back */
	struct env_timer tend;	      /* ownership */
	int64_t began_ns;	      /* monotonic */
	struct start *starts;	      /* of tasks, not answered yet: by request id */
	bool draining;
	bool reading_shards;
	int64_t shards_read_ns; /* monotonic */
	void (*drained)(void *ctx);
	void *drained_ctx;
	/* counters for metrics */
	uint64_t commits, committed_transitions, folds, offers, loads;
	struct history_counts counts;
	struct history_measures *measures; /* NULL: nobody measures; owned by whoever set it */
};

/* Nothing is owned by it: env, rpc, store, membership, namespaces, log outlive it. Registers its rpc methods. */
struct history *history_new(struct env *env, struct rpc *rpc, struct store *store, struct membership *membership,
			    struct namespaces *namespaces, struct log *log, const struct history_config *config);
/* Other limits and times, from the next use on; node id, incarnation and shard count stay as they are. */
void history_configure(struct history *h, const struct history_config *config);
/* Hands every shard over, then calls drained. */
void history_drain(struct history *h, void (*drained)(void *ctx), void *ctx);
void history_free(struct history *h);
/* All shards that the map gives us are serving. */
bool history_ready(const struct history *h);
void history_config_defaults(struct history_config *c);

struct shard *history_shard_of(struct history *h, const char *namespace_id, const char *workflow_id);

/* Registration of rpc methods, one file each in api/. */
void history_serve_calls(struct history *h);
void history_serve_start_task(struct history *h);
void history_serve_take_back(struct history *h);
/* The start of a task under that request id is known to have been answered to nobody: it is offered anew. */
void history_take_back(struct history *h, const Perdure__DispatchTask *task, const char *request_id);
void history_starts_forget(struct history *h);

#endif
