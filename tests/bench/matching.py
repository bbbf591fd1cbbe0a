"""Matching and gateways under load, on a cluster of its own.

    python3 tests/bench/matching.py scale      # 1 to 4 matching nodes, all throttled alike: tasks a second
    python3 tests/bench/matching.py backlog    # 200,000 tasks and no worker, then one comes
    python3 tests/bench/matching.py polls      # 20,000 open polls over two gateways; then one drains

In `scale` each matching node may have so little of a processor (a quota of its control group) that matching is what limits:
more nodes help only if the tasks spread over them.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / "tools"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    while True:
        port = random.randrange(11000, 31000, 100)
        try:
            for offset in range(60):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", port + offset))
            return port
        except OSError:
            continue


def build(folder):
    program = Path(folder) / "queues"
    subprocess.run(["go", "build", "-o", program, "./queues"], cwd=HERE / "load", check=True)
    return program


class Cluster:
    def __init__(self, data, **options):
        self.data = data
        self.port = free_port()
        self.options = options

    def __enter__(self):
        command = [TOOLS / "up", "--detach", "--no-build", "--data", self.data, "--port", str(self.port)]
        for name, value in self.options.items():
            if name == "settings":
                for each in value:
                    command += ["--set", each]
            else:
                command += [f"--{name}", str(value)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"tools/up failed:\n{done.stdout}{done.stderr}")
        return self

    def __exit__(self, *_):
        subprocess.run([TOOLS / "down", "--data", self.data], capture_output=True)
        shutil.rmtree(self.data, ignore_errors=True)

    def processes(self, role):
        done = subprocess.run([TOOLS / "status", "--data", self.data, "--json"], capture_output=True, text=True)
        return [p for p in json.loads(done.stdout)["processes"] if p["role"] == role]

    def addresses(self):
        frontend = self.processes("frontend")[0]["grpc"]
        return frontend, ",".join(p["grpc"] for p in self.processes("worker_gateway"))


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0


@contextlib.contextmanager
def throttled(pids, share):
    """Each process gets that share of a processor and no more, by a control group of its own, on a processor of its own as
    far as these go: a group's quota is lost on the processors where it has nothing to do."""
    root = next((p for p in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")) if os.access(p / "cgroup.procs", os.W_OK)), None)
    if not root:
        sys.exit("control groups cannot be made here: run it as root, or where /sys/fs/cgroup may be written")
    cpus, groups = sorted(os.sched_getaffinity(0)), []
    period = max(1000, round(1000 / share))  # a quota is 1 ms at least
    try:
        for n, pid in enumerate(pids):
            group = root / f"perdure-bench-{pid}"
            group.mkdir()
            groups.append((pid, group))
            if (group / "cpu.cfs_quota_us").exists():
                (group / "cpu.cfs_period_us").write_text(str(period))
                (group / "cpu.cfs_quota_us").write_text("1000")
            else:
                (group / "cpu.max").write_text(f"1000 {period}")
            (group / "cgroup.procs").write_text(str(pid))
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {cpus[n % len(cpus)]})
        yield
    finally:
        for pid, group in groups:
            with contextlib.suppress(OSError):
                (root / "cgroup.procs").write_text(str(pid))
            group.rmdir()


def run(program, cluster, *options):
    target, polls = cluster.addresses()
    done = subprocess.run([program, "-target", target, "-polls", polls, *map(str, options)], capture_output=True, text=True)
    if not done.stdout:
        sys.exit(f"the load generator failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def asked(process, path):
    with urllib.request.urlopen(f"http://{process['http']}{path}", timeout=5) as answer:
        return answer.read().decode()


def counters(processes):
    """The sums of matching's counters over its nodes."""
    sums = {}
    for each in processes:
        for line in asked(each, "/metrics").splitlines():
            name, _, value = line.rpartition(" ")
            if name.startswith("perdure_matching_") and "{" not in name:
                sums[name] = sums.get(name, 0) + float(value)
    return sums


class Partitions(threading.Thread):
    """Looks every second how many partitions the busiest queue has."""

    def __init__(self, processes):
        super().__init__()
        self.processes, self.seen, self.busy, self.stop = processes, [], [], threading.Event()
        self.start()

    def look(self):
        most, busy = 0, []
        for each in self.processes:
            with contextlib.suppress(OSError):
                answer = json.loads(asked(each, "/admin/matching/queues"))
                found = answer["partitions"]
                busy.append(round(answer["busy"], 2))
                most = max([most, *(p["partitions"] for p in found if p["partition"] == 0)])
        self.busy.append(busy)
        return most

    def run(self):
        while not self.stop.wait(1):
            self.seen.append(self.look())

    def until(self, count, seconds):
        """How long it takes until there are no more than that; None: longer."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.look() <= count:
                return time.monotonic() - began
            time.sleep(0.2)
        return None


def scale(program, options):
    print(f"each matching node may use {options.share:.1%} of a processor")
    print(f"{'matching':>9} {'tasks/s':>9} {'ratio':>6} {'partitions':>11} {'down again':>11}   CPU of each, % of its share")
    first = None
    for nodes in options.nodes:
        settings = ["matching.partition_shrink_after=3s", "matching.redeliver_after=10s", *options.set]
        with Cluster(tempfile.mkdtemp(prefix="perdure-bench-"), matchings=nodes, gateways=2, settings=settings) as cluster:
            processes = cluster.processes("matching")
            pids = [p["pid"] for p in processes]
            with throttled(pids, options.share) if options.share < 1 else contextlib.nullcontext():
                partitions = Partitions(processes)
                before, began = [cpu_seconds(p) for p in pids], time.monotonic()
                result = run(program, cluster, "-mode", "flow", "-queues", options.queues, "-pollers", options.flight, "-in-flight",
                             options.flight, "-warmup", f"{options.warmup}s", "-seconds", f"{options.seconds}s")
                wall = time.monotonic() - began
                used = [(cpu_seconds(p) - b) / wall / options.share * 100 for p, b in zip(pids, before)]
                partitions.stop.set()
                partitions.join()
            down = partitions.until(1, 60)
            sums = counters(processes)
        rate = result["tasks_per_second"]
        first = first or rate
        print(f"{nodes:>9} {rate:>9.0f} {rate / max(first, 1):>6.2f} {max(partitions.seen):>11} "
              f"{f'{down:.0f} s' if down is not None else 'no':>11}   {', '.join(f'{u:.0f}' for u in used)}", flush=True)
        if options.verbose:
            print("          partitions:", *partitions.seen)
            print("          busy:", *partitions.busy[:: max(1, len(partitions.busy) // 10)])
            print("         ", " ".join(f"{k.removeprefix('perdure_matching_')}={v:.0f}" for k, v in sorted(sums.items())))
        if result["errors"]:
            print(f"          {result['errors']} errors: {result.get('last_error')}")


def backlog(program, options):
    with Cluster(tempfile.mkdtemp(prefix="perdure-bench-"), matchings=2, gateways=2, histories=1) as cluster:
        def memory(text):
            matching = sum(resident_mb(p["pid"]) for p in cluster.processes("matching"))
            history = sum(resident_mb(p["pid"]) for p in cluster.processes("history"))
            print(f"  {text:<34} matching {matching:6.1f} MB, history {history:7.1f} MB", flush=True)

        memory("at first")
        probe = run(program, cluster, "-mode", "probe", "-total", 200)
        print(f"  another queue: p50 {probe['p50_ms']:.1f} ms, p99 {probe['p99_ms']:.1f} ms")
        done = run(program, cluster, "-mode", "start", "-queue", "deep", "-total", options.tasks, "-in-flight", 200)
        print(f"  {done['started']} workflows started in {done['seconds']:.0f} s, nobody polls; {done['errors']} errors")
        memory("with the backlog")
        if options.wait:
            time.sleep(options.wait)
            memory(f"{options.wait} s later")
        probe = run(program, cluster, "-mode", "probe", "-total", 200)
        print(f"  another queue: p50 {probe['p50_ms']:.1f} ms, p99 {probe['p99_ms']:.1f} ms")
        done = run(program, cluster, "-mode", "drain", "-queue", "deep", "-total", options.tasks, "-pollers", 100)
        order = done["out_of_order"]
        print(f"  {done['finished']} done in {done['seconds']:.0f} s; behind a younger one by p99 {order['p99_ms']:.0f} ms, "
              f"at most {order['max_ms']:.0f} ms; {done['errors']} errors")
        memory("after it")


def polls(program, options):
    with Cluster(tempfile.mkdtemp(prefix="perdure-bench-"), matchings=2, gateways=2) as cluster:
        everybody = [p for role in ("frontend", "history", "matching", "worker_gateway") for p in cluster.processes(role)]

        def show(text):
            for role in ("matching", "worker_gateway"):
                each = ", ".join(f"{resident_mb(p['pid']):.1f}" for p in everybody if p["role"] == role)
                print(f"  {text}: {role} {each} MB", flush=True)

        show("at first")
        target, addresses = cluster.addresses()
        load = subprocess.Popen(
            [program, "-target", target, "-polls", addresses, "-mode", "polls", "-pollers", str(options.polls),
             "-queues", "500", "-connections", "10"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        load.stdout.readline()
        time.sleep(5)
        show(f"{options.polls} polls over 500 queues")
        before, began = [cpu_seconds(p["pid"]) for p in everybody], time.monotonic()
        time.sleep(20)
        wall = time.monotonic() - began
        for p, b in zip(everybody, before):
            print(f"  {p['name']:<16} {(cpu_seconds(p['pid']) - b) / wall * 100:5.1f} % CPU while they wait")
        probe = run(program, cluster, "-mode", "probe", "-total", 200)
        print(f"  another queue: p50 {probe['p50_ms']:.1f} ms, p99 {probe['p99_ms']:.1f} ms")
        gateway = cluster.processes("worker_gateway")[0]
        began = time.monotonic()
        os.kill(gateway["pid"], signal.SIGTERM)
        while Path(f"/proc/{gateway['pid']}/stat").exists() and "Z" not in Path(f"/proc/{gateway['pid']}/stat").read_text():
            time.sleep(0.01)
        print(f"  {gateway['name']} drained in {time.monotonic() - began:.2f} s")
        time.sleep(1)
        load.stdin.close()
        result = json.loads(load.stdout.read())
        print(f"  {result['ended']} polls ended, {result['ended_cleanly']} of them cleanly; {result['errors']} errors"
              f" {result.get('last_error', '')}")
        load.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scale", "backlog", "polls"])
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--share", type=float, default=0.003, help="of a processor that a matching node gets (scale)")
    parser.add_argument("--queues", type=int, default=1, help="queues that share the load (scale)")
    parser.add_argument("--seconds", type=float, default=15, help="how long is measured (scale)")
    parser.add_argument("--warmup", type=float, default=25, help="before it is measured (scale)")
    parser.add_argument("--set", action="append", default=[], help="a setting, as for tools/up (scale)")
    parser.add_argument("--flight", type=int, default=2000, help="workflows at a time (scale)")
    parser.add_argument("--verbose", action="store_true", help="the counters of matching too (scale)")
    parser.add_argument("--tasks", type=int, default=200_000, help="(backlog)")
    parser.add_argument("--wait", type=int, default=70, help="seconds with the backlog before a worker comes (backlog)")
    parser.add_argument("--polls", type=int, default=20_000, help="(polls)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        {"scale": scale, "backlog": backlog, "polls": polls}[options.what](build(folder), options)


if __name__ == "__main__":
    main()
