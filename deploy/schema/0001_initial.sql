-- The database of Perdure. Applied by 'perdurectl schema migrate', each file in a transaction of its own, under an
-- advisory lock. A file that has been released is never changed: the next number changes what it made.
--
-- Ids are text, compared byte by byte (COLLATE "C"). Times are nanoseconds since the Unix epoch. Incarnations are
-- unsigned 64 bits, kept as the signed number of the same bits.

-- ------------------------------------------------------------------ the cluster

CREATE TABLE cluster (
	only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
	cluster_id  text   NOT NULL,
	shard_count integer NOT NULL CHECK (shard_count > 0),
	created_ns  bigint NOT NULL
);

-- A row a process, updated every second: kept on pages with room, so that no index is touched.
CREATE TABLE node (
	node_id      text COLLATE "C" PRIMARY KEY,
	role         text    NOT NULL,
	address      text    NOT NULL,
	http_address text    NOT NULL,
	version      text    NOT NULL,
	incarnation  bigint  NOT NULL,
	renewals     bigint  NOT NULL,
	draining     boolean NOT NULL,
	dead         boolean NOT NULL,
	renewed_at   timestamptz NOT NULL -- for people; nothing is decided by it
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- ------------------------------------------------------------------ shards

-- The fence: every write derived from a shard locks its row FOR SHARE at its epoch; a claim updates it. Nothing that
-- changes with each commit may live here, an update would wait for (and stall) the commits.
CREATE TABLE shard (
	shard_id             integer PRIMARY KEY,
	epoch                bigint NOT NULL DEFAULT 0,
	owner_node_id        text COLLATE "C",
	owner_incarnation    bigint,
	writer_pid           integer,     -- the backend of the owner's writer, which a claimer terminates
	writer_backend_start timestamptz
) WITH (fillfactor = 50);

-- The journal up to here is folded into the rows below, and deleted.
CREATE TABLE shard_checkpoint (
	shard_id       integer PRIMARY KEY,
	checkpoint_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- What shards committed. Records stay in the row up to a page, longer ones go out of line uncompressed: they live
-- for seconds.
CREATE TABLE journal (
	shard_id integer NOT NULL,
	seq      bigint  NOT NULL,
	epoch    bigint  NOT NULL,
	record   bytea   NOT NULL,
	PRIMARY KEY (shard_id, seq)
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
	autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 1000000);
ALTER TABLE journal ALTER COLUMN record SET STORAGE EXTERNAL;

-- Refuses (SQLSTATE PD001) unless the shard is at that epoch, and keeps it there until the transaction ends.
CREATE FUNCTION shard_fence(fenced_shard integer, expected_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM shard WHERE shard_id = fenced_shard AND epoch = expected_epoch FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'shard % is not at epoch %', fenced_shard, expected_epoch USING ERRCODE = 'PD001';
	END IF;
END
$$;

-- ------------------------------------------------------------------ open runs

-- Runs that are open, and closed ones that still have something to send.
CREATE TABLE run (
	shard_id      integer NOT NULL,
	namespace_id  text COLLATE "C" NOT NULL,
	workflow_id   text COLLATE "C" NOT NULL,
	run_id        text COLLATE "C" NOT NULL,
	start_seq     bigint  NOT NULL, -- orders the runs of a workflow id
	applied_seq   bigint  NOT NULL, -- journal seq that the snapshot includes
	open          boolean NOT NULL,
	outbound      boolean NOT NULL,
	status        integer NOT NULL,
	wake_at       bigint  NOT NULL, -- earliest deadline; the largest number: none
	start_time    bigint  NOT NULL,
	close_time    bigint  NOT NULL,
	retention_end bigint  NOT NULL, -- 0: open
	snapshot      bytea   NOT NULL, -- perdure.RunSnapshot
	PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id)
) WITH (fillfactor = 85, toast_tuple_target = 4080, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE run ALTER COLUMN snapshot SET STORAGE EXTERNAL;
CREATE INDEX run_wake ON run (shard_id, wake_at, run_id) WHERE wake_at < 9223372036854775807;
CREATE INDEX run_outbound ON run (shard_id, wake_at, run_id) WHERE outbound;

-- Their events, a chunk a fold.
CREATE TABLE history (
	shard_id       integer NOT NULL,
	namespace_id   text COLLATE "C" NOT NULL,
	workflow_id    text COLLATE "C" NOT NULL,
	run_id         text COLLATE "C" NOT NULL,
	first_event_id bigint NOT NULL,
	last_event_id  bigint NOT NULL,
	events         bytea  NOT NULL, -- temporal.api.history.v1.History, encoded
	PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, first_event_id)
) WITH (toast_tuple_target = 4080, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE history ALTER COLUMN events SET STORAGE EXTERNAL;

-- ------------------------------------------------------------------ closed runs

-- One compact row a run, in the partition of the time in which its retention ends: retention is dropping a
-- partition. codec: bit 0, the snapshot is compressed (zstd); bit 1, the history is. A history too long for the row
-- is in closed_history, and history_last is 0 here.
CREATE TABLE closed_run (
	shard_id      integer NOT NULL,
	namespace_id  text COLLATE "C" NOT NULL,
	workflow_id   text COLLATE "C" NOT NULL,
	run_id        text COLLATE "C" NOT NULL,
	start_seq     bigint  NOT NULL,
	applied_seq   bigint  NOT NULL,
	status        integer NOT NULL,
	codec         integer NOT NULL,
	start_time    bigint  NOT NULL,
	close_time    bigint  NOT NULL,
	retention_end bigint  NOT NULL,
	history_last  bigint  NOT NULL,
	snapshot      bytea   NOT NULL,
	history       bytea   NOT NULL,
	PRIMARY KEY (shard_id, namespace_id, workflow_id, start_seq, run_id, retention_end)
) PARTITION BY RANGE (retention_end);
ALTER TABLE closed_run ALTER COLUMN snapshot SET STORAGE EXTERNAL, ALTER COLUMN history SET STORAGE EXTERNAL;

CREATE TABLE closed_history (
	shard_id       integer NOT NULL,
	namespace_id   text COLLATE "C" NOT NULL,
	workflow_id    text COLLATE "C" NOT NULL,
	run_id         text COLLATE "C" NOT NULL,
	first_event_id bigint  NOT NULL,
	last_event_id  bigint  NOT NULL,
	codec          integer NOT NULL, -- 1: zstd
	retention_end  bigint  NOT NULL,
	events         bytea   NOT NULL,
	PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, first_event_id, retention_end)
) PARTITION BY RANGE (retention_end);
ALTER TABLE closed_history ALTER COLUMN events SET STORAGE EXTERNAL;

-- The partitions that exist: closed_run_<suffix> and closed_history_<suffix>.
CREATE TABLE closed_partition (
	suffix  text PRIMARY KEY,
	from_ns bigint NOT NULL,
	to_ns   bigint NOT NULL
);

-- Makes partitions until `until_ns` is covered and answers what is. Made aside and attached, which needs no lock that a
-- reader or a writer would wait for.
--
-- At most 32 exist, whatever is asked for in whatever order: one is as wide as a day or a share of the time ahead,
-- whichever is more, and the share grows with their number, up to where the time ahead triples. A constant retention
-- settles at about 15 partitions, so runs are kept at most a fifteenth longer than they must.
CREATE FUNCTION closed_partitions_ensure(until_ns bigint, now_ns bigint, OUT from_ns bigint, OUT to_ns bigint)
LANGUAGE plpgsql AS $$
DECLARE
	day    constant bigint := 86400000000000;
	n      integer;
	ahead  bigint;
	width  bigint;
	suffix text;
	parent text;
BEGIN
	SELECT min(p.from_ns), max(p.to_ns) INTO from_ns, to_ns FROM closed_partition p;
	IF to_ns > until_ns THEN
		RETURN;
	END IF;
	PERFORM pg_advisory_xact_lock(7237, 2);
	SELECT min(p.from_ns), max(p.to_ns), count(*) INTO from_ns, to_ns, n FROM closed_partition p;
	IF to_ns IS NULL THEN
		to_ns := now_ns / day * day;
		from_ns := to_ns;
	END IF;
	WHILE to_ns <= until_ns LOOP
		ahead := greatest(to_ns - now_ns, 0);
		width := greatest(CASE WHEN n < 28 THEN ahead / (30 - n) ELSE 2 * ahead END,
				  (until_ns - to_ns) / greatest(26 - n, 1));
		width := greatest((width + day - 1) / day, 1) * day;
		suffix := to_char(to_timestamp(to_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYYMMDD');
		FOREACH parent IN ARRAY ARRAY['closed_run', 'closed_history'] LOOP
			EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (toast_tuple_target = 4080)',
				       parent || '_' || suffix, parent);
			EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent,
				       parent || '_' || suffix, to_ns, to_ns + width);
		END LOOP;
		INSERT INTO closed_partition VALUES (suffix, to_ns, to_ns + width);
		to_ns := to_ns + width;
		n := n + 1;
	END LOOP;
END
$$;

-- ------------------------------------------------------------------ namespaces

CREATE TABLE namespace (
	id      text COLLATE "C" PRIMARY KEY,
	name    text COLLATE "C" NOT NULL UNIQUE,
	version bigint NOT NULL, -- grows with every change
	info    bytea  NOT NULL  -- perdure.NamespaceRecord
);
