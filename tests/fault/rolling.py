"""A rolling restart under load: every daemon is drained and started again, one after the other, while clients and workers
of the official Python and Go SDKs are at work. No call may fail that the SDKs' own retries don't hide.

Clients and workers reach the cluster through a service each, as in Kubernetes. Ends with the longest call of each kind,
and `N passed, N failed` (a case is a workflow; each failed call is a failure).
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402
from stage import Stage, in_thread  # noqa: E402

SHAPE = {"history": 2, "matching": 2, "gateway": 2, "frontend": 2}
E2E = HERE.parent / "e2e"


def build_go():
    """The program of tests/e2e/go/steady."""
    program = bootstrap.cache_dir() / "fault" / "steady"
    program.parent.mkdir(parents=True, exist_ok=True)
    environment = subprocess.run([E2E / "toolchains.sh", "go"], check=True, capture_output=True, text=True).stdout
    script = f'{environment}\ncd "{E2E}/go" && exec go build -mod=readonly -o "{program}" ./steady'
    subprocess.run(["bash", "-c", script], check=True)
    return program


class Python:
    """Workflows of workflows.py, by the SDK's own calls and with its own retries."""

    def __init__(self):
        self.workflows, self.failed, self.longest = 0, [], {}

    async def timed(self, what, call):
        began = time.monotonic()
        try:
            return await call()
        except Exception as e:
            self.failed.append(f"{what}: {type(e).__name__}: {e}")
            raise
        finally:
            self.longest[what] = max(self.longest.get(what, 0.0), time.monotonic() - began)

    async def one(self, client, wid):
        from load import QUEUE
        from workflows import Durable

        handle = await self.timed(
            "start", lambda: client.start_workflow(Durable.run, args=[False, 1], id=wid, task_queue=QUEUE)
        )
        await self.timed("query", lambda: handle.query(Durable.count))
        await self.timed("signal", lambda: handle.signal(Durable.go, 0))
        await self.timed("describe", handle.describe)
        result = await self.timed("result", handle.result)
        self.workflows += 1
        if result != ["activity", [0]]:
            self.failed.append(f"{wid}: result {result!r}")

    async def run(self, stage, in_flight, stop):
        from load import Findings, Load, connect

        client, hand = await connect(stage.clients), await connect(stage.workers)

        async def again_and_again(lane):
            number = 0
            while not stop.is_set():
                try:
                    await self.one(client, f"steady-{lane}-{number}")
                except Exception:  # counted
                    await asyncio.sleep(0.1)
                number += 1

        async with Load(Findings(), "").worker(hand):
            await asyncio.gather(*(again_and_again(n) for n in range(in_flight)))


async def roll(stage, options, program):
    python, stop = Python(), asyncio.Event()
    steady = asyncio.create_task(python.run(stage, options.in_flight, stop))
    go = await asyncio.create_subprocess_exec(
        program, stage.clients, stage.workers, str(options.in_flight), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        await asyncio.sleep(5)
        for _ in range(options.rounds):
            for name in [d.name for d in stage.cluster.daemons]:
                began, failed = time.monotonic(), len(python.failed)
                await in_thread(stage.restart, name)
                await asyncio.sleep(options.pause)
                print(
                    f"  {name} restarted in {time.monotonic() - began - options.pause:.1f} s, {python.workflows} workflows,"
                    f" {len(python.failed) - failed} calls of the Python SDK failed",
                    flush=True,
                )
        await asyncio.sleep(2)
    finally:
        stop.set()
        out, _ = await asyncio.wait_for(go.communicate(b""), 120)
        await asyncio.wait_for(steady, 120)
    return python, json.loads(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two daemons")
    parser.add_argument("--in-flight", type=int, default=20, help="workflows at a time, of each SDK")
    parser.add_argument("--port", type=int, help="first of a block of 200 ports (default: some that are free)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    program = build_go()
    stage = Stage(SHAPE, options.port, keep=options.keep)
    print(f"data {stage.data}", flush=True)
    try:
        stage.up()
        python, go = asyncio.run(roll(stage, options, program))
    finally:
        stage.close()
    failed = python.failed + go["failed"]
    for text in failed[:50]:
        print(f"FAILED {text}")
    for name, longest in (("Python", python.longest), ("Go", go["longest"])):
        print(f"{name}: longest " + ", ".join(f"{what} {1e3 * s:.0f} ms" for what, s in sorted(longest.items())))
    print(f"the Go worker logged {go['warnings']} warnings and {go['errors']} errors")
    for text, times in sorted(go["logged"].items()):
        print(f"  {times} times {text}")
    print(f"{python.workflows + go['workflows']} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
