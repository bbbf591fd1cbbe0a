"""What operators do, under load: shards are moved about, a node of each role is drained and put back to work, also over
a restart. No workflow may be lost; ends with a table of the stalls that clients saw, and `N passed, N failed` (a case is
a workflow or a step; the invariants count as one more).
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402
from stage import Stage, build_dir, in_thread  # noqa: E402
from cluster import PERDURECTL  # noqa: E402

SHAPE = {"history": 3, "matching": 2, "gateway": 2, "frontend": 2}
MASK = (1 << 64) - 1


def shard_of(namespace_id, workflow_id, count):
    """As common/membership/placement.c does."""
    h = 0xCBF29CE484222325
    for byte in f"{namespace_id}\0{workflow_id}".encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * factor & MASK
    return (h ^ h >> 33) % count


def ctl(stage, *arguments):
    """Its answer; RuntimeError with what it says when it fails."""
    command = [build_dir() / PERDURECTL, "--dsn", stage.cluster.dsn, "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"perdurectl {' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


class Steps:
    """What is done, one step after the other. Each is a coroutine that answers what to say of it."""

    def __init__(self, stage, choose):
        self.stage = stage
        self.choose = choose
        self.shards = []  # of the workflows that the probes signal

    async def ctl(self, *arguments):
        return await in_thread(ctl, self.stage, *arguments)

    def find_shards(self, workflow_ids):
        (namespace_id,) = self.stage.sql("SELECT id FROM namespace WHERE name = 'default'")
        (count,) = self.stage.sql("SELECT shard_count FROM cluster")
        self.shards = sorted({shard_of(namespace_id, wid, int(count)) for wid in workflow_ids})

    async def nothing(self):
        """What the machine itself does to the stalls."""
        await asyncio.sleep(2)
        return "for comparison"

    async def move(self):
        """A shard that is in use, to a node that doesn't have it."""
        shard = self.choose.choice(self.shards)
        owner = (await self.ctl("shard", "show", str(shard)))["owner"]
        to = self.choose.choice([name for name in self.stage.names("history") if name != owner])
        answer = await self.ctl("shard", "move", str(shard), "--to", to)
        now = (await self.ctl("shard", "show", str(shard)))["owner"]
        if now != to:
            raise RuntimeError(f"shard {shard} is at {now}, not {to}")
        return f"shard {shard} from {owner} to {to} in {answer['seconds'] * 1000:.0f} ms"

    async def gather_all(self):
        """Every shard in use to one node, at once."""
        to = self.choose.choice(self.stage.names("history"))
        for shard in self.shards:
            await self.ctl("shard", "move", str(shard), "--to", to, "--no-wait")
        for shard in self.shards:
            await self.ctl("shard", "move", str(shard), "--to", to)
        return f"{len(self.shards)} shards to {to}"

    async def unpin(self):
        freed = await self.ctl("shard", "unpin", "--all", "--yes")
        await asyncio.sleep(1)
        return f"{len(freed)} shards"

    async def settled(self):
        await in_thread(self.stage.wait_ready)
        until = time.monotonic() + 10
        while any(shard["state"] != "owned" for shard in await self.ctl("shard", "list")):
            if time.monotonic() > until:
                raise RuntimeError("a shard has no owner")
            await asyncio.sleep(0.1)

    def drain(self, role):
        async def step():
            name = self.choose.choice(self.stage.names(role))
            answer = await self.ctl("node", "drain", name)
            await asyncio.sleep(2)
            node = await self.ctl("node", "show", name)
            if node["state"] != "draining" or not node["work"].startswith("0 "):
                raise RuntimeError(f"{name} is {node['state']} and has {node['work']}")
            await self.ctl("node", "undrain", name)
            await self.settled()
            return f"{name} in {answer['seconds']:.1f} s"

        return step

    async def drain_and_restart(self):
        """As before a change of the machine: the next process finds that it is to have no work."""
        name = self.choose.choice(self.stage.names("history"))
        await self.ctl("node", "drain", name)
        await in_thread(self.stage.restart, name)
        await asyncio.sleep(1)
        node = await self.ctl("node", "show", name)
        if node["shards"] or node["state"] != "draining":
            raise RuntimeError(f"{name} is {node['state']} and took {node['shards']} shards")
        await self.ctl("node", "undrain", name)
        await self.settled()
        return name

    def plan(self):
        plan = [("nothing", self.nothing)] + [("shard moves", self.move)] * 8
        plan += [("shards gather", self.gather_all), ("shards unpinned", self.unpin)]
        for role in self.stage.shape:
            plan += [(f"{role} drained", self.drain(role))] * (2 if role == "history" else 1)
        plan += [("history drained, restarted", self.drain_and_restart), ("shard moves", self.move)]
        return [*plan, ("nothing", self.nothing)]


