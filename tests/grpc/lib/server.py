"""The echo server as a process."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import grpc


def program(name):
    return Path(os.environ["GRPC_TEST_BUILD"]) / "tests" / "grpc" / name


class Echo:
    """A server for one test: with Echo(ping_interval_min_ms=100) as server: …"""

    def __init__(self, **settings):
        self.process = subprocess.Popen(
            [program("grpc_echo"), *(f"{name}={value}" for name, value in settings.items())],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line.startswith("port "), "grpc_echo did not start"
        self.port = int(line.split()[1])
        self.channels = []
        self.terminated = False

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for channel in self.channels:
            channel.close()
        self.terminate()
        code = self.process.wait(20)
        self.process.stdout.close()
        # A sanitizer's report is an exit code too.
        assert kind or code == 0, f"grpc_echo ended with {code}"

    def terminate(self):
        """Makes it drain, once: a second signal might meet a process that is past listening to it."""
        if not self.terminated and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.terminated = True

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def channel(self, **options):
        """A connection of its own; option names as in keepalive_time_ms."""
        options = {f"grpc.{name}": value for name, value in options.items()}
        options.setdefault("grpc.use_local_subchannel_pool", 1)
        options.setdefault("grpc.max_receive_message_length", -1)
        channel = grpc.insecure_channel(self.address, options=list(options.items()))
        self.channels.append(channel)
        return channel

    def stats(self):
        names = ["calls", "connections", "cancelled", "abusive", "refused", "rss_kb"]
        with grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            answer = method(channel, "Stats")(b"")
        return dict(zip(names, map(int, answer.split())))

    def wait_stats(self, **wanted):
        """Until the server counts what is wanted."""
        end = time.monotonic() + 10
        while True:
            stats = self.stats()
            if all(stats[name] == value for name, value in wanted.items()):
                return stats
            if time.monotonic() > end:
                raise AssertionError(f"wanted {wanted}, the server counts {stats}")
            select.select([], [], [], 0.01)


def memory_max_kb(kb):
    """A bound on growth; a sanitizer keeps what was freed for a while."""
    return kb * 6 if "asan" in os.environ["GRPC_TEST_BUILD"] else kb


def method(channel, name):
    return channel.unary_unary(f"/perdure.test.Echo/{name}")
