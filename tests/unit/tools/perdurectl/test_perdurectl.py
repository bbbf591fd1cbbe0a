#!/usr/bin/env python3
"""perdurectl on an empty PostgreSQL: test_perdurectl.py PERDURECTL, started by tests/support/postgres.py."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PERDURECTL = None
SERVER = os.environ.get("PERDURE_TEST_DSN", "")


def sql(statement, database="postgres"):
    done = subprocess.run(
        ["psql", f"{SERVER} dbname={database}", "-v", "ON_ERROR_STOP=1", "-Atqc", statement],
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


class PerdurectlTest(unittest.TestCase):
    count = 0

    def setUp(self):
        PerdurectlTest.count += 1
        self.database = f"ctl_{PerdurectlTest.count}"
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
        self.assertGreater(int(self.sql("SELECT count(*) FROM closed_partition")), 1)

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
        self.ctl("schema", "migrate", "--shards=0", status=1)
        self.ctl("cluster", "extra", status=2)


if __name__ == "__main__":
    PERDURECTL = sys.argv.pop(1)
    unittest.main()
