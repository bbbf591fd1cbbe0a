"""Load, probes and faults together, and what is said of them at the end. Shared by run.py and soak.py."""

import asyncio
import statistics
import time

from faults import KINDS, rage, schedule
from load import Findings, Load, connect
from probe import Probe
from stage import in_thread

AUDIT_EVERY = 60.0
GRACE = 90.0  # for the workflows that are under way at the end


def say(text):
    print(text, flush=True)


class Ordeal:
    def __init__(self, stage, options):
        self.stage = stage
        self.options = options
        self.findings = Findings()
        self.load = Load(self.findings, f"w{options.seed}")
        self.probe = None
        self.log = []
        self.audits = 0
        self.began = time.monotonic()

    async def audit(self, patience):
        """The auditors' verdict; they can only be asked when all history nodes are there."""
        until = time.monotonic() + patience
        while (found := await in_thread(self.stage.audit)) is None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(1)
        self.audits += 1
        self.findings.violations += [f"audit: {text}" for text in found if f"audit: {text}" not in self.findings.violations]
        return True

    async def report(self, stop):
        audited = time.monotonic()
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), 10)
            except asyncio.TimeoutError:
                pass
            seconds = time.monotonic() - self.began
            say(
                f"  {seconds:4.0f} s: {self.load.done} workflows done, {sum(self.probe.sent.values())} signals,"
                f" {self.probe.reads} reads, {len(self.findings)} findings"
            )
            if time.monotonic() - audited > AUDIT_EVERY and not stop.is_set():
                await self.audit(0)
                audited = time.monotonic()

    async def run(self, faults, stop):
        stage, options = self.stage, self.options
        pause = max(0.1, options.minutes * 60 / 8000)  # a run takes 10,000 signals at most
        self.probe = Probe(await connect(stage.clients), self.findings, options.probes, f"p{options.seed}", pause)
        readers = [(address, await connect(address)) for address in stage.frontends()]
        stop_load, stop_report = asyncio.Event(), asyncio.Event()
        load = asyncio.create_task(self.load.run(stage.clients, stage.workers, options.in_flight, stop_load, GRACE))
        probing = asyncio.create_task(self.probe.run(stop_load, readers))
        report = asyncio.create_task(self.report(stop_report))
        self.log = await rage(stage, faults, stop, say)
        await in_thread(stage.wait_ready)
        stop_load.set()
        await load
        await probing
        stop_report.set()
        await report
        if not await self.audit(30):
            self.findings.violations.append("the auditors could not be asked at the end")
        self.findings.violations += [f"{f.kind} {f.to}: {f.problem}" for f in self.log if f.problem]

    # ---- at the end

    def stall_of(self, f):
        """The longest that a client saw because of it: what follows it by a second counts, until the next fault."""
        following = min((g.at for g in self.log if g.at > f.at), default=f.at + f.took + 1)
        return self.probe.stall(f.at, min(f.at + f.took + 1, following))

    def table(self):
        """One line a kind: how often, and the longest stall that a client saw in each: the worst, and the median."""
        lines = ["| fault | times | longest stall | median stall | all healthy after |", "|---|---|---|---|---|"]
        for kind in KINDS:
            those = [f for f in self.log if f.kind == kind]
            if not those:
                continue
            stalls = [self.stall_of(f) for f in those]
            lines.append(
                f"| {kind} | {len(those)} | {max(stalls):.2f} s | {statistics.median(stalls):.2f} s |"
                f" {max(f.took for f in those):.1f} s |"
            )
        return "\n".join(lines)

    def verdict(self):
        for text in self.findings.all()[:50]:
            say(text)
        for _, text in sorted(self.load.slow, reverse=True)[:5]:
            say(f"slow: {text}")
        say(self.table())
        ended = sum(self.stage.ended.values())
        say(
            f"{len(self.log)} faults; {ended} times a daemon ended by itself or was killed and was started again;"
            f" {sum(self.probe.sent.values())} signals and {self.probe.reads} reads by the probes;"
            f" {self.probe.failed_calls + self.load.calls_failed} calls failed and were made again;"
            f" {self.audits} audits; the slowest workflow took {self.load.longest:.1f} s"
        )
        f = self.findings
        say(
            f"{self.load.begun} workflows, {len(f.lost)} lost, {len(f.duplicated)} duplicated,"
            f" {len(f.violations)} violations"
        )
        return not len(f)


def plan(stage, options, **limits):
    return schedule(options.seed, stage, options.kinds, options.pause, **limits)
