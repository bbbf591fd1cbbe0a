#!/usr/bin/env python3
"""What a workflow, an open poll, a sleeping run and an idle daemon cost: the figures behind deploy/guide/sizing.md.

    python3 tests/deploy/capacity.py [--total 2000] [--polls 10000] [--sleepers 10000] [--no-build] [--json]

Starts clusters of its own with tools/up (PostgreSQL with fsync, synchronous commit), drives them with the load
generator of tests/bench and prints a table. CPU and bytes are counted, not timed, so a busy machine changes them little;
rates are not reported, for it changes those a lot. Takes about five minutes.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOAD = ROOT / "tests" / "bench" / "load"
TICKS = os.sysconf("SC_CLK_TCK")
IDLE_S = 20
CALM_S = 20  # after the start
SETTLE_S_MAX = 180  # for folding and leaving memory


class Cluster:
    """A cluster of tools/up with one process a role, and what its processes use."""

    def __init__(self, data, settings, build):
        port = str(random.randrange(20000, 30000, 100))
        command = [ROOT / "tools" / "up", "--detach", "--data", data, "--port", port]
        command += [part for setting in settings for part in ("--set", setting)]
        subprocess.run(command if build else [*command, "--no-build"], check=True, stdout=sys.stderr)
        status = json.loads(subprocess.check_output([ROOT / "tools" / "status", "--data", data, "--json"]))
        self.pids = {p["role"]: p["pid"] for p in status["processes"]}
        self.grpc = {p["role"]: p["grpc"] for p in status["processes"]}
        self.postgres = status["postgres"]["pid"]
        self.dsn = status["postgres"]["dsn"]

    def sql(self, query):
        """The rows of a query, each a list of texts."""
        done = subprocess.run(["psql", "-X", "-A", "-t", "-F", "\t", "-c", query, self.dsn], capture_output=True,
                              text=True, check=True)  # fmt: skip
        return [line.split("\t") for line in done.stdout.splitlines()]

    def number(self, query):
        return float(self.sql(query)[0][0] or 0)

    def load(self, *arguments):
        return [self.program, "-target", self.grpc["frontend"], "-polls", self.grpc["worker_gateway"], *arguments]

    def cpu(self):
        """CPU seconds so far, by role, PostgreSQL with all its backends."""
        used = {role: cpu_of(pid) for role, pid in self.pids.items()}
        return {**used, "postgres": sum(cpu_of(pid) for pid in [self.postgres, *children(self.postgres)])}

    def resident(self):
        return {role: resident_mb(pid) for role, pid in self.pids.items()}


def fields(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_of(pid):
    """With the children that have ended: PostgreSQL's backends come and go."""
    found = fields(pid)
    return sum(int(found[i]) for i in (11, 12, 13, 14)) / TICKS if found else 0


