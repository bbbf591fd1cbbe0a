"""Starts the reference development server for the length of a test run."""

import os
import socket
import subprocess
import sys
import tempfile


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Reference:
    """A `temporal server start-dev` with its state in memory, ended with the `with` block."""

    def __init__(self):
        self.address = f"127.0.0.1:{free_port()}"
        self._log = tempfile.TemporaryFile()
        self._process = None

    def __enter__(self):
        program = os.path.join(os.path.dirname(sys.executable), "temporal")
        port = self.address.rsplit(":", 1)[1]
        self._process = subprocess.Popen(
            [program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", port]
            # The cases register more namespaces in a minute than the default allows in an hour.
            + ["--log-level", "error", "--dynamic-config-value", "frontend.rps.namespaceReplicationInducingAPIs=1000"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        return self

    def log(self):
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
