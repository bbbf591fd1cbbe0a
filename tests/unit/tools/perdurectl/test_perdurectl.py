#!/usr/bin/env python3
"""perdurectl on an empty PostgreSQL: test_perdurectl.py PERDURECTL PERDURE, started by tests/support/postgres.py."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PERDURECTL = None
SERVER_PROGRAM = None
SERVER = os.environ.get("PERDURE_TEST_DSN", "")


def sql(statement, database="postgres"):
    done = subprocess.run(
        ["psql", f"{SERVER} dbname={database}", "-v", "ON_ERROR_STOP=1", "-Atqc", statement],
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


class DatabaseTest(unittest.TestCase):
    count = 0

    def setUp(self):
        DatabaseTest.count += 1
        self.database = f"ctl_{DatabaseTest.count}"
        sql(f"CREATE DATABASE {self.database}")
        self.dsn = f"{SERVER} dbname={self.database}"

    def ctl(self, *arguments, dsn=True, status=0, environment=None):
        """Its standard output; the status must be as said."""
        flags = ["--dsn", self.dsn] if dsn else []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
        done = subprocess.run(
            [PERDURECTL, *flags, *arguments], text=True, capture_output=True, env={**clean, **(environment or {})}
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.stderr = done.stderr
        return done.stdout

    def json(self, *arguments, **options):
        return json.loads(self.ctl("--json", *arguments, **options))

    def sql(self, statement):
        return sql(statement, self.database)


class PerdurectlTest(DatabaseTest):
    def test_from_nothing_to_a_cluster(self):
        self.assertFalse(self.json("schema", "version", status=3)["equal"])
        plan = self.json("schema", "plan")
        self.assertEqual([entry["version"] for entry in plan], list(range(1, len(plan) + 1)))
        self.assertIn("CREATE TABLE", plan[0]["sql"])
        made = self.json("schema", "migrate", "--shards", "8")
        self.assertEqual(made, {"version": len(plan), "applied": list(range(1, len(plan) + 1)), "shards": 8})
        self.assertTrue(self.json("schema", "version")["equal"])
        self.assertEqual(self.json("schema", "plan"), [])
        cluster = self.json("cluster")
        self.assertEqual((cluster["shards"], cluster["shards_without_owner"], cluster["nodes"]), (8, 8, []))
        self.assertRegex(cluster["cluster_id"], "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$")
        self.assertEqual(self.sql("SELECT count(*), min(shard_id), max(shard_id) FROM shard"), "8|0|7")

    def test_again_changes_nothing(self):
        self.json("schema", "migrate", "--shards", "8")
        before = self.json("cluster")["cluster_id"]
        again = self.json("schema", "migrate", "--shards", "16")
        self.assertEqual((again["applied"], again["shards"]), ([], 8))
        self.assertIn("keeps the 8 shards", self.stderr)
        self.assertEqual(self.json("cluster")["cluster_id"], before)
        self.assertEqual(len(self.json("namespace", "list")), 2)

    def test_the_default_namespace(self):
        self.ctl("schema", "migrate")
        namespace, system = self.json("namespace", "list")
        self.assertEqual((system["name"], system["state"]), ("temporal-system", "Registered"))
        self.assertEqual(
            (namespace["name"], namespace["state"], namespace["retention_seconds"]), ("default", "Registered", 86400)
        )
        self.assertIn("default", self.ctl("namespace", "list"))

    def test_without_the_default_namespace(self):
        self.ctl("schema", "migrate", "--no-default-namespace")
        self.assertEqual([entry["name"] for entry in self.json("namespace", "list")], ["temporal-system"])

    def test_the_system_namespace_comes_later_too(self):
        self.ctl("schema", "migrate")
        self.sql("DELETE FROM namespace WHERE name = 'temporal-system'")
        self.ctl("schema", "migrate")
        self.assertEqual(len(self.json("namespace", "list")), 2)

    def test_many_at_once(self):
        command = [PERDURECTL, "--dsn", self.dsn, "--json", "schema", "migrate", "--shards", "8"]
        started = [subprocess.Popen(command, text=True, stdout=subprocess.PIPE) for _ in range(5)]
        results = [json.loads(process.communicate()[0]) for process in started]
        self.assertEqual([process.returncode for process in started], [0] * 5)
        self.assertEqual(sum(len(result["applied"]) > 0 for result in results), 1)

    def test_a_schema_that_is_not_ours(self):
        self.ctl("schema", "migrate")
        self.sql("UPDATE schema_version SET sha256 = 'x'")
        self.ctl("schema", "migrate", status=1)
        self.assertIn("was changed", self.stderr)
        self.sql("DELETE FROM schema_version")
        self.sql("INSERT INTO schema_version VALUES (99, 'future', 'x')")
        for command in (["schema", "migrate"], ["cluster"], ["namespace", "list"]):
            self.ctl(*command, status=1)
            self.assertIn("99", self.stderr)
        self.ctl("schema", "version", status=3)

    def test_where_the_dsn_comes_from(self):
        self.ctl("schema", "migrate", dsn=False, environment={"PERDURE_DATABASE_DSN": self.dsn})
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "perdure.yaml"
            file.write_text(f"database:\n  dsn: {json.dumps(self.dsn)}\n")
            self.ctl("--config", str(file), "cluster", dsn=False)
            self.ctl("cluster", dsn=False, environment={"PERDURE_CONFIG": str(file)})
            file.write_text("database:\n  dns: x\n")
            self.ctl("--config", str(file), "cluster", dsn=False, status=1)
            self.assertIn("perdure.yaml:2", self.stderr)

    def test_usage(self):
        self.assertIn("schema migrate", self.ctl("--help", dsn=False))
        self.assertIn("--shards N", self.ctl("schema", "migrate", "--help", dsn=False))
        self.ctl(dsn=False, status=2)
        self.ctl("schema", dsn=False, status=2)
        self.ctl("schema", "migrate", "--shards", dsn=False, status=2)
        self.ctl("schema", "migrate", "--shard", "8", status=2)
        self.ctl("schema", "migrate", "--shards=0", status=2)
        self.ctl("cluster", "extra", status=2)
        group = self.ctl("shard", "--help", dsn=False)
        self.assertIn("shard move", group)
        self.assertNotIn("node drain", group)


class DaemonTest(DatabaseTest):
    """What it asks of a running server: the single-process one, on ports of its own choice."""

    def setUp(self):
        super().setUp()
        self.ctl("schema", "migrate", "--shards", "4")
        self.folder = tempfile.TemporaryDirectory()
        flags = {
            "database.dsn": self.dsn,
            "node.data_dir": self.folder.name,
            "history.http_port": "0",
            "frontend.http_port": "0",
            "frontend.grpc_port": "0",
            "worker_gateway.grpc_port": "0",
        }
        self.log = open(Path(self.folder.name) / "log", "w+")
        self.server = subprocess.Popen(
            [SERVER_PROGRAM, *(f"--{name}={value}" for name, value in flags.items())],
            stdout=self.log,
            stderr=self.log,
        )
        self.until(lambda: self.sql("SELECT count(*) FROM shard WHERE owner_node_id IS NOT NULL") == "4")

    def tearDown(self):
        self.server.kill()
        self.server.wait()
        self.log.close()
        self.folder.cleanup()

    def until(self, true):
        end = time.monotonic() + 20
        while not true():
            self.log.flush()
            self.assertIsNone(self.server.poll(), Path(self.log.name).read_text())
            self.assertLess(time.monotonic(), end, Path(self.log.name).read_text())
            time.sleep(0.05)

    def test_what_daemons_say(self):
        cluster = self.json("cluster")
        self.assertEqual(len(cluster["histories"]), 1)
        self.assertEqual((cluster["shards_without_owner"], len(cluster["matchings"])), (0, 1))
        self.assertIn("RUNS IN MEMORY", self.ctl("cluster"))
        self.assertEqual(len(self.json("shard", "list")), 4)
        self.assertEqual(self.json("shard", "show", "3")["state"], "owned")
        self.ctl("shard", "show", "4", status=1)
        self.assertEqual(self.json("queue", "list"), [])
        self.ctl("queue", "show", "default", "nobody", status=1)
        self.assertEqual(self.json("namespace", "show", "default")["state"], "Registered")
        settings = next(iter(self.json("config", "show").values()))
        source = {entry["name"]: entry["source"] for entry in settings}
        self.assertEqual((source["database.dsn"], source["history.cache_bytes"]), ("flag", "default"))
        self.ctl("workflow", "why", "default", "nobody", status=1)
        self.assertIn("no such run", self.stderr)
        self.ctl("workflow", "why", "nowhere", "nobody", status=1)
        self.ctl("workflow", "why", "default", status=2)

    def test_nodes_and_shards_are_moved_about(self):
        nodes = {n["role"]: n for n in self.json("node", "list")}
        self.assertEqual(sorted(nodes), ["frontend", "history", "matching", "worker_gateway"])
        self.assertEqual({n["state"] for n in nodes.values()}, {"live"})
        history, matching = nodes["history"]["node_id"], nodes["matching"]["node_id"]
        self.assertEqual(nodes["history"]["shards"], 4)
        for usage, why in (
            (("shard", "move", "x", "--to", history), "no number"),
            (("shard", "show", "x"), "no number"),
            (("shard", "move", "1"), "an option is missing: --to; see perdurectl shard move --help"),
            (("shard", "move", "1", "--to", history, "--timeout", "x"), "not a number of seconds"),
            (("shard", "unpin"), "--all"),
            (("node", "drain", history, "--yes", "--timeout", "-1"), "not a number of seconds"),
            (("node",), "perdurectl node --help"),
            (("node", "drian", history), "no such command: drian; see perdurectl node --help"),
            (("audit", "--shard", "x"), "expected a number"),
        ):
            self.ctl(*usage, status=2)
            self.assertIn(why, self.stderr)
        self.assertEqual(self.json("cluster")["shards_pinned"], 0)  # nothing of it was done
        self.assertFalse(self.json("node", "show", history)["told_to_drain"])
        for wrong, why in (
            (("shard", "move", "4", "--to", history), "from 0 to 3"),
            (("shard", "move", "1", "--to", matching), "only history nodes"),
            (("shard", "move", "1", "--to", "nobody"), "there is no node"),
            (("shard", "unpin", "1"), "not pinned"),
            (("node", "drain", "nobody"), "there is no node"),
            (("node", "undrain", history), "not told to drain"),
            (("node", "drain", history), "last live history"),
        ):
            self.ctl(*wrong, status=1)
            self.assertIn(why, self.stderr)
        self.assertFalse(self.json("shard", "move", "1", "--to", history)["moved"])
        self.assertEqual(self.json("shard", "show", "1")["pinned_to"], history)
        self.assertEqual(self.json("cluster")["shards_pinned"], 1)
        self.ctl("shard", "unpin", "--all", status=1)  # nobody to ask
        self.assertEqual(len(self.json("shard", "unpin", "--all", "--yes")), 1)
        # The last of its role keeps its work, and takes no pins.
        self.ctl("node", "drain", history, "--yes")
        self.assertEqual(self.json("node", "show", history)["state"], "draining")
        self.assertEqual(self.json("node", "show", history)["shards"], 4)
        self.ctl("shard", "move", "1", "--to", history, status=1)
        self.assertIn("undrain", self.stderr)
        self.ctl("node", "undrain", history)
        # An edge is not ready, but not for its process's end.
        self.assertTrue(self.json("node", "drain", nodes["frontend"]["node_id"], "--yes", "--no-wait")["told_to_drain"])
        self.sql("INSERT INTO node_drain (node_id) VALUES ('gone')")
        states = {n["node_id"]: n["state"] for n in self.json("node", "list")}
        self.assertEqual(states["gone"], "absent")
        self.ctl("node", "undrain", "gone")
        self.ctl("node", "undrain", nodes["frontend"]["node_id"])

    def test_the_auditor_finds_what_is_planted(self):
        before = self.json("audit")
        self.assertEqual((before["found"], before["shards_missed"], before["nodes"][0]["shards"]), (0, 0, 4))
        self.sql("INSERT INTO journal VALUES (0, 1, 2, ''), (0, 3, 1, '')")
        after = self.json("audit", status=3)
        kinds = {violation["kind"] for violation in after["nodes"][0]["violations"]}
        self.assertEqual((kinds, after["repaired"]), ({"journal_gap", "epoch"}, 0))
        self.assertIn("shard 0: journal seq 3 follows 1", self.ctl("audit", "--repair", status=3))
        self.assertEqual(self.json("audit", "--shard", "1")["found"], 0)
        self.ctl("audit", "--workflow-id", "x", status=2)

    def test_completion(self):
        script = self.ctl("completion", "bash", dsn=False)
        asked = "COMP_WORDS=(perdurectl workflow ''); COMP_CWORD=2; _perdurectl; echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], text=True, capture_output=True, check=True)
        self.assertEqual(
            [word for word in done.stdout.split() if not word.startswith("-")], ["show", "why", "history", "journal"]
        )


if __name__ == "__main__":
    PERDURECTL = sys.argv.pop(1)
    SERVER_PROGRAM = sys.argv.pop(1)
    unittest.main()