def children(pid):
    every = ((int(entry.name), fields(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [child for child, found in every if found and int(found[1]) == pid]


def resident_mb(pid):
    """Memory of its own and of its files: what a container's limit counts."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0


@contextlib.contextmanager
def cluster(program, settings, build):
    data = tempfile.mkdtemp(prefix="perdure-capacity-")
    os.chmod(data, 0o755)
    try:
        made = Cluster(data, settings, build)
        made.program = program
        yield made
    finally:
        subprocess.run([ROOT / "tools" / "down", "--data", data], stdout=subprocess.DEVNULL)
        shutil.rmtree(data, ignore_errors=True)


def until(condition, what):
    deadline = time.monotonic() + SETTLE_S_MAX
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not so after {SETTLE_S_MAX} s: {what}")
        time.sleep(1)


def difference(after, before, divisor=1.0):
    return {name: (after[name] - before[name]) / divisor for name in after}


# ---------------------------------------------------------------- what is measured


def idle(c):
    time.sleep(CALM_S)
    queries = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    cpu, asked = c.cpu(), c.number(queries)
    time.sleep(IDLE_S)
    yield "resident, idle, MB", c.resident()
    yield "CPU, idle, ms a second", difference(c.cpu(), cpu, IDLE_S / 1000)
    yield "database transactions, idle, a second", {"all": (c.number(queries) - asked) / IDLE_S}
    rows = c.sql("SELECT application_name, count(*) FROM pg_stat_activity WHERE application_name LIKE 'perdure-%' GROUP BY 1")
    yield "database connections", {name.removeprefix("perdure-"): int(count) for name, count in rows}


def under_load(c, total):
    wal = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
    for flight in (1, 50, 200):
        count = total if flight > 1 else total // 10
        cpu, written = c.cpu(), c.number(wal)
        subprocess.run(c.load("-total", str(count), "-in-flight", str(flight), "-pollers", "100"), check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        name = f"{flight} in flight"
        yield f"CPU a workflow, {name}, ms", difference(c.cpu(), cpu, count / 1000)
        yield f"WAL a workflow, {name}, bytes", {"all": (c.number(wal) - written) / count}
    yield "resident, after the load, MB", c.resident()


CLOSED = "SELECT count(*), coalesce(sum(pg_column_size(c.*)), 0) FROM closed_run c"


def closed(c, total):
    started = total * 2 + total // 10
    until(lambda: c.number("SELECT count(*) FROM closed_run") >= started, "all closed runs are folded")
    until(lambda: c.number("SELECT count(*) FROM journal") < total / 10, "the journal is trimmed")
    runs, size = (float(value) for value in c.sql(CLOSED)[0])
    disk = c.number("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('closed_run')")
    yield "a closed run's row, bytes", {"row": size / runs, "on disk with its index": disk / runs}


def five_activities(c, total):
    """What further activities of a workflow add."""
    count = total // 4
    cpu, before = c.cpu(), [float(value) for value in c.sql(CLOSED)[0]]
    subprocess.run(c.load("-total", str(count), "-in-flight", "50", "-pollers", "100", "-steps", "5"), check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    yield "CPU a workflow of five activities, ms", difference(c.cpu(), cpu, count / 1000)
    until(lambda: c.number("SELECT count(*) FROM closed_run") >= before[0] + count, "all closed runs are folded")
    yield "its closed run's row, bytes", {"row": (float(c.sql(CLOSED)[0][1]) - before[1]) / count}


def open_polls(c, polls):
    before = c.resident()
    command = c.load("-total", "1", "-in-flight", "1", "-pollers", str(polls // 2), "-timer", "40s", "-steps", "1")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as load:
        time.sleep(15)
        cpu, now = c.cpu(), c.resident()
        time.sleep(IDLE_S)
        yield f"resident with {polls} open polls, MB", now
        yield "an open poll, KB", difference(now, before, polls / 1024)
        yield f"CPU with {polls} open polls, ms a second", difference(c.cpu(), cpu, IDLE_S / 1000)
        load.wait()


def connections(c, count):
    """Connections that say hello and nothing else, to the worker-gateway."""
    host, _, port = c.grpc["worker_gateway"].partition(":")
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # the preface, empty SETTINGS
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    before = c.resident()["worker_gateway"]
    made = []
    for _ in range(count):
        made.append(socket.create_connection((host, int(port))))
        made[-1].sendall(hello)
    for one in made:
        one.recv(9)  # its SETTINGS: it has taken us in
    yield "an idle connection, KB", {"worker_gateway": (c.resident()["worker_gateway"] - before) * 1024 / count}
    for one in made:
        one.close()


def sleepers(c, count):
    before = c.resident()
    subprocess.run(c.load("-total", str(count), "-in-flight", "100", "-pollers", "100", "-steps", "0", "-timer", "24h"),
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    awake = c.resident()
    yield f"resident, {count} runs just gone to sleep, MB", awake
    yield "a run in memory, KB", {"history": (awake["history"] - before["history"]) * 1024 / count}
    until(lambda: c.number("SELECT count(*) FROM run WHERE open") >= count, "sleeping runs are folded")
    size = c.number("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ('run', 'history')")
    rows = c.number("SELECT count(*) FROM run") + c.number("SELECT count(*) FROM history")
    yield "a sleeping run", {"rows": rows / count, "bytes on disk with indexes": size / count}
    time.sleep(90)  # a run unused for a minute leaves memory
    yield f"resident, {count} runs asleep and cold, MB", c.resident()
    yield "the same, more than before they came, MB", difference(c.resident(), before)


def journal(c, total):
    subprocess.run(c.load("-total", str(total), "-in-flight", "50"), check=True, stdout=subprocess.DEVNULL)
    rows, size = (float(value) for value in c.sql("SELECT count(*), sum(length(record)) FROM journal")[0])
    yield "journal a workflow, 50 in flight", {"bytes": size / total, "rows": rows / total}


def measure(options):
    folder = tempfile.mkdtemp(prefix="perdure-capacity-load-")
    try:
        program = Path(folder) / "load"
        subprocess.run(["go", "build", "-o", program, "."], cwd=LOAD, check=True)
        with cluster(program, [], options.build) as c:
            yield from idle(c)
            yield from under_load(c, options.total)
            yield from closed(c, options.total)
            yield from five_activities(c, options.total)
            yield from open_polls(c, options.polls)
            yield from connections(c, options.connections)
            yield from sleepers(c, options.sleepers)
        # Nothing is folded here, so that the journal holds all that was written to it.
        with cluster(program, ["history.checkpoint_interval=1h"], False) as c:
            yield from journal(c, 500)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", type=int, default=2000, help="workflows of each load")
    parser.add_argument("--polls", type=int, default=10000)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--sleepers", type=int, default=10000)
    parser.add_argument("--no-build", dest="build", action="store_false")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {}
    for name, values in measure(options):
        results[name] = values
        if not options.json:
            print(f"{name:45}" + "  ".join(f"{key} {value:.2f}" for key, value in values.items()), flush=True)
    if options.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
