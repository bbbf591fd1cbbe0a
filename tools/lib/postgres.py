"""A private PostgreSQL: made with initdb, started on a Unix socket and a local port, stopped.

PostgreSQL refuses to run as root, so for root it runs as the user `postgres`, and its data lies where that user may go.
"""

import hashlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import process

USER = "perdure"
DATABASE = "perdure"
SYSTEM_USER = "postgres"
START_TIMEOUT_S = 60
LINGER_TIMEOUT_S = 20  # of what a killed server leaves behind
# The path of a Unix socket has to fit into sockaddr_un.
SOCKET_PATH_MAX = 107

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "300",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "autovacuum_naptime": "15s",  # the journal's table is as large as what is written between two vacuums
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
}


class PostgresError(Exception):
    pass


def binaries():
    """The newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[4]))
    if found:
        return found[-1].parent
    other = shutil.which("postgres")
    if other:
        return Path(other).parent
    raise PostgresError("PostgreSQL is not installed; run tools/install")


def identity():
    """How to run its programs: as ourselves, or for root as the user that Debian's package made."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(SYSTEM_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def reachable(folder, identity_):
    """May that user enter the folder?"""
    return subprocess.run(["test", "-x", str(folder)], cwd="/", **identity_).returncode == 0


class Postgres:
    """The server whose files belong to the folder `data`; `port` names its socket and its TCP port."""

    def __init__(self, data, port):
        self.data = Path(data).absolute()
        self.port = port
        self.identity = identity()
        self.log = self.data / "logs" / "postgres.log"
        link = self.data / "postgres"
        self.folder = Path(os.readlink(link)) if link.is_symlink() else link

    @property
    def socket_folder(self):
        near = self.folder / "run"
        if len(str(near / f".s.PGSQL.{self.port}")) <= SOCKET_PATH_MAX:
            return near
        return Path("/tmp") / f"perdure-{hashlib.sha256(str(self.data).encode()).hexdigest()[:12]}"

    @property
    def dsn(self):
        return f"host={self.socket_folder} port={self.port} user={USER} dbname={DATABASE}"

    def create(self):
        """Makes the database files unless they are there."""
        if (self.folder / "cluster" / "PG_VERSION").exists():
            return
        self._place()
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(18) + "\n")
        self._own(password)
        cluster = self.folder / "cluster"
        shutil.rmtree(cluster, ignore_errors=True)
        self._run(
            "initdb", "-D", cluster, "-U", USER, "--encoding=UTF8", "--locale=C", "--auth-local=trust",
            "--auth-host=scram-sha-256", f"--pwfile={password}", "--no-sync",
        )  # fmt: skip

    def _own(self, path):
        if self.identity:
            os.chown(path, self.identity["user"], self.identity["group"])

    def _place(self):
        """Chooses the folder: in `data` if PostgreSQL's user may go there, else below /var/lib, linked from there."""
        link = self.data / "postgres"
        if reachable(self.data, self.identity):
            self.folder = link
        else:
            name = hashlib.sha256(str(self.data).encode()).hexdigest()[:16]
            self.folder = Path("/var/lib/perdure") / name
            shutil.rmtree(self.folder, ignore_errors=True)  # of a data directory that was deleted since
            link.unlink(missing_ok=True)
            link.symlink_to(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._own(self.folder)
        self.folder.chmod(0o700)

    def _run(self, program, *arguments, **options):
        done = subprocess.run(
            [binaries() / program, *arguments], cwd="/", text=True, capture_output=True, **self.identity, **options
        )
        if done.returncode != 0:
            raise PostgresError(f"{program}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, settings=None):
        """Starts the server (create() came before) and waits until it answers; answers (pid, start ticks)."""
        sockets = self.socket_folder
        sockets.mkdir(mode=0o700, exist_ok=True)
        self._own(sockets)
        self._clear_locks()
        command = [
            binaries() / "postgres", "-D", self.folder / "cluster", "-p", str(self.port), "-k", sockets,
            "-c", "listen_addresses=127.0.0.1",
        ]  # fmt: skip
        for name, value in {**SETTINGS, **(settings or {})}.items():
            command += ["-c", f"{name}={value}"]
        pid, ticks = process.spawn(command, self.log, cwd="/", **self.identity)
        try:
            self._wait(pid, ticks)
            self._create_database()
        except BaseException:
            stop(pid, ticks)  # nobody would know its pid
            raise
        return pid, ticks

    def _clear_locks(self):
        """Removes the lock files of a server that was killed, once none of its processes is left.

        PostgreSQL does so itself, unless the pid in the file exists: it may be somebody else's by now, or a zombie.
        """
        deadline = time.monotonic() + LINGER_TIMEOUT_S
        while self._users():
            if time.monotonic() > deadline:
                raise PostgresError(f"{self.folder}: processes {self._users()} still use this database")
            time.sleep(process.POLL_S)
        for lock in (
            self.folder / "cluster" / "postmaster.pid",
            self.socket_folder / f".s.PGSQL.{self.port}.lock",
        ):
            lock.unlink(missing_ok=True)

    def _users(self):
        """Pids of the server's processes, also those that outlive a killed postmaster: all work in its folder."""
        cluster = str(self.folder / "cluster")
        pids = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd") == cluster:
                    pids.append(int(entry.name))
            except OSError:
                continue  # gone, or not ours to look at
        return pids

    def _wait(self, pid, ticks):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            process.reap()
            if not process.alive(pid, ticks):
                raise PostgresError(f"PostgreSQL ended while starting:\n{process.tail(self.log)}")
            ready = subprocess.run(
                [binaries() / "pg_isready", "-q", "-h", self.socket_folder, "-p", str(self.port), "-U", USER,
                 "-d", "postgres"],
                cwd="/",
            )  # fmt: skip
            if ready.returncode == 0:
                return
            time.sleep(process.POLL_S)
        raise PostgresError(f"PostgreSQL does not answer after {START_TIMEOUT_S} s; see {self.log}")

    def _create_database(self):
        where = ["-h", self.socket_folder, "-p", str(self.port), "-U", USER]
        names = self._run("psql", *where, "-d", "postgres", "-Atc", "SELECT datname FROM pg_database")
        if DATABASE not in names.split():
            self._run("createdb", *where, DATABASE)


def stop(pid, ticks, grace_s=30):
    """A fast shutdown: running transactions are rolled back."""
    process.stop([("postgres", pid, ticks)], signal.SIGINT, grace_s)


def port_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
