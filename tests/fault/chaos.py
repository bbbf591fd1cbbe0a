"""A cluster of tools/up on a data directory of its own, and what hurts its processes; see stage.py for one whose
network can be cut as well."""

import asyncio
import json
import os
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
