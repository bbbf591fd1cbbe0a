#!/usr/bin/env python3
"""What is over or deleted stays away and leaves the database, also when processes die; prints 'N passed, N failed'."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "oracle"), str(ROOT / "tests" / "fault"), str(ROOT / "tools" / "lib")]
from lib import bootstrap  # noqa: E402  (before anything that needs a package)
from cluster import PERDURECTL, build_dir  # noqa: E402

LATE_S = 10  # after a partition's end: the upkeep's interval, and what a busy machine takes
SLOW_S = 5  # a call that waits for a drop; without, one takes milliseconds, on a busy machine more
KEEP_S = 8  # the brief namespace's retention
PATIENCE_S = 60
SHARDS = 16
SETTINGS = {
    "namespaces.retention_min": "1s",
    "namespaces.refresh_interval": "1s",
    "history.partition_width": "5s",
    "history.upkeep_interval": "2s",
    "history.checkpoint_interval": "2s",
}
TABLES = ("run", "history", "closed_run", "closed_history", "namespace_purge")


class Failed(Exception):
    """What should be true is not."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


async def eventually(look, text, seconds=PATIENCE_S):
    """Waits until look() is true; looks several times a second."""
    end = time.monotonic() + seconds
    while not await look():
        expect(time.monotonic() < end, f"waited in vain: {text}")
        await asyncio.sleep(0.2)  # the pace of looking


class World:
    """The cluster and what the cases do with it."""

    def __init__(self, cluster):
        from lib.wire import Wire

        self.cluster = cluster
        self.wire = Wire(cluster.addresses()[0])
        self.dsn = cluster.status()["postgres"]["dsn"]

    async def call(self, method, request):
        """A call, repeated while a node is away; answers None for NOT_FOUND."""
        from lib.wire import Refused

        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await self.wire.call(method, request, timeout_s=10)
            except Refused as error:
                if error.code == "NOT_FOUND":
                    return None
                if error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or time.monotonic() > end:
                    raise

    async def register(self, name, retention_s):
        await self.call("RegisterNamespace", {"namespace": name, "workflow_execution_retention_period": f"{retention_s}s"})
        answer = await self.call("DescribeNamespace", {"namespace": name})
        return answer.namespace_info.id

    async def start(self, namespace, workflow_id):
        request = {
            "namespace": namespace,
            "workflow_id": workflow_id,
            "workflow_type": {"name": "kind"},
            "task_queue": {"name": "nobody"},
            "request_id": str(uuid.uuid4()),
        }
        return (await self.call("StartWorkflowExecution", request)).run_id

    async def end(self, namespace, workflow_id):
        await self.call(
            "TerminateWorkflowExecution",
            {"namespace": namespace, "workflow_execution": {"workflow_id": workflow_id}},
        )

    async def found(self, namespace, workflow_id, run_id=""):
        request = {"namespace": namespace, "execution": {"workflow_id": workflow_id, "run_id": run_id}}
        return await self.call("DescribeWorkflowExecution", request) is not None

    async def row(self, sql):
        """The numbers of one row."""
        command = ["psql", "-X", "-A", "-t", "-d", self.dsn, "-c", sql]
        done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await done.communicate()
        expect(done.returncode == 0, f"psql failed: {sql}")
        return [int(cell or 0) for cell in output.decode().strip().split("|")]

    async def rows(self, sql):
        return (await self.row(sql))[0]

    async def left(self, namespace_id):
        """Rows of a namespace over all tables."""
        counts = [await self.rows(f"SELECT count(*) FROM {t} WHERE namespace_id = '{namespace_id}'") for t in TABLES]
        return sum(counts)

    async def perdurectl(self, *arguments):
        """(exit code, what it says)."""
        command = [build_dir() / PERDURECTL, "--dsn", self.dsn, "--json", *arguments]
        pipe = asyncio.subprocess.PIPE
        done = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        output, _ = await done.communicate()
        return done.returncode, json.loads(output) if done.returncode == 0 else None

    async def progress(self, namespace_id):
        """What perdurectl says of a deleted namespace; None: it isn't there, or not deleted."""
        code, entries = await self.perdurectl("namespace", "list")
        expect(code == 0, "perdurectl namespace list failed")
        entries = [entry for entry in entries if entry["id"] == namespace_id and "shards_done" in entry]
        if not entries:
            return None
        code, shown = await self.perdurectl("namespace", "show", entries[0]["name"])
        expect(code != 0 or shown["shards_done"] >= entries[0]["shards_done"], "perdurectl namespace show says less than list")
        return entries[0]

    def kill_history(self):
        """kill -9 of one history node."""
        victim = next(p for p in self.cluster.status()["processes"] if p["role"] == "history" and p["pid"])
        os.kill(victim["pid"], signal.SIGKILL)

    async def restart(self):
        await asyncio.get_running_loop().run_in_executor(None, self.cluster.up)


