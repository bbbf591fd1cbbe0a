-- Settings that are changed while the cluster runs, for all its daemons; they come on top of each daemon's own.

CREATE TABLE cluster_setting (
	scope      text COLLATE "C" NOT NULL DEFAULT '', -- '': the whole cluster; a namespace's id is for later
	name       text COLLATE "C" NOT NULL,
	value      text NOT NULL,                        -- as it would stand in the file
	changed_ns bigint NOT NULL,
	changed_by text NOT NULL,
	PRIMARY KEY (scope, name)
);

-- Every change there was.
CREATE TABLE cluster_setting_change (
	id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	scope      text COLLATE "C" NOT NULL DEFAULT '',
	name       text COLLATE "C" NOT NULL,
	old_value  text,          -- NULL: it was not set
	new_value  text,          -- NULL: it is not set any more
	changed_ns bigint NOT NULL,
	changed_by text NOT NULL,
	why        text NOT NULL DEFAULT ''
);
CREATE INDEX cluster_setting_change_name ON cluster_setting_change (name, id);
