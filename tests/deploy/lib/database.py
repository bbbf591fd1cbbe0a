"""PostgreSQL servers that fail over and are restored, and a Perdure on them, for cases/database.py."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from lib.cluster import free_port
from lib.manifests import ROOT

sys.path.insert(0, str(ROOT / "tools" / "lib"))
import postgres  # noqa: E402
import process  # noqa: E402

WAIT_S = 60
MANY = 500  # starts


class Server(postgres.Postgres):
    """A private PostgreSQL in a folder of its own."""

    def __init__(self, folder):
        folder.mkdir()
        folder.chmod(0o755)
        (folder / "logs").mkdir()
        super().__init__(folder, free_port())
        self.pid = self.ticks = None

    def up(self, **settings):
        self.pid, self.ticks = self.start(settings)
        return self

    def sql(self, query):
        return self._run("psql", "-X", "-A", "-t", "-h", self.socket_folder, "-p", str(self.port), "-U", postgres.USER,
                         "-d", postgres.DATABASE, "-c", query).strip()  # fmt: skip

    def set(self, name, value):
        """A setting, in force when this returns."""
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.sql("SELECT pg_reload_conf()")
        until(lambda: self.sql(f"SHOW {name}") == value, f"{name} is {value}")

    def copy_of(self, other, *options):
        """The files of a running server, by pg_basebackup."""
        self._place()
        self._run("pg_basebackup", "-h", other.socket_folder, "-p", str(other.port), "-U", postgres.USER, "-D",
                  self.folder / "cluster", "-X", "stream", "-c", "fast", *options)  # fmt: skip
        return self

    def owned(self, path):
        """A folder that its user may write to."""
        path.mkdir()
        self._own(path)
        return path

    def die(self):
        """As if its machine had lost power: every process at once."""
        pids = [self.pid, *children(self.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.reap()
        self.pid = None

    def stop(self):
        if self.pid:
            postgres.stop(self.pid, self.ticks)
            self.pid = None


def free_block():
    """The first of the ports that a cluster of tools/up takes."""
    while True:
        base = random.randrange(20000, 30000, 100)
        if all(postgres.port_free(base + offset) for offset in (0, 1, *range(10, 50))):
            return base


def children(pid):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def until(condition, what, pause_s=0.1):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {WAIT_S} s: {what}")
        time.sleep(pause_s)


def dsn_of(*servers):
    """A connection string that finds whichever of them takes writes."""
    hosts, ports = (",".join(str(value) for value in values) for values in
                    zip(*((s.socket_folder, s.port) for s in servers)))  # fmt: skip
    return f"host={hosts} port={ports} user={postgres.USER} dbname={postgres.DATABASE} target_session_attrs=read-write"


class Perdure:
    """A cluster of tools/up on a database of ours."""

    def __init__(self, folder, dsn):
        self.folder, self.dsn, self.port = folder, dsn, free_block()
        self.address = f"127.0.0.1:{self.port}"

    def tool(self, name, *arguments):
        done = subprocess.run([ROOT / "tools" / name, "--data", self.folder, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout

    def up(self):
        self.tool("up", "--detach", "--no-build", "--port", str(self.port), "--pg", self.dsn, "--shards", "16")
        return self

    def down(self):
        if self.folder.exists():
            self.tool("down")


@contextlib.contextmanager
def place():
    """A folder that PostgreSQL's user may enter; servers and clusters made by `keep` are stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-database-"))
    folder.chmod(0o755)
    made = []

    def keep(thing):
        made.append(thing)
        return thing

    try:
        yield folder, keep
    finally:
        for thing in reversed(made):
            thing.down() if isinstance(thing, Perdure) else thing.stop()
        shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------- work and its traces


class Starter:
    """Starts workflows, many at a time, and remembers which ones the server acknowledged."""

    def __init__(self, address):
        self.address, self.acknowledged, self.running = address, [], True
        self.away_s = None  # from the end of what happened meanwhile to the next start that succeeds

    async def _start(self, client):
        while self.running:
            name = str(uuid.uuid4())
            try:
                await client.start_workflow("waits", id=name, task_queue="nobody")
                self.acknowledged.append(name)
            except RPCError:
                await asyncio.sleep(0.05)

    async def run(self, meanwhile):
        """Starts while `meanwhile` (a function, run in a thread) does its work, and some more before and after."""
        client = await Client.connect(self.address)
        tasks = [asyncio.create_task(self._start(client)) for _ in range(8)]
        try:
            await asyncio.to_thread(self.wait_for_more, MANY)
            await asyncio.to_thread(meanwhile)
            began = time.monotonic()
            await asyncio.to_thread(self.wait_for_more, 1)
            self.away_s = time.monotonic() - began
            await asyncio.to_thread(self.wait_for_more, MANY)
        finally:
            self.running = False
            await asyncio.gather(*tasks)

    def wait_for_more(self, count):
        """Until so many more starts are acknowledged; not on the event loop."""
        goal = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= goal, f"{count} more starts are acknowledged", 0.01)


async def lost(address, names):
    """Those of the names that the server doesn't know."""
    client = await Client.connect(address)
    gone = []

    async def look(name):
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return await client.get_workflow_handle(name).describe()
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:
                    return gone.append(name)
                assert time.monotonic() < deadline, error
                await asyncio.sleep(0.1)

    for i in range(0, len(names), 50):
        await asyncio.gather(*(look(name) for name in names[i : i + 50]))
    return gone