class Probe:
    """Starts a workflow and reads a closed one, again and again; knows the slowest of both."""

    def __init__(self, world):
        self.world = world
        self.slowest = 0.0
        self.calls = 0

    async def __aenter__(self):
        self.prefix = f"probe-{uuid.uuid4().hex[:8]}"
        self.running = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def timed(self, call):
        began = time.monotonic()
        await call
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.calls += 1

    async def run(self):
        for number in range(1_000_000):
            await self.timed(self.world.start("default", f"{self.prefix}-{number}"))
            await self.world.end("default", f"{self.prefix}-{number}")
            await self.timed(self.world.found("default", f"{self.prefix}-{max(0, number - 100)}"))
            await asyncio.sleep(0.02)  # its pace


async def dropped_on_time(world, namespace_id):
    """Waits until closed runs are gone: not before the end of their retention, and soon after that of their partition."""
    of_theirs = f"FROM closed_run r JOIN closed_partition p ON r.retention_end >= p.from_ns AND r.retention_end < p.to_ns WHERE r.namespace_id = '{namespace_id}'"
    first = last = 0
    while True:
        count, ends, to = await world.row(f"SELECT count(*), coalesce(min(retention_end), 0), coalesce(max(to_ns), 0) {of_theirs}")
        now = time.time_ns()
        if not count and last:
            break
        first, last = max(first, ends), max(last, to)
        expect(now < last + LATE_S * 1e9 or not last, f"rows are there {(now - last) / 1e9:.1f} s after their partition's end")
        await asyncio.sleep(0.2)  # the pace of looking
    expect(now > first, "rows went before their retention was over")
    return (now - first) / 1e9


async def expiry(world):
    """Closed runs are found until their retention is over, and not after; then their rows go, and nobody waits for that."""
    name = f"brief-{uuid.uuid4().hex[:8]}"
    namespace_id = await world.register(name, KEEP_S)
    for i in range(20):
        await world.start(name, f"w{i}")
        await world.end(name, f"w{i}")
    ended = time.monotonic()
    for i in range(20):
        there = await world.found(name, f"w{i}")
        expect(there or time.monotonic() > ended, f"w{i} is gone already")
    await asyncio.sleep(max(0, ended + KEEP_S - time.monotonic()) + 0.5)  # what is tested is time itself
    for i in range(20):
        expect(not await world.found(name, f"w{i}"), f"w{i} is found though its retention is over")

    async def empty():
        return await world.left(namespace_id) == 0

    await eventually(empty, "the rows of expired runs to go", 4 * PATIENCE_S)
    for i in range(20):
        await world.start(name, f"x{i}")
        await world.end(name, f"x{i}")
    async with Probe(world) as probe:
        late = await dropped_on_time(world, namespace_id)
    expect(probe.slowest < SLOW_S, f"a call took {probe.slowest:.1f} s while partitions were dropped")
    return f"rows went {late:.1f} s after their retention; {probe.calls} calls meanwhile, the slowest took {probe.slowest * 1000:.0f} ms"


