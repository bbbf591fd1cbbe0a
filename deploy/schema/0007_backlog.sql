-- Tasks that nobody has taken, of runs that are folded: the only time that a task is written down. A row is written and
-- removed by the folds of its shard. Its key is the order in which matching pulls the tasks of a queue from a shard.
CREATE TABLE backlog (
	shard_id        integer NOT NULL,
	namespace_id    text COLLATE "C" NOT NULL,
	task_queue      text COLLATE "C" NOT NULL,
	kind            integer NOT NULL, -- perdure.TaskKind
	priority        integer NOT NULL, -- 1 comes first
	scheduled       bigint  NOT NULL, -- its age
	run_id          text COLLATE "C" NOT NULL,
	event_id        bigint  NOT NULL,
	stamp           bigint  NOT NULL,
	workflow_id     text COLLATE "C" NOT NULL,
	attempt         integer NOT NULL,
	expires         bigint  NOT NULL, -- 0: never
	fairness_key    text COLLATE "C" NOT NULL,
	fairness_weight integer NOT NULL, -- thousandths
	version         text COLLATE "C" NOT NULL DEFAULT '', -- of workers that may take it
	PRIMARY KEY (shard_id, namespace_id, task_queue, kind, priority, scheduled, run_id, event_id, stamp)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- The run's rows in backlog are right as of this applied_seq. A program that doesn't know of them leaves it behind.
ALTER TABLE run ADD COLUMN listed_seq bigint;
