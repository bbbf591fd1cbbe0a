"""What growth.py measures: tables, indexes, WAL, statistics of PostgreSQL, memory of all processes."""

import json
import re
import subprocess
from pathlib import Path

MB = 1 << 20
PARTITION = re.compile(r"^(closed_run|closed_history)_\d.*$")

# Sizes of all tables (main, indexes, toast); those of the catalogue as one.
SIZES = """
SELECT json_agg(t) FROM (
  SELECT CASE WHEN n.nspname = 'pg_catalog' THEN 'catalogue' ELSE c.relname END AS name,
    sum(pg_relation_size(c.oid)) AS main, sum(pg_indexes_size(c.oid)) AS indexes,
    sum(CASE WHEN c.reltoastrelid = 0 THEN 0 ELSE pg_total_relation_size(c.reltoastrelid) END) AS toast
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname IN ('public', 'pg_catalog') GROUP BY 1) t
"""
ACTIVITY = """
SELECT json_agg(t) FROM (
  SELECT coalesce(p.relname || ' (toast)', s.relname) AS name, s.n_tup_ins AS ins, s.n_tup_upd AS upd,
    s.n_tup_hot_upd AS hot, s.n_tup_del AS del, s.vacuum_count + s.autovacuum_count AS vacuums,
    s.n_dead_tup AS dead, s.n_live_tup AS live
  FROM pg_stat_all_tables s LEFT JOIN pg_class p ON p.reltoastrelid = s.relid
  WHERE s.schemaname IN ('public', 'pg_toast')) t
"""
OTHER = """
SELECT json_build_object(
  'wal_mb', (pg_current_wal_lsn() - '0/0'::pg_lsn) / 1048576.0,
  'pg_wal', (SELECT sum(size) FROM pg_ls_waldir()) / 1048576.0,
  'partitions', (SELECT count(*) FROM closed_partition),
  'partitioned', (SELECT count(*) FROM pg_inherits),
  'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  'journal', (SELECT count(*) FROM journal), 'run', (SELECT count(*) FROM run),
  'checkpoints', (SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter),
  'oldest', (SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0) FROM pg_stat_activity
             WHERE backend_type = 'client backend'))
"""
# Of the indexes that stay: leaf density and the share of pages that are empty or deleted.
INDEXES = """
SELECT json_object_agg(c.relname, json_build_array(pg_relation_size(c.oid) / 1048576.0, s.avg_leaf_density,
  s.leaf_pages, s.empty_pages + s.deleted_pages))
FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = i.indrelid
CROSS JOIN LATERAL pgstatindex(c.oid::regclass) s
WHERE c.relkind = 'i' AND t.relname IN ('journal', 'run', 'backlog', 'history', 'node', 'shard', 'shard_checkpoint')
"""


def of_process(pid):
    """(PSS, anonymous memory) in MB."""
    found = {}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Pss", "Anonymous"):
                found[name] = int(rest.split()[0]) / 1024
    except OSError:
        pass  # it ended
    return found.get("Pss", 0), found.get("Anonymous", 0)


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Look:
    def __init__(self, cluster):
        status = cluster.status()
        self.daemons = {p["name"]: p["pid"] for p in status["processes"]}
        self.postgres = status["postgres"]["pid"]
        self.dsn = status["postgres"]["dsn"]
        self.ask("CREATE EXTENSION IF NOT EXISTS pgstattuple", parse=False)

    def ask(self, sql, parse=True):
        done = subprocess.run(["psql", "-X", "-A", "-t", "-q", "-d", self.dsn, "-c", sql], capture_output=True, text=True, check=True)
        return json.loads(done.stdout) if parse else None

    def sample(self):
        series = {}

        def add(group, name, value):
            series[group, name] = series.get((group, name), 0) + value

        for table in self.ask(SIZES):
            name = PARTITION.sub(r"\1 (all partitions)", table["name"])
            for part, title in (("main", ""), ("indexes", " indexes"), ("toast", " toast")):
                if table[part] > 16384:
                    add("tables MB", name + title, table[part] / MB)
        activity = {}
        for table in self.ask(ACTIVITY):
            if PARTITION.match(table["name"]):
                continue
            activity[table["name"]] = [table[key] for key in ("ins", "upd", "hot", "del", "vacuums")]
            if table["dead"] > 100:
                add("dead rows", table["name"], table["dead"])
        other = self.ask(OTHER)
        add("other MB", "pg_wal", other["pg_wal"])
        for name in ("partitions", "partitioned", "connections", "journal", "run"):
            add("counts", name, other[name])
        for name, pid in self.daemons.items():
            add("memory MB", name, of_process(pid)[0])
        backends = {pid: of_process(pid) for pid in children(self.postgres)}
        add("memory MB", "postgres, all (PSS)", of_process(self.postgres)[0] + sum(pss for pss, _ in backends.values()))
        add("memory MB", "postgres, largest backend (own)", max(own for _, own in backends.values()))
        return {"series": series, "activity": activity, "wal_mb": float(other["wal_mb"]), "checkpoints": other["checkpoints"]}

    def indexes(self):
        return self.ask(INDEXES)
