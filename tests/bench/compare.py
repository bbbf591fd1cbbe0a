"""Perdure beside the reference development server, in one run: throughput, latency, CPU a workflow.

    python3 tests/bench/compare.py [--total 2000] [--in-flight 50] [--no-reference] [--json]

Perdure runs as a full cluster with PostgreSQL (fsync on, synchronous commit); the reference as `temporal server start-dev`,
which keeps its data in memory: what it shows is the least that the reference costs. Ratios hold on noisy machines.
"""

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "oracle" / "lib"))
import bootstrap  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def process_tree(pid):
    """The process and everything below it."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        p = todo.pop()
        found.append(p)
        todo += children.get(p, [])
    return found


def cpu_seconds(pids):
    """Of the trees, with the children that have ended."""
    total = 0
    for pid in {p for root in pids for p in process_tree(root)}:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[i]) for i in (11, 12, 13, 14))
    return total / TICKS


def resident_mb(pids):
    total = 0
    for pid in {p for root in pids for p in process_tree(root)}:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def free_port():
    while True:
        port = random.randrange(20000, 60000, 100)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def build_load(folder):
    """The load generator, built from the folder beside us."""
    program = Path(folder) / "load"
    subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "load", check=True)
    return program


def measure(load, target, polls, groups, options, in_flight, total):
    before = {name: cpu_seconds(pids) for name, pids in groups.items()}
    done = subprocess.run(
        [load, "-target", target, "-polls", polls, "-total", str(total), "-in-flight", str(in_flight)],
        capture_output=True,
        text=True,
        timeout=options.minutes * 60,
    )
    if not done.stdout:
        sys.exit(f"the load generator failed: {done.stderr}")
    result = json.loads(done.stdout)
    for name, pids in groups.items():
        result[f"{name}_cpu_ms"] = (cpu_seconds(pids) - before[name]) * 1000 / max(1, result["completed"])
        result[f"{name}_mb"] = resident_mb(pids)
    return result


def perdure(load, options):
    data = tempfile.mkdtemp(prefix="perdure-bench-")
    up = [ROOT / "tools" / "up", "--detach", "--data", data, "--port", str(free_port())]
    subprocess.run([*up, *(["--single"] if options.single else [])], check=True, stdout=sys.stderr)
    try:
        status = json.loads(subprocess.check_output([ROOT / "tools" / "status", "--data", data, "--json"]))
        edges = {p["role"]: p["grpc"] for p in status["processes"] if p.get("grpc")}
        target = edges.get("frontend") or next(iter(edges.values()))
        groups = {"server": [p["pid"] for p in status["processes"]], "postgres": [status["postgres"]["pid"]]}
        return runs(load, target, edges.get("worker_gateway", target), groups, options)
    finally:
        subprocess.run([ROOT / "tools" / "down", "--data", data], stdout=subprocess.DEVNULL)
        shutil.rmtree(data, ignore_errors=True)


def reference(load, options):
    python = bootstrap.environment(ROOT / "tests" / "oracle" / "requirements.txt")
    program = python.parent / "temporal"
    port = free_port()
    command = [program, "server", "start-dev", "--headless", "--log-level", "error", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"127.0.0.1:{port}"
        while subprocess.run(
            [program, "operator", "namespace", "describe", "default", "--address", address], capture_output=True
        ).returncode:
            time.sleep(0.3)
        return runs(load, address, address, {"server": [server.pid]}, options)
    finally:
        server.terminate()
        server.wait()


def runs(load, target, polls, groups, options):
    """A warm-up, then under load, then one at a time."""
    measure(load, target, polls, groups, options, 10, 100)
    return {
        f"{options.in_flight} in flight": measure(load, target, polls, groups, options, options.in_flight, options.total),
        "one at a time": measure(load, target, polls, groups, options, 1, max(50, options.total // 20)),
    }


COLUMNS = [
    ("workflows/s", "per_second", "{:.0f}"),
    ("p50 ms", "p50_ms", "{:.1f}"),
    ("p99 ms", "p99_ms", "{:.1f}"),
    ("server CPU ms", "server_cpu_ms", "{:.2f}"),
    ("PostgreSQL CPU ms", "postgres_cpu_ms", "{:.2f}"),
    ("server MB", "server_mb", "{:.0f}"),
    ("errors", "errors", "{}"),
]


def table(results):
    print("| server | load | " + " | ".join(title for title, _, _ in COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for server, loads in results.items():
        for name, values in loads.items():
            cells = (form.format(values[key]) if key in values else "–" for _, key, form in COLUMNS)
            print(f"| {server} | {name} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=5, help="give up on one run after")
    parser.add_argument("--single", action="store_true", help="Perdure as one process")
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="perdure-load-")
    try:
        load = build_load(folder)
        results = {"Perdure": perdure(load, options)}
        if not options.no_reference:
            results["reference"] = reference(load, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        table(results)


if __name__ == "__main__":
    main()
