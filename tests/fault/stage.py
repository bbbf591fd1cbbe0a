"""A cluster whose network can be cut, and whose daemons are started again when they end, as an orchestrator does."""

import asyncio
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "lib"))
import process  # noqa: E402
from cluster import PERDURECTL, Cluster, ClusterError, Options, build_dir, planned  # noqa: E402
from net import Net  # noqa: E402

THROUGH = 100  # see tools/lib: Options.through
CLIENTS, WORKERS = 2, 3  # offsets of the ports of the two services
PLURALS = {"frontend": "frontends", "history": "histories", "matching": "matchings", "gateway": "gateways"}


def free_port():
    """The first of a block of ports that nobody listens on."""
    while True:
        port = random.randrange(11000, 31000, 200)  # below the ports that connections are given
        try:
            for offset in (*range(100), *range(120, 192)):
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", port + offset))
            return port
        except OSError:
            continue


async def in_thread(call, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, call, *arguments)


class Stage:
    """`shape`: role → how many. All methods but those of the loop may block: call them in a thread."""

    def __init__(self, shape, port=None, settings=None, keep=False):
        self.data = Path(tempfile.mkdtemp(prefix="perdure-fault-"))
        self.data.chmod(0o755)  # PostgreSQL's user has to get in
        self.keep = keep
        self.shape = shape
        counts = {PLURALS[role]: count for role, count in shape.items()}
        self.options = Options(port=port or free_port(), through=THROUGH, settings=settings or {}, **counts)
        self.cluster = Cluster(self.data)
        self.net = None
        self.lock = threading.RLock()
        self.down = set()  # names of those that are meant to be dead, or are being dealt with
        self.ended = {}  # name → times it ended without being told to
        self.closing = threading.Event()
        self.keeper = threading.Thread(target=self._keep, daemon=True)

    # ---- life

    def up(self):
        spare = replace(self.options, **{p: getattr(self.options, p) + 1 for p in PLURALS.values()})
        daemons = planned(spare)
        edges = {role: [d.name for d in daemons if d.role == role] for role in ("frontend", "worker_gateway")}
        port = self.options.port
        socket_path = str(self.data / "postgres" / "run" / f".s.PGSQL.{port + 5}")
        services = {port + CLIENTS: edges["frontend"], port + WORKERS: edges["worker_gateway"]}
        self.net = Net(daemons, THROUGH, socket_path, services)
        with self.cluster.locked():
            self.cluster.start(self.options, lambda text: None)
        self.keeper.start()

    def close(self):
        self.closing.set()
        if self.keeper.is_alive():
            self.keeper.join(60)
        self.cluster.stop()
        if self.net:
            self.net.close()
        if not self.keep:
            shutil.rmtree(self.data, ignore_errors=True)

    def _keep(self):
        while not self.closing.wait(0.3):
            with self.lock:
                for daemon in self.cluster.daemons:
                    if daemon.name not in self.down and not daemon.alive:
                        self.ended[daemon.name] = self.ended.get(daemon.name, 0) + 1
                        self.cluster.start_one(daemon.name)

    # ---- what is there

    @property
    def clients(self):
        return f"127.0.0.1:{self.options.port + CLIENTS}"

    @property
    def workers(self):
        return f"127.0.0.1:{self.options.port + WORKERS}"

    def frontends(self):
        return [d.grpc for d in self.cluster.daemons if d.role == "frontend"]

    def daemon(self, name):
        return next(d for d in self.cluster.daemons if d.name == name)

    def names(self, role=None):
        return [f"{r}-{i}" for r, n in self.shape.items() if role in (None, r) for i in range(n)]

    def wait_ready(self, seconds=60):
        """Until all daemons serve."""
        until = time.monotonic() + seconds
        waiting = [d for d in self.cluster.daemons if d.name not in self.down]
        while waiting:
            waiting = [d for d in waiting if process.http_get(d.http, "/readyz")[0] != 200]
            if waiting and time.monotonic() > until:
                raise RuntimeError(f"not ready after {seconds} s: {', '.join(d.name for d in waiting)}")
            time.sleep(0.05)

    def sql(self, text):
        from postgres import binaries

        where = ["-h", str(self.cluster.postgres.socket_folder), "-p", str(self.options.port + 5), "-U", "perdure"]
        done = subprocess.run(
            [binaries() / "psql", *where, "-d", "perdure", "-AtX", "-c", text],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return done.stdout.splitlines()

    def incarnations(self):
        return dict(row.split("|") for row in self.sql("SELECT node_id, incarnation FROM node WHERE NOT dead"))

    def audit(self):
        """What the auditors found in a round over everything; None when some shard could not be looked at."""
        command = [build_dir() / PERDURECTL, "--dsn", self.cluster.dsn, "--json", "audit"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode not in (0, 3):
            return None
        answer = json.loads(done.stdout)
        if answer["shards_missed"]:
            return None
        return [f"{node['node_id']}: {json.dumps(found)}" for node in answer["nodes"] for found in node["violations"]]

    # ---- what may be done to it

    def pause_keeper(self, *names):
        with self.lock:
            self.down.update(names)

    def start(self, *names):
        with self.lock:
            for name in names:
                self.cluster.start_one(name)
                self.down.discard(name)

    def restart(self, name):
        """As tools/restart does."""
        self.pause_keeper(name)
        try:
            self.cluster.restart(name, lambda text: None)
        finally:
            self.down.discard(name)

    def start_postgres(self):
        self.cluster._start_postgres(lambda text: None)

    def resize(self, role, count):
        with self.lock, self.cluster.locked():
            self.cluster.start(replace(self.options, **{PLURALS[role]: count}), lambda text: None)


__all__ = ["ClusterError", "Stage", "free_port", "in_thread"]
