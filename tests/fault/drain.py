"""Drains: history nodes are told to end (SIGTERM) and started again, one after the other, while signals are under way
for workflows in all shards. No call may fail; how long the longest took is printed, and fails only when it is no
hand-over any more but a lease that ran out (or with --most).

No proxies here: what is measured is the cluster. What this program and a busy machine add is measured beside it, by calls
that the frontend answers by itself, and by the calls before the first drain. Ends with a line a drain and
`N passed, N failed`.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402
from stage import free_port  # noqa: E402


class Calls:
    """One signal in flight for each workflow; `pause` between them."""

    def __init__(self, client, count, pause):
        from probe import Probe
        from load import Findings

        self.findings = Findings()
        self.probe = Probe(client, self.findings, count, "drain", pause)

        self.service = client.workflow_service
        self.control = []

    async def run(self, stop):
        await asyncio.gather(self.probe.run(stop), self.idle(stop))

    async def idle(self, stop):
        """Calls that concern no shard."""
        from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

        while not stop.is_set():
            began = time.monotonic()
            await self.service.get_system_info(GetSystemInfoRequest())
            self.control.append((began, time.monotonic() - began))
            await asyncio.sleep(0.01)

    def within(self, begin, end):
        return sorted(took for at, took in self.probe.stalls if begin <= at < end)

    def noise(self, begin, end):
        return max(took for at, took in self.control if begin <= at < end)


async def drain_one(cluster, name):
    """Ends it and starts it again; answers when it had ended, and when it was ready."""
    from chaos import in_thread, send, wait_gone

    pid = next(p["pid"] for p in (await in_thread(cluster.status))["processes"] if p["name"] == name)
    send(pid, signal.SIGTERM)
    if not await wait_gone(pid, 45):
        raise RuntimeError(f"{name} did not end")
    ended = time.monotonic()
    await asyncio.sleep(1)
    await in_thread(cluster.up)
    return ended


async def measure(options, cluster):
    from load import connect

    calls = Calls(await connect(cluster.addresses()[0]), options.workflows, options.pause)
    stop = asyncio.Event()
    running = asyncio.create_task(calls.run(stop))
    await asyncio.sleep(3)
    quiet = calls.within(0, time.monotonic())
    print(f"before: {len(quiet)} calls, median {1e3 * quiet[len(quiet) // 2]:.1f} ms, longest {1e3 * quiet[-1]:.0f} ms")
    passed = failed = 0
    worst = []
    for i in range(options.drains):
        name = f"history-{i % options.histories}"
        began, failures = time.monotonic(), calls.probe.failed_calls
        ended = await drain_one(cluster, name)
        await asyncio.sleep(1)
        leaving = calls.within(began - 0.2, ended + 0.5)
        joining = calls.within(ended + 0.5, time.monotonic())
        bad = calls.probe.failed_calls - failures
        longest = max(leaving[-1], joining[-1])
        noise = max(quiet[-1], calls.noise(began - 0.2, time.monotonic()))
        worst.append(longest)
        good = not bad and longest * 1e3 <= options.most
        passed, failed = passed + good, failed + (not good)
        print(
            f"{name}: ended after {ended - began:.2f} s; longest call while it left {1e3 * leaving[-1]:.0f} ms,"
            f" while it came back {1e3 * joining[-1]:.0f} ms, of others {1e3 * noise:.0f} ms; {bad} calls failed",
            flush=True,
        )
    stop.set()
    await running
    for text in calls.findings.all():
        print(text)
    failed += len(calls.findings)
    print(f"longest of all {1e3 * max(worst):.0f} ms, median of the drains {1e3 * sorted(worst)[len(worst) // 2]:.0f} ms")
    print(f"{passed} passed, {failed} failed")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drains", type=int, default=6)
    parser.add_argument("--histories", type=int, default=2)
    parser.add_argument("--workflows", type=int, default=48)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two signals of a workflow")
    parser.add_argument("--most", type=float, default=2000, help="milliseconds that a call may take")
    parser.add_argument("--pg", help="use this PostgreSQL (tests/support/postgres.py starts one that does not fsync)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as tools/up")
    parser.add_argument("--port", type=int)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from chaos import Cluster

    data = tempfile.mkdtemp(prefix="perdure-drain-")
    shape = ["--histories", str(options.histories), "--matchings", "1", "--gateways", "1"]
    for pair in options.set:
        shape += ["--set", pair]
    if options.pg:
        shape += ["--pg", options.pg]
    cluster = Cluster(data, options.port or free_port(), shape)
    try:
        cluster.up()
        failed = asyncio.run(measure(options, cluster))
    finally:
        cluster.down()
        if not options.keep:
            shutil.rmtree(data, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