async def deletion(world):
    """What was acknowledged as deleted stays deleted through kill -9, and nothing else is."""
    ids = [f"d-{uuid.uuid4().hex[:8]}-{i}" for i in range(60)]
    runs = {}
    for number, workflow_id in enumerate(ids):
        runs[workflow_id] = await world.start("default", workflow_id)
        if number % 2:
            await world.end("default", workflow_id)
    deleted = ids[::3]
    for number, workflow_id in enumerate(deleted):
        if number == len(deleted) // 2:
            world.kill_history()
        execution = {"workflow_id": workflow_id, "run_id": runs[workflow_id]}
        await world.call("DeleteWorkflowExecution", {"namespace": "default", "workflow_execution": execution})
        for asked in (runs[workflow_id], ""):
            expect(not await world.found("default", workflow_id, asked), f"{workflow_id} is found after its deletion")
        read = {"namespace": "default", "execution": execution}
        expect(await world.call("GetWorkflowExecutionHistory", read) is None, f"{workflow_id} has a history after its deletion")
    world.kill_history()
    await world.restart()
    for workflow_id in ids:
        there = await world.found("default", workflow_id, runs[workflow_id])
        expect(there == (workflow_id not in deleted), f"{workflow_id} is {'found' if there else 'lost'}")
    names = ", ".join(f"'{runs[workflow_id]}'" for workflow_id in deleted)

    async def empty():
        counts = [await world.rows(f"SELECT count(*) FROM {t} WHERE run_id IN ({names})") for t in TABLES[:4]]
        return sum(counts) == 0

    await eventually(empty, "the rows of deleted runs to go")
    again = await world.start("default", deleted[0])
    expect(again != runs[deleted[0]], "the id of a deleted workflow is not free")


async def namespace(world):
    """Nothing of a deleted namespace is left, though a node dies while it is emptied."""
    name = f"gone-{uuid.uuid4().hex[:8]}"
    namespace_id = await world.register(name, 24 * 3600)
    for i in range(0, 300, 50):
        await asyncio.gather(*(world.start(name, f"w{k}") for k in range(i, i + 50)))
        await asyncio.gather(*(world.end(name, f"w{k}") for k in range(i, i + 50, 2)))

    async def folded():
        return await world.rows(f"SELECT count(*) FROM closed_run WHERE namespace_id = '{namespace_id}'") > 0

    await eventually(folded, "closed runs to be folded")
    await world.call("DeleteNamespace", {"namespace": name})
    progress = []
    over = asyncio.Event()

    async def watch():
        while not over.is_set():
            progress.append(await world.progress(namespace_id))
            await asyncio.sleep(0.05)  # the pace of looking

    watching = asyncio.create_task(watch())
    expect(not await world.found(name, "w1"), "a run of a deleted namespace is found")

    async def begun():
        return await world.rows(f"SELECT count(*) FROM namespace_purge WHERE namespace_id = '{namespace_id}'") > 0

    await eventually(begun, "the removal to begin")
    world.kill_history()
    await world.restart()

    async def empty():
        there = await world.rows(f"SELECT count(*) FROM namespace WHERE id = '{namespace_id}'")
        return there == 0 and await world.left(namespace_id) == 0

    try:
        await eventually(empty, "the deleted namespace to be gone", 2 * PATIENCE_S)
    finally:
        over.set()
        await watching
    seen = [entry for entry in progress if entry]
    expect(seen, "perdurectl showed nothing of the removal")
    done = [entry["shards_done"] for entry in seen]
    if SHARDS in done:
        done = done[: done.index(SHARDS) + 1]  # the notes leave with the record, between two reads of perdurectl
    expect(done == sorted(done), f"the removal went back: {done}")
    return f"perdurectl showed {len(set(done))} stages of the removal"


CASES = {case.__name__: case for case in (expiry, deletion, namespace)}


def complaints(cluster):
    """The last lines of each daemon's log that are more than information."""
    for log in sorted(Path(cluster.data, "logs").glob("*-*.log")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if '"level":"info"' not in line]
        for line in lines[-15:]:
            print(f"  {log.stem}: {line[:400]}")


async def run(cluster, names):
    world = World(cluster)
    failed = 0
    for name in names:
        try:
            told = await CASES[name](world)
            print(f"ok   {name}{': ' + told if told else ''}", flush=True)
        except Exception as error:  # a case that fails in any way fails alone
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc(file=sys.stdout)
            complaints(cluster)
    await world.wire.close()
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(CASES), help="one case")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(ROOT / "tests" / "oracle" / "requirements.txt")
    from chaos import Cluster
    from test import free_port

    data = tempfile.mkdtemp(prefix="perdure-retention-")
    os.chmod(data, 0o755)  # PostgreSQL's user has to get in
    settings = [argument for key, value in SETTINGS.items() for argument in ("--set", f"{key}={value}")]
    cluster = Cluster(data, free_port(), ["--histories", "2", "--shards", str(SHARDS), *settings])
    try:
        cluster.up()
        return asyncio.run(run(cluster, [options.only] if options.only else list(CASES)))
    finally:
        cluster.down()
        if not options.keep:
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
