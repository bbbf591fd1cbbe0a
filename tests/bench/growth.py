"""Does anything grow? A cluster of its own under steady load for half an hour, with a short retention.

    python3 tests/bench/growth.py [--minutes 30] [--rate 120] [--retention 180] [--json FILE]

Workflows with an activity, sleeping ones, ones that take signals, and ones that are terminated and deleted come at a steady
rate; closed runs are kept for some minutes. So after a while as much leaves as comes, and everything should stay as it is:
tables, their indexes, WAL files, the memory of each daemon and of PostgreSQL. Each minute all of it is measured; at the end
come the table and, for each series, whether its last third is larger than the first.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from growth_look import Look

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "tests" / "fault"), str(HERE.parents[1] / "tools" / "lib")]
from chaos import Cluster  # noqa: E402
from test import free_port  # noqa: E402

SETTLE_S = 420  # beside retention and sleep: until as much leaves as comes
GROWS = 1.15  # the last third of a series over the first: more counts as growth…
SMALL = {"MB": 1.5, "": 50}  # …unless it is less than this


def build(folder):
    program = Path(folder) / "growth"
    subprocess.run(["go", "build", "-o", program, "./growth"], cwd=HERE / "load", check=True)
    return program


class Generator:
    """The load generator, and the last that it said."""

    def __init__(self, program, cluster, options):
        target, *_, polls = cluster.addresses()
        self.command = [
            program, "-target", target, "-polls", polls, "-namespace", "growth", "-rate", str(options.rate),
            "-sleep", f"{options.sleep}s", "-retention", f"{options.retention}s", "-for", f"{options.minutes * 60 + 5}s",
        ]  # fmt: skip
        self.lines = []

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def interval(self, seen):
        """What the lines since the `seen`-th say, as one."""
        lines = self.lines[seen:]
        if not lines or self.process.poll() is not None:
            sys.exit(f"the load generator ended: {self.lines[-1:]}")
        before = self.lines[seen - 1] if seen else {"completed": 0, "seconds": 0, "errors": 0, "skipped": 0}
        seconds = max(lines[-1]["seconds"] - before["seconds"], 0.001)
        return {
            "workflows/s": (lines[-1]["completed"] - before["completed"]) / seconds,
            "errors": lines[-1]["errors"],
            "skipped": lines[-1]["skipped"],
            "start p50 ms": sorted(each["start_p50_ms"] for each in lines)[len(lines) // 2],
            "start max ms": max(each["start_max_ms"] for each in lines),
            "read max ms": max(each["read_max_ms"] for each in lines),
            "last_error": lines[-1].get("last_error"),
        }


def observe(cluster, generator, options):
    """A sample a minute: {name: (value, unit)}."""
    samples = []
    look = Look(cluster)
    began = time.monotonic()
    seen = 0
    for minute in range(int(options.minutes) + 1):
        time.sleep(max(0.0, began + minute * 60 - time.monotonic()) + (2 if minute == 0 else 0))
        sample = look.sample()
        sample["load"] = generator.interval(seen)
        seen = len(generator.lines)
        if minute in marks(options.minutes):
            sample["indexes"] = look.indexes()
        samples.append(sample)
        flow = sample["load"]
        series = sample["series"]
        print(
            f"min {minute:3}  {flow['workflows/s']:5.0f}/s  p50 {flow['start p50 ms']:5.1f}  max {flow['start max ms']:6.0f} ms"
            f"  tables {sum(v for (g, _), v in series.items() if g == 'tables MB'):7.1f} MB"
            f"  WAL {sample['wal_mb']:8.1f} MB written, {series['other MB', 'pg_wal']:6.0f} MB on disk"
            f"  errors {flow['errors']}",
            flush=True,
        )
        if options.json:
            Path(options.json).write_text(json.dumps([plain(s) for s in samples], indent=1))
    return samples


def plain(sample):
    out = dict(sample)
    out["series"] = {" ".join(key): value for key, value in sample["series"].items()}
    return out


def marks(minutes):
    """The minutes that the table shows."""
    return sorted({m for m in (0, 5, 10, 20, 30, 45, 60) if m <= minutes} | {int(minutes)})


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def verdict(key, samples, settled):
    """(the first third, the last, does it grow?) of a series; None where it is too short to say."""
    values = [sample["series"].get(key, 0) for sample in samples[settled:]]
    part = len(values) // 3
    if part < 2:
        return None
    before, end = mean(values[:part]), mean(values[-part:])
    small = SMALL["MB" if "MB" in key[0] else ""]
    swings = key[0] == "dead rows"  # with each vacuum: sizes say whether they gather
    return before, end, not swings and end > before * GROWS and end - before > small


def report(samples, options):
    columns = marks(options.minutes)
    settled = min(int((options.retention + options.sleep + SETTLE_S) // 60), len(samples) // 2)
    growing = []
    keys = sorted({key for sample in samples for key in sample["series"]})
    group = None
    print(f"\n(after {settled} minutes as much leaves as comes; compared are the thirds of the minutes after)")
    for key in keys:
        if key[0] != group:
            group = key[0]
            print(f"\n| {group} | " + " | ".join(f"{m} min" for m in columns) + " | |\n" + "|---" * (len(columns) + 2) + "|")
        told = verdict(key, samples, settled)
        note = "?" if told is None else f"**grows** {told[0]:.1f} → {told[1]:.1f}" if told[2] else ""
        if told and told[2]:
            growing.append(" ".join(key))
        cells = (f"{samples[m]['series'].get(key, 0):.1f}" for m in columns)
        print(f"| {key[1]} | " + " | ".join(cells) + f" | {note} |")
    first, last = samples[settled], samples[-1]
    done = last["wal_mb"] - first["wal_mb"]
    workflows = sum(s["load"]["workflows/s"] for s in samples[settled + 1 :]) * 60
    print("\n| table | inserted | updated | of them HOT % | deleted | vacuums |\n|---|---|---|---|---|---|")
    for name, now in sorted(last["activity"].items()):
        then = first["activity"].get(name, [0] * len(now))
        ins, upd, hot, dele, vac = (max(0, a - b) for a, b in zip(now, then))
        if ins + upd + dele:
            print(f"| {name} | {ins} | {upd} | {hot / upd * 100 if upd else 0:.0f} | {dele} | {vac} |")
    if workflows:
        print(f"\nWAL: {done * 1024 / workflows:.2f} KB a workflow with an activity (the other kinds counted in)")
    print(f"errors {last['load']['errors']}, starts skipped {last['load']['skipped']}, {last['load']['last_error'] or ''}")
    print(f"\nverdict: {'bounded' if not growing else 'grows: ' + ', '.join(growing)}")
    return 1 if growing else 0


def on_signal(*_):
    """Everything that was started is stopped."""
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, on_signal)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=120, help="workflows with an activity, a second")
    parser.add_argument("--retention", type=int, default=180, help="seconds")
    parser.add_argument("--sleep", type=int, default=180, help="seconds that sleeping workflows sleep")
    parser.add_argument("--port", type=int, help="first port (default: any)")
    parser.add_argument("--cache", default="32MiB", help="history.cache_bytes: small, so that it is full before long")
    parser.add_argument("--json", help="all samples go there")
    options = parser.parse_args()
    settings = [
        "namespaces.retention_min=1s", "history.partition_width=60s", "history.upkeep_interval=20s",
        f"history.cache_bytes={options.cache}",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        binaries = Path(folder) / "build"  # a copy: the tree may be built again meanwhile
        source = HERE.parents[1] / os.environ.get("PERDURE_BUILD_DIR", "build")
        for program in [*source.glob("services/*/perdure*"), *source.glob("tools/perdurectl/perdurectl")]:
            if program.is_file():
                to = binaries / program.relative_to(source)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(program, to)
        os.environ["PERDURE_BUILD_DIR"] = str(binaries)
        program = build(folder)
        os.nice(5)
        data = tempfile.mkdtemp(prefix="perdure-growth-")
        os.chmod(data, 0o755)  # PostgreSQL's user has to get in
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        cluster = Cluster(data, options.port or free_port(), arguments)
        try:
            cluster.up()
            with Generator(program, cluster, options) as generator:
                return report(observe(cluster, generator, options), options)
        finally:
            cluster.down()
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
