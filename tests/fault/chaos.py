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


def victims(status, postgres):
    """(name, pid) of what may be killed now."""
    found = [(p["name"], p["pid"]) for p in status["processes"] if p["pid"] and p["healthy"]]
    if postgres and status["postgres"].get("pid"):
        found.append(("postgres", status["postgres"]["pid"]))
    return found


async def rage(cluster, stop, seed, pause=(1.0, 4.0), postgres=True):
    """Kills and restarts until `stop` is set; answers a list of (seconds since the start, name, seconds to restart)."""
    choose = random.Random(seed)
    began = time.monotonic()
    log = []
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), choose.uniform(*pause))
            break
        except asyncio.TimeoutError:
            pass
        candidates = victims(await in_thread(cluster.status), postgres)
        if not candidates:
            continue
        name, pid = choose.choice(candidates)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed = time.monotonic()
        await asyncio.sleep(choose.uniform(0, 1.5))
        await in_thread(cluster.up)
        log.append((killed - began, name, time.monotonic() - killed))
    return log