async def act(steps, probe, say):
    """Answers (what, began, took, problem) of each step."""
    log = []
    for what, step in steps.plan():
        began, problem, text = time.monotonic(), "", ""
        try:
            text = await step()
        except Exception as e:  # it is a finding
            problem = f"{type(e).__name__}: {e}"
        took = time.monotonic() - began
        log.append((what, began, took, problem))
        await asyncio.sleep(0.5)
        say(f"  {what:<27} {text or problem}, longest stall {probe.stall(began, began + took + 0.3) * 1000:.0f} ms")
    return log


async def ordeal(stage, options, findings, say):
    from load import Load, connect
    from probe import Probe

    load = Load(findings, f"w{options.seed}")
    probe = Probe(await connect(stage.clients), findings, options.probes, f"p{options.seed}", pause=0.02)
    steps = Steps(stage, random.Random(options.seed))
    await in_thread(steps.find_shards, probe.ids)
    stop = asyncio.Event()
    running = [
        asyncio.create_task(load.run(stage.clients, stage.workers, options.in_flight, stop, 60)),
        asyncio.create_task(probe.run(stop)),
    ]
    await asyncio.sleep(4)
    say(f"  before: longest stall {probe.stall(0, float('inf')) * 1000:.0f} ms")
    log = await act(steps, probe, say)
    stop.set()
    await asyncio.gather(*running)
    until = time.monotonic() + 30
    while (found := await in_thread(stage.audit)) is None and time.monotonic() < until:
        await asyncio.sleep(1)  # a shard is moving still
    findings.violations += ["the auditors could not be asked"] if found is None else [f"audit: {text}" for text in found]
    return load, probe, log


def table(log, probe, say):
    for what in dict.fromkeys(entry[0] for entry in log):
        those = [entry for entry in log if entry[0] == what]
        stalls = [probe.stall(began, began + took + 0.3) for _, began, took, _ in those]
        say(f"| {what} | {len(those)} | {max(stalls) * 1000:.0f} ms | {max(took for _, _, took, _ in those):.1f} s |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=10, help="workflows at a time")
    parser.add_argument("--probes", type=int, default=12, help="workflows that are signalled all the time")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--port", type=int, help="first of a block of 200 ports (default: some that are free)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from load import Findings

    def say(text):
        print(text, flush=True)

    stage, findings = Stage(SHAPE, options.port, keep=options.keep), Findings()
    say(f"seed {options.seed}, data {stage.data}")
    try:
        stage.up()
        load, probe, log = asyncio.run(ordeal(stage, options, findings, say))
    finally:
        stage.close()
    findings.violations += [f"{what}: {problem}" for what, _, _, problem in log if problem]
    findings.violations += [f"{name} ended {times} times" for name, times in stage.ended.items()]
    for text in findings.all()[:50]:
        say(f"  {text}")
    say("| what was done | times | longest stall | took |\n|---|---|---|---|")
    table(log, probe, say)
    say(
        f"{load.begun} workflows, {sum(probe.sent.values())} signals, {len(findings.lost)} lost,"
        f" {len(findings.duplicated)} duplicated, {len(findings.violations)} violations;"
        f" {probe.failed_calls + load.calls_failed} calls failed and were made again"
    )
    failed = min(len(findings), load.begun + len(log))
    say(f"{load.begun + len(log) + 1 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
