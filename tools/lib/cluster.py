"""A cluster on this machine: which processes it has, their ports, what is running, and the file that remembers it.

A data directory holds state.json (options and pids), perdure.yaml, logs/, nodes/ (a folder a daemon), and postgres/.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import process
from postgres import DATABASE, USER, Postgres, PostgresError, port_free, stop as stop_postgres

ROOT = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 90

# role → (program below the build folder, plural as in --frontends, offset of its ports)
ROLES = {
    "history": ("services/history/perdure-history", "histories", 2),
    "matching": ("services/matching/perdure-matching", "matchings", 3),
    "worker_gateway": ("services/worker_gateway/perdure-worker-gateway", "gateways", 1),
    "frontend": ("services/frontend/perdure-frontend", "frontends", 0),
}
SINGLE = ("services/standalone/perdure", "standalone")
PERDURECTL = "tools/perdurectl/perdurectl"
# Those at the edge go first, so that nobody loses what it talks to.
STOP_ORDER = [("frontend", "worker_gateway", "standalone"), ("matching",), ("history",)]
PREFIX = {"worker_gateway": "gateway"}


class ClusterError(Exception):
    """What a person should read, without a trace."""


@dataclass
class Options:
    """What tools/up was asked for; remembered, so that a later tools/up needs only --data."""

    port: int = 7233
    host: str = "127.0.0.1"
    frontends: int = 1
    histories: int = 1
    matchings: int = 1
    gateways: int = 1
    single: bool = False
    pg: str = ""
    shards: int = 64
    settings: dict = field(default_factory=dict)  # section.key → value, for perdure.yaml
    # Peers dial a daemon's inbox, and it dials PostgreSQL, at ports so much higher (of its inbox, of its HTTP): there
    # is a proxy of whoever tests what cut networks do. 0: none.
    through: int = 0


@dataclass
class Daemon:
    name: str
    role: str
    grpc: str | None
    http: str
    nng: str
    pid: int | None = None
    ticks: int | None = None  # of its start: see process.start_ticks

    @property
    def alive(self):
        return process.alive(self.pid, self.ticks)


def build_dir():
    return ROOT / os.environ.get("PERDURE_BUILD_DIR", "build")


def ports(options, role, index):
    """(gRPC, HTTP, nng) of the index-th process of a role.

    P is the first frontend, P+1 the first gateway, P+5 PostgreSQL, P+10 the first frontend's HTTP; all others take
    three ports each from P+20 on. With up to six of each role, clusters whose ports are 100 apart don't meet.
    """
    base = options.port + 20 + (index * len(ROLES) + ROLES[role][2]) * 3
    grpc = {"frontend": options.port, "worker_gateway": options.port + 1}.get(role) if index == 0 else base
    http = options.port + 10 if role == "frontend" and index == 0 else base + 1
    return (grpc if role in ("frontend", "worker_gateway") else None), http, base + 2


def planned(options):
    """The daemons that the options ask for, in the order in which they start."""
    host = options.host
    if options.single:
        http = f"{host}:{options.port + 10}"
        return [Daemon("perdure", SINGLE[1], f"{host}:{options.port}", http, "inproc://perdure-history")]
    scheme = "tls+tcp" if "rpc.tls_cert_file" in options.settings else "tcp"
    daemons = []
    for role, (_, plural, _) in ROLES.items():
        for index in range(getattr(options, plural)):
            grpc, http, nng = ports(options, role, index)
            daemons.append(
                Daemon(
                    name=f"{PREFIX.get(role, role)}-{index}",
                    role=role,
                    grpc=f"{host}:{grpc}" if grpc else None,
                    http=f"{host}:{http}",
                    nng=f"{scheme}://127.0.0.1:{nng}",
                )
            )
    return daemons


class Cluster:
    def __init__(self, data):
        self.data = Path(data).absolute()
        self.options = Options()
        self.daemons = []
        self.postgres_pid = None
        self.postgres_ticks = None
        self.known = False  # has it been up before?
        self.reload()

    # ---- the state file

    @property
    def state_file(self):
        return self.data / "state.json"

    def reload(self):
        try:
            state = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return
        self.known = True
        self.options = Options(**state["options"])
        self.daemons = [Daemon(**daemon) for daemon in state["daemons"]]
        self.postgres_pid, self.postgres_ticks = state["postgres"]

    def save(self):
        state = {
            "options": asdict(self.options),
            "daemons": [asdict(daemon) for daemon in self.daemons],
            "postgres": [self.postgres_pid, self.postgres_ticks],
        }
        new = self.state_file.with_suffix(".new")
        new.write_text(json.dumps(state, indent=1) + "\n")
        new.rename(self.state_file)

    @contextlib.contextmanager
    def locked(self):
        """One tool at a time changes a cluster; what another one changed meanwhile is read again."""
        self.data.mkdir(parents=True, exist_ok=True)
        with open(self.data / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.reload()
            yield

    # ---- what is running

    @property
    def running(self):
        return [daemon for daemon in self.daemons if daemon.alive]

    @property
    def postgres(self):
        return None if self.options.pg else Postgres(self.data, self.options.port + 5)

    @property
    def postgres_alive(self):
        return process.alive(self.postgres_pid, self.postgres_ticks)

    @property
    def dsn(self):
        return self.options.pg or self.postgres.dsn

    def log_of(self, daemon):
        return self.data / "logs" / f"{daemon.name}.log"

    # ---- starting

    def start(self, options, say):
        """Makes what runs equal to the options: starts what is missing, stops what is too many; then all serve."""
        busy = bool(self.running) or self.postgres_alive
        fixed = ("port", "host", "single", "pg", "settings")
        if busy and any(getattr(options, name) != getattr(self.options, name) for name in fixed):
            raise ClusterError(f"{self.data}: is running with other options; tools/down --data {self.data} first")
        for folder in ("logs", "nodes"):
            (self.data / folder).mkdir(exist_ok=True)
        old = {daemon.name: daemon for daemon in self.daemons}
        self.options = options
        self.daemons = [self._keep(daemon, old) for daemon in planned(options)]
        surplus = [daemon for name, daemon in old.items() if name not in {d.name for d in self.daemons}]
        self._start_postgres(say)
        self._write_config()
        self._migrate()
        self._stop_daemons(surplus)
        started = [daemon for daemon in self.daemons if not daemon.alive]
        for daemon in started:
            self._start_daemon(daemon)
            self.save()
        self.save()
        self._wait_ready(say)
        return started

    @staticmethod
    def _keep(daemon, old):
        before = old.get(daemon.name)
        if before and before.alive:
            daemon.pid, daemon.ticks = before.pid, before.ticks
        return daemon

    def _start_postgres(self, say):
        if self.options.pg or self.postgres_alive:
            return
        server = self.postgres
        if not port_free(server.port):
            raise ClusterError(f"port {server.port} (for PostgreSQL) is taken; choose another --port")
        try:
            server.create()
            self.postgres_pid, self.postgres_ticks = server.start()
        except (PostgresError, OSError, KeyError) as error:
            raise ClusterError(str(error)) from error
        say(f"postgres started, pid {self.postgres_pid}")
        self.save()

    def _write_config(self):
        sections = {"database": {"dsn": self.dsn}, "cluster": {"shards": str(self.options.shards)}}
        for name, value in self.options.settings.items():
            section, _, key = name.partition(".")
            sections.setdefault(section, {})[key] = value
        lines = ["# Written by tools/up at each start; --set section.key=value adds to it.\n"]
        for section, settings in sections.items():
            lines.append(f"{section}:\n")
            lines += [f"  {key}: {json.dumps(value)}\n" for key, value in settings.items()]
        config = self.data / "perdure.yaml"
        config.touch(mode=0o600)
        config.write_text("".join(lines))

    def _migrate(self):
        """The schema, and the namespace `default`; quick when they are there."""
        done = subprocess.run(
            [build_dir() / PERDURECTL, "--dsn", self.dsn, "schema", "migrate", "--shards", str(self.options.shards)],
            text=True,
            capture_output=True,
        )
        if done.returncode != 0:
            raise ClusterError(f"perdurectl schema migrate: {done.stderr.strip() or done.stdout.strip()}")

    def _flags(self, daemon):
        host, http = daemon.http.rsplit(":", 1)
        flags = [f"--node.id={daemon.name}", f"--node.data_dir={self.data / 'nodes' / daemon.name}"]
        flags.append(f"--http.listen={host}")
        if daemon.role == SINGLE[1]:
            for section, grpc in (("frontend", self.options.port), ("worker_gateway", self.options.port + 1)):
                flags += [f"--{section}.grpc_listen={host}", f"--{section}.grpc_port={grpc}"]
            return [*flags, f"--frontend.http_port={http}"]
        flags += [f"--{daemon.role}.http_port={http}", f"--rpc.listen={daemon.nng}"]
        if self.options.through:
            inbox = int(daemon.nng.rsplit(":", 1)[1]) + self.options.through
            database = f"host=127.0.0.1 port={int(http) + self.options.through} user={USER} dbname={DATABASE}"
            flags += [f"--rpc.advertise=tcp://127.0.0.1:{inbox}", f"--database.dsn={database}"]
        if daemon.grpc:
            flags += [f"--{daemon.role}.grpc_listen={host}"]
            flags += [f"--{daemon.role}.grpc_port={daemon.grpc.rsplit(':', 1)[1]}"]
        return flags

    def _start_daemon(self, daemon):
        program = build_dir() / (SINGLE[0] if daemon.role == SINGLE[1] else ROLES[daemon.role][0])
        if not program.exists():
            raise ClusterError(f"{program} does not exist; run tools/build")
        (self.data / "nodes" / daemon.name).mkdir(exist_ok=True)
        command = [program, "--config", self.data / "perdure.yaml", *self._flags(daemon)]
        daemon.pid, daemon.ticks = process.spawn(command, self.log_of(daemon), cwd=self.data)

    def _wait_ready(self, say):
        waiting = list(self.daemons)
        deadline = time.monotonic() + READY_TIMEOUT_S
        why = ""
        while waiting:
            daemon = waiting[0]
            process.reap()
            if not daemon.alive:
                how = process.ended.get(daemon.pid, "earlier")
                raise ClusterError(f"{daemon.name} ended while starting ({how}); {self.log_of(daemon)} ends with:\n"
                                   f"{process.tail(self.log_of(daemon))}")  # fmt: skip
            status, why = process.http_get(daemon.http, "/readyz")
            if status == 200 or "told to drain" in (why or ""):
                say(f"{daemon.name} {'serves' if status == 200 else 'is told to drain'}, pid {daemon.pid}")
                waiting.pop(0)
            elif time.monotonic() > deadline:
                raise ClusterError(
                    f"{daemon.name} is not ready after {READY_TIMEOUT_S} s ({why}); see {self.log_of(daemon)}"
                )
            else:
                time.sleep(process.POLL_S)

    @property
    def stopped(self):
        return not any(daemon.pid for daemon in self.daemons)

    @property
    def dead(self):
        """The names of processes that ended though nobody stopped them."""
        names = [daemon.name for daemon in self.daemons if daemon.pid and not daemon.alive]
        return ["postgres"] * bool(self.postgres_pid and not self.postgres_alive) + names

    def revive(self, names, say):
        """Starts some of the dead again; waits for nothing."""
        if "postgres" in names:
            self._start_postgres(say)
        for daemon in self.daemons:
            if daemon.name in names and not daemon.alive:
                self._start_daemon(daemon)
        self.save()

    # ---- stopping

    def _stop_daemons(self, daemons):
        late = []
        for roles in STOP_ORDER:
            late += process.stop([(d.name, d.pid, d.ticks) for d in daemons if d.role in roles])
        return late

    def stop(self):
        """Stops everything; answers the names of those that had to be killed."""
        late = self._stop_daemons(self.daemons)
        if self.postgres_alive:
            stop_postgres(self.postgres_pid, self.postgres_ticks)
        for daemon in self.daemons:
            daemon.pid = daemon.ticks = None  # so that nobody takes it for dead and starts it again
        self.postgres_pid = self.postgres_ticks = None
        self.save()
        return late

    def start_one(self, name):
        """Starts a daemon that has ended; doesn't wait until it serves."""
        daemon = next(each for each in self.daemons if each.name == name)
        if not daemon.alive:
            self._start_daemon(daemon)
            self.save()

    def restart(self, name, say):
        """Drains one daemon and starts it again; then all serve."""
        daemon = next(each for each in self.daemons if each.name == name)
        if self._stop_daemons([daemon]):
            say(f"{name} did not stop in time and was killed")
        self._start_daemon(daemon)
        self.save()
        self._wait_ready(say)

    # ---- telling

    def status(self):
        """The state as tools/status prints it."""
        processes = []
        for daemon in self.daemons:
            up = daemon.alive
            processes.append(
                {
                    "name": daemon.name,
                    "role": daemon.role,
                    "pid": daemon.pid if up else None,
                    "grpc": daemon.grpc,
                    "http": daemon.http,
                    "nng": daemon.nng,
                    "healthy": up and process.http_get(daemon.http, "/healthz")[0] == 200,
                    "ready": up and process.http_get(daemon.http, "/readyz")[0] == 200,
                }
            )
        return {
            "processes": processes,
            "postgres": {"pid": self.postgres_pid if self.postgres_alive else None, "dsn": self.dsn},
        }
