#!/usr/bin/env python3
"""What is over or deleted stays away and leaves the database, also when processes die; prints 'N passed, N failed'."""

import argparse
import asyncio
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

KEEP_S = 8  # the brief namespace's retention
PATIENCE_S = 60
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

    async def rows(self, sql):
        command = ["psql", "-X", "-A", "-t", "-d", self.dsn, "-c", sql]
        done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await done.communicate()
        expect(done.returncode == 0, f"psql failed: {sql}")
        return int(output.decode().strip() or 0)

    async def left(self, namespace_id):
        """Rows of a namespace over all tables."""
        counts = [await self.rows(f"SELECT count(*) FROM {t} WHERE namespace_id = '{namespace_id}'") for t in TABLES]
        return sum(counts)

    def kill_history(self):
        """kill -9 of one history node."""
        victim = next(p for p in self.cluster.status()["processes"] if p["role"] == "history" and p["pid"])
        os.kill(victim["pid"], signal.SIGKILL)

    async def restart(self):
        await asyncio.get_running_loop().run_in_executor(None, self.cluster.up)


async def expiry(world):
    """Closed runs are found until their retention is over, and not after; then their rows go."""
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
    expect(not await world.found(name, "w1"), "a run of a deleted namespace is found")

    async def begun():
        return await world.rows(f"SELECT count(*) FROM namespace_purge WHERE namespace_id = '{namespace_id}'") > 0

    await eventually(begun, "the removal to begin")
    world.kill_history()
    await world.restart()

    async def empty():
        there = await world.rows(f"SELECT count(*) FROM namespace WHERE id = '{namespace_id}'")
        return there == 0 and await world.left(namespace_id) == 0

    await eventually(empty, "the deleted namespace to be gone", 2 * PATIENCE_S)


CASES = {case.__name__: case for case in (expiry, deletion, namespace)}


async def run(cluster, names):
    world = World(cluster)
    failed = 0
    for name in names:
        try:
            await CASES[name](world)
            print(f"ok   {name}", flush=True)
        except Exception as error:  # a case that fails in any way fails alone
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc(file=sys.stdout)
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
    cluster = Cluster(data, free_port(), ["--histories", "2", "--shards", "16", *settings])
    try:
        cluster.up()
        return asyncio.run(run(cluster, [options.only] if options.only else list(CASES)))
    finally:
        cluster.down()
        if not options.keep:
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
