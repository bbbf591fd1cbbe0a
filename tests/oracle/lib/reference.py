"""Starts the reference development server for the length of a test run."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time

START_S_MAX = 60


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
            + ["--log-level", "error", "--dynamic-config-value", "frontend.rps.namespaceReplicationInducingAPIs=1000"]
            # Else a closed run is deleted some time in the minute after the request.
            + ["--dynamic-config-value", "history.transferProcessorEnsureCloseBeforeDelete=false"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait_reachable()
        return self

    def _wait_reachable(self):
        """Until it accepts connections; clients have to be patient with it from then on."""
        host, port = self.address.rsplit(":", 1)
        end = time.monotonic() + START_S_MAX
        while self._process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.05)  # the pace of looking
        log = self.log()
        self.__exit__()
        raise RuntimeError(f"the reference server does not start:\n{log}")

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
