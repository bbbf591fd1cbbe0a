-- The widest that a partition of closed runs is for an ordinary retention becomes a setting; see 0002.

DROP FUNCTION closed_partitions_ensure(bigint, bigint, bigint);

-- Makes partitions until `until_ns` is covered and answers what is. Made aside and attached, which needs no lock that a
-- reader or a writer would wait for.
--
-- How wide a new one is: a third of the time until `until_ns`, at least an hour and at most `width_most` (which may be
-- less than an hour), so that a constant retention settles at four partitions or at ones of that width. With the time
-- ahead of it and with their number they widen: at most 32 exist, whatever is asked for in whatever order. A far end is
-- reached in steps that grow by a constant factor, so that runs with a short retention aren't kept for years because
-- others are.
CREATE FUNCTION closed_partitions_ensure(until_ns bigint, now_ns bigint, width_most bigint DEFAULT 86400000000000,
					 OUT from_ns bigint, OUT to_ns bigint)
LANGUAGE plpgsql AS $$
DECLARE
	most   constant bigint := 20000 * 86400000000000;
	n      integer;
	ahead  bigint;
	unit   bigint := greatest(least(width_most, 3600000000000), 1000000000);
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
		to_ns := now_ns / unit * unit;
		from_ns := to_ns;
	END IF;
	WHILE to_ns <= until_ns LOOP
		ahead := greatest(to_ns - now_ns, 0);
		width := greatest(least((until_ns - now_ns) / 3, width_most), unit);
		width := greatest(width, CASE WHEN n < 28 THEN ahead / (30 - n) ELSE 2 * least(ahead, most) END);
		IF ahead > 0 THEN
			width := greatest(width, (ahead * (power((until_ns - now_ns)::float8 / ahead,
								 1.0 / greatest(26 - n, 1)) - 1))::bigint);
		END IF;
		width := (width + unit - 1) / unit * unit;
		suffix := to_char(to_timestamp(to_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYYMMDD"_"HH24MISS');
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
