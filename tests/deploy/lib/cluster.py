"""The production overlay's pods as processes of this machine: a private PostgreSQL, certificates made as the guide says,
every container with its own command, environment and files; as the image's user where we may choose it."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from lib import manifests
from lib.pod import PROGRAMS, Pod, program

sys.path.insert(0, str(manifests.ROOT / "tools" / "lib"))
import postgres  # noqa: E402

OVERLAY = "production"
ADDRESS = "127.0.0.1"
READY_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


def certificates(folder, programs):
    """The two TLS Secrets, made by the commands of the guide, with `programs` (a directory) in the path."""
    guide = (manifests.DEPLOY / "guide" / "tls.md").read_text()
    path = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-e", "-c", re.search(r"```sh\n(.*?)```", guide, re.S)[1]], cwd=folder, env=path, check=True,
                   capture_output=True)  # fmt: skip
    return {f"perdure-{what}-tls": {name: (Path(folder) / what / name).read_text() for name in ("tls.crt", "tls.key", "ca.crt")}
            for what in ("rpc", "edge")}  # fmt: skip


class Running:
    """A daemon of a pod."""

    def __init__(self, cluster, component, name, *flags):
        self.cluster, self.component, self.name, self.flags = cluster, component, name, flags
        self.workload = manifests.daemons(OVERLAY)[component]
        self.container = manifests.container(self.workload)
        # Pods have an address each, here all have the same: so other ports.
        self.ports = {inside: free_port() for inside in manifests.ports(self.workload).values()}
        self.port = {what: self.ports[inside] for what, inside in manifests.ports(self.workload).items()}
        self.pod = cluster.pod(self.workload, name)
        self.log = self.pod.folder / "log"
        self.process = None
        self.start()

    def _words(self):
        role = self.component.replace("-", "_")
        flags = [f"--{role}.{what}_port={self.port[what]}" for what in ("grpc", "http") if what in self.port]
        return self.pod.command(self.container, *flags, *self.flags)

    def _environment(self):
        moved = self.pod.environment(self.container)
        for inside, here in self.ports.items():
            moved = {name: re.sub(rf":{inside}$", f":{here}", value) for name, value in moved.items()}
        return moved

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self._words(), env=self._environment(), cwd="/", stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, **self.cluster.user)  # fmt: skip

    def probe(self, which):
        """What the kubelet would hear: (status, text)."""
        asked = self.container[which]["httpGet"]
        return self.get(self.port[asked["port"]], asked["path"])

    @staticmethod
    def get(port, path):
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_ready(self, seconds=READY_S):
        """None once it is ready, or why it isn't."""
        deadline, why = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return f"it ended with {self.process.returncode}:\n{self.tail()}"
            status, why = self.probe("readinessProbe")
            if status == 200:
                return None
            time.sleep(0.02)
        return f"not ready after {seconds} s: {why}\n{self.tail()}"

    def metrics(self):
        """name → sum over its series."""
        found = {}
        for line in self.get(self.port["http"], "/metrics")[1].splitlines():
            match = re.match(r"(\w+)(?:\{[^}]*\})? (\S+)$", line)
            if match:
                found[match[1]] = found.get(match[1], 0) + float(match[2])
        return found

    def strays(self):
        """Files open for writing that lie outside the pod's volumes: the image's root is read-only."""
        found = []
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                target = os.readlink(fd)
                flags = (Path(f"/proc/{self.process.pid}/fdinfo") / fd.name).read_text()
            except OSError:
                continue
            writable = int(re.search(r"flags:\s+(\d+)", flags)[1], 8) & os.O_ACCMODE
            inside = target.startswith((str(self.pod.folder), "/dev/", "/memfd:", "/proc/")) or not target.startswith("/")
            if writable and not inside:
                found.append(target)
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """As Kubernetes does; (exit status or None if it had to be killed, seconds)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(manifests.pod_of(self.workload)["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            self.kill()
            status = None
        return status, time.monotonic() - began

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


class Cluster:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        self.daemons = []
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in PROGRAMS:
            (self.bin / name).symlink_to(program(name))
        user = {w["securityContext"]["runAsUser"] for w in map(manifests.pod_of, manifests.daemons(OVERLAY).values())}.pop()
        self.user = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
        (self.folder / "logs").mkdir()
        self.server = postgres.Postgres(self.folder, free_port())
        self.server.create()
        self.running = self.server.start()
        password = (self.server.folder / "password").read_text().strip()
        work = self.folder / "certificates"
        work.mkdir()
        self.secrets = certificates(work, self.bin)
        self.secrets["perdure-database"] = {
            "dsn": f"host={ADDRESS} port={self.server.port} dbname=perdure user=perdure password={password}",
            "ca.crt": self.secrets["perdure-edge-tls"]["ca.crt"],
        }

    def pod(self, workload, name):
        facts = {"metadata.name": name, "status.podIP": ADDRESS}
        folder = self.folder / "pods" / f"{name}-{secrets.token_hex(3)}"
        folder.mkdir(parents=True)
        made = Pod(workload, folder, facts, manifests.configs(OVERLAY, "ConfigMap"), self.secrets)
        if self.user:
            self._give(folder)
        return made

    def _give(self, folder):
        """fsGroup: volumes belong to the pod's group; Secrets are for it alone."""
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, self.user["user"], self.user["group"])
            path.chmod(0o750 if path.is_dir() else 0o440)

    def once(self, workload, container):
        """Runs a container that ends."""
        made = self.pod(workload, workload["metadata"]["name"] + "-abcde")
        environment = {**made.environment(container), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        words = [made.here(container, word) for word in container["command"]]
        return subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, timeout=120, **self.user)

    def start(self, component, name, *flags):
        self.daemons.append(Running(self, component, name, *flags))
        return self.daemons[-1]

    def close(self):
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.kill()
        postgres.stop(*self.running)


@contextlib.contextmanager
def cluster():
    folder = tempfile.mkdtemp(prefix="perdure-deploy-")
    try:
        made = Cluster(folder)
        try:
            yield made
        finally:
            made.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
