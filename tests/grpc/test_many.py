"""Very many calls: long polls by the ten thousand, and throughput."""

import os
import subprocess
import unittest

from lib.server import Echo, program

POLLS = 50000
BYTES_PER_POLL_MAX = 4096


class Many(unittest.TestCase):
    def load(self, server, *arguments):
        return subprocess.Popen(
            [program("grpc_load"), str(server.port), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def polls(self, connections):
        with Echo() as server:
            before = server.stats()
            with self.load(server, "polls", connections, POLLS) as load:
                self.assertEqual(load.stdout.readline(), "open\n")
                during = server.wait_stats(calls=POLLS)
                each = (during["rss_kb"] - before["rss_kb"]) * 1024 / POLLS
                load.communicate("\n")
            server.wait_stats(calls=0, cancelled=POLLS)
            if "asan" not in os.environ["GRPC_TEST_BUILD"]:
                self.assertLess(each, BYTES_PER_POLL_MAX)

    def test_fifty_thousand_polls_on_one_connection(self):
        self.polls(1)

    def test_fifty_thousand_polls_on_many_connections(self):
        self.polls(100)

    def test_throughput(self):
        with Echo() as server, self.load(server, "calls", 4, 50, 50000) as load:
            out, _ = load.communicate()
            self.assertEqual(load.returncode, 0)
            self.assertIn(" 0 failed", out)
