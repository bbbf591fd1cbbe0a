-- What operators decide about placement. Nodes read both with the renewal of their rows, and renew at once when they
-- hear of a change, whoever made it. Programs that don't know these tables place by hashing alone, as before.

-- A shard that goes to this node for as long as it lives and doesn't drain, whatever hashing says.
CREATE TABLE shard_pin (
	shard_id integer PRIMARY KEY,
	node_id  text COLLATE "C" NOT NULL,
	set_by   text NOT NULL DEFAULT '',
	set_at   timestamptz NOT NULL DEFAULT now()
);

-- Nodes that are told to drain. Not a column of node, whose row ends with the process: a node that starts again finds
-- that it is still meant to stay without work.
CREATE TABLE node_drain (
	node_id text COLLATE "C" PRIMARY KEY,
	set_by  text NOT NULL DEFAULT '',
	set_at  timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION placement_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NOTIFY perdure, 'nodes';
	RETURN NULL;
END
$$;
CREATE TRIGGER announce AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON shard_pin
	FOR EACH STATEMENT EXECUTE FUNCTION placement_changed();
CREATE TRIGGER announce AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON node_drain
	FOR EACH STATEMENT EXECUTE FUNCTION placement_changed();
