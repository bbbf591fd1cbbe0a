"""A cluster with TLS everywhere, its perdurectl, and its API without an SDK."""

import asyncio
import json
import subprocess
import time
import uuid
from dataclasses import replace
from pathlib import Path

from cluster import PERDURECTL, Cluster, Options, build_dir

PATIENCE_S = 30
SHARDS = 16


class Failed(Exception):
    """What should be true is not."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


async def eventually(look, text, seconds=PATIENCE_S):
    """Waits until look() is true and answers that; looks several times a second."""
    end = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        expect(time.monotonic() < end, f"waited in vain: {text}")
        await asyncio.sleep(0.1)  # the pace of looking



class World:
    """What the cases work with. `rpc`, `edge`: directories of certificates; `authority`: the key of both."""

    def __init__(self, data, port):
        self.data = Path(data)
        self.authority = self.data / "authority"
        self.rpc = self.data / "rpc"
        self.edge = self.data / "edge"
        self.cluster = Cluster(self.data / "cluster")
        self.port = port

    # ---- the cluster

    def begin(self):
        self.local("cert", "make", self.rpc, "--ca", self.authority)
        self.local("cert", "make", self.edge, "--ca", self.authority, "--name", "edge", "--san", "localhost,127.0.0.1")
        settings = {
            "rpc.tls_cert_file": self.rpc / "tls.crt",
            "rpc.tls_key_file": self.rpc / "tls.key",
            "rpc.tls_ca_file": self.rpc / "ca.crt",
            "grpc.tls_cert_file": self.edge / "tls.crt",
            "grpc.tls_key_file": self.edge / "tls.key",
        }
        options = Options(port=self.port, shards=SHARDS, settings={name: str(path) for name, path in settings.items()})
        with self.cluster.locked():
            self.cluster.start(options, lambda text: None)

    def end(self):
        self.cluster.reload()
        self.cluster.stop()

    async def grow(self, **counts):
        """More daemons of a kind: they and all others have to connect to each other anew."""

        def start():
            with self.cluster.locked():
                self.cluster.start(replace(self.cluster.options, **counts), lambda text: None)

        await asyncio.get_running_loop().run_in_executor(None, start)

    async def restart(self, name):
        await asyncio.get_running_loop().run_in_executor(None, self.cluster.restart, name, lambda text: None)

    def daemon(self, role):
        return next(daemon for daemon in self.cluster.daemons if daemon.role == role)

    def log(self, role):
        return self.cluster.log_of(self.daemon(role)).read_text()

    # ---- perdurectl

    def run(self, *arguments, status=0):
        """Its standard output; the status must be as said."""
        done = subprocess.run(
            [build_dir() / PERDURECTL, *map(str, arguments)], text=True, capture_output=True, stdin=subprocess.DEVNULL
        )
        words = " ".join(map(str, arguments))
        expect(done.returncode == status, f"perdurectl {words}: status {done.returncode}: {done.stderr}{done.stdout}")
        self.said = done.stderr
        return done.stdout

    def local(self, *arguments, status=0):
        return self.run(*arguments, status=status)

    def ctl(self, *arguments, status=0):
        return self.run("--dsn", self.cluster.dsn, *arguments, status=status)

    def json(self, *arguments, status=0):
        return json.loads(self.ctl("--json", *arguments, status=status))

    async def ctl_async(self, *arguments, status=0):
        """For while requests go on."""
        return await asyncio.get_running_loop().run_in_executor(None, lambda: self.ctl(*arguments, status=status))

    def sql(self, statement):
        done = subprocess.run(
            ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.cluster.dsn, "-c", statement],
            text=True,
            capture_output=True,
        )
        expect(done.returncode == 0, f"psql: {done.stderr}")
        return done.stdout.strip()

    # ---- the API

    def wire(self):
        """A new connection to the frontend, that trusts what the edge's ca.crt holds now."""
        from lib.wire import Wire

        return Wire(self.daemon("frontend").grpc, (self.edge / "ca.crt").read_bytes())

    @staticmethod
    async def start(wire, workflow_id, queue="nobody", timeout_s=20):
        request = {
            "namespace": "default",
            "workflow_id": workflow_id,
            "workflow_type": {"name": "kind"},
            "task_queue": {"name": queue},
            "request_id": str(uuid.uuid4()),
        }
        return (await wire.call("StartWorkflowExecution", request, timeout_s=timeout_s)).run_id

    @staticmethod
    async def terminate(wire, workflow_id):
        execution = {"workflow_id": workflow_id}
        await wire.call("TerminateWorkflowExecution", {"namespace": "default", "workflow_execution": execution})


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"
