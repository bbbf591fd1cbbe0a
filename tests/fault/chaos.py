"""Kills processes of a cluster with -9, at random, and has them started again."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"


class Cluster:
    """A cluster of tools/up, on a data directory of its own."""

    def __init__(self, data, port, options):
        self.data = data
        self.port = port
        self.options = options

    def up(self):
        command = [TOOLS / "up", "--detach", "--no-build", "--data", self.data, "--port", str(self.port), *self.options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            sys.exit(f"tools/up failed:\n{done.stdout}{done.stderr}")

    def down(self):
        subprocess.run([TOOLS / "down", "--data", self.data], capture_output=True, timeout=120)

    def status(self):
        done = subprocess.run([TOOLS / "status", "--data", self.data, "--json"], capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)

    def addresses(self):
        """gRPC addresses: those of frontends first, of gateways last."""
        edges = [p for p in self.status()["processes"] if p.get("grpc")]
        edges.sort(key=lambda p: p["role"] != "frontend")
        return [p["grpc"] for p in edges]


async def in_thread(call):
    return await asyncio.get_running_loop().run_in_executor(None, call)


class Fault:
    """One fault that was done: what, to whom, when (monotonic), and how long until everything was healthy again."""

    def __init__(self, kind, name):
        self.kind = kind
        self.name = name
        self.at = time.monotonic()
        self.seconds = 0.0


def victims(status):
    """(name, pid) of the daemons that may be hurt now, and of PostgreSQL."""
    daemons = [(p["name"], p["pid"]) for p in status["processes"] if p["pid"] and p["healthy"]]
    return daemons, status["postgres"].get("pid")


def send(pid, number):
    """False when the process is gone already."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def wait_gone(pid, seconds):
    """Whether the process ended in that time."""
    until = time.monotonic() + seconds
    while not gone(pid):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.02)
    return True


async def kill(cluster, choose, pid):
    """kill -9, and a new start after a moment."""
    send(pid, signal.SIGKILL)
    await asyncio.sleep(choose.uniform(0, 1.5))
    await in_thread(cluster.up)


async def leave_dead(cluster, choose, pid):
    """kill -9, and nobody starts it again for ten seconds: the others must take over."""
    send(pid, signal.SIGKILL)
    await asyncio.sleep(10)
    await in_thread(cluster.up)


async def drain(cluster, choose, pid):
    """SIGTERM, as a rolling restart does: it must end by itself."""
    send(pid, signal.SIGTERM)
    if not await wait_gone(pid, 45):
        raise RuntimeError(f"process {pid} did not end after SIGTERM")
    await in_thread(cluster.up)


async def freeze(cluster, choose, pid):
    """Ten seconds of SIGSTOP: longer than the lease, so it comes back as a zombie."""
    send(pid, signal.SIGSTOP)
    await asyncio.sleep(10)
    send(pid, signal.SIGCONT)
    await asyncio.sleep(1)
    await in_thread(cluster.up)  # a process that was declared dead ends itself


async def stall_database(cluster, choose, pid):
    """PostgreSQL's processes stand still for a while; nobody may be declared dead for that."""
    family = [pid, *children(pid)]
    for each in family:
        send(each, signal.SIGSTOP)
    await asyncio.sleep(choose.uniform(1, 6))
    for each in family:
        send(each, signal.SIGCONT)


def children(pid):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


DAEMON_FAULTS = {"kill -9": kill, "dead for 10 s": leave_dead, "SIGTERM": drain, "SIGSTOP 10 s": freeze}
DATABASE_FAULTS = {"kill -9": kill, "stall": stall_database}


def choose_fault(choose, kinds, daemons, postgres):
    """(kind, name, pid, what to do); None when there is nobody."""
    if postgres and choose.random() < 0.15:
        kind = choose.choice([k for k in DATABASE_FAULTS if k in kinds])
        return kind, "postgres", postgres, DATABASE_FAULTS[kind]
    if not daemons:
        return None
    name, pid = choose.choice(daemons)
    kind = choose.choice([k for k in DAEMON_FAULTS if k in kinds])
    return kind, name, pid, DAEMON_FAULTS[kind]


async def rage(cluster, stop, seed, pause=(1.0, 4.0), kinds=("kill -9",)):
    """One fault after the other until `stop` is set; answers them."""
    choose = random.Random(seed)
    log = []
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), choose.uniform(*pause))
            break
        except asyncio.TimeoutError:
            pass
        picked = choose_fault(choose, kinds, *victims(await in_thread(cluster.status)))
        if not picked:
            continue
        kind, name, pid, do = picked
        fault = Fault(kind, name)
        await do(cluster, choose, pid)
        fault.seconds = time.monotonic() - fault.at
        log.append(fault)
    return log
