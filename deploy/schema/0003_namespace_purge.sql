-- How far the removal of what a deleted namespace held has come, in each shard; leaves with the namespace's row.
CREATE TABLE namespace_purge (
	namespace_id text COLLATE "C" NOT NULL,
	shard_id     integer NOT NULL,
	removed      bigint  NOT NULL, -- runs, so far
	done         boolean NOT NULL,
	updated_ns   bigint  NOT NULL,
	PRIMARY KEY (namespace_id, shard_id)
) WITH (fillfactor = 50);
