"""Planted mistakes: each check finds its own, and leaves what is right alone."""

import tempfile
import unittest
from pathlib import Path

import checks


def found(check, path, text):
    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / path
        file.parent.mkdir(parents=True)
        file.write_text(text)
        return [(finding.line, finding.warning) for finding in check(checks.Source(root, path))]


class Layers(unittest.TestCase):
    def check(self, path, include, good):
        self.assertEqual(found(checks.layers, path, f'/* x */\n#include "{include}"\n'), [] if good else [(2, False)])

    def test_common(self):
        self.check("common/rpc/x.c", "common/env/env.h", True)
        self.check("common/rpc/x.c", "common/rpc/rpc.h", True)
        self.check("common/rpc/x.c", "common/grpc/grpc.h", False)
        self.check("common/env/x.c", "common/loop/loop.h", False)
        self.check("common/rpc/x.c", "services/history/history.h", False)
        self.check("common/unheard_of/x.c", "common/env/env.h", False)

    def test_services(self):
        self.check("services/history/shard/x.c", "services/history/history.h", True)
        self.check("services/history/shard/x.c", "services/matching/matching.h", False)
        self.check("services/standalone/main.c", "services/matching/matching.h", True)
        self.check("services/matching/x.c", "tests/support/fake_env.h", False)

    def test_core(self):
        self.check("services/history/core/x.c", "services/history/core/run.h", True)
        self.check("services/history/core/x.c", "common/mem/arena.h", True)
        self.check("services/history/core/x.c", "common/env/env.h", False)
        self.check("services/history/core/x.c", "services/history/shard/shard.h", False)


class Calls(unittest.TestCase):
    def check(self, path, line, good):
        self.assertEqual(found(checks.banned_calls, path, f"/* x */\n{line}\n"), [] if good else [(2, False)])

    def test_owned(self):
        self.check("common/store/x.c", "p = malloc(3);", False)
        self.check("common/mem/x.c", "p = malloc(3);", True)
        self.check("common/store/x.c", 'log("malloc(3)"); /* malloc(3) */', True)
        self.check("common/store/x.c", "now = time(NULL);", False)
        self.check("common/store/x.c", "now = clock->time(NULL);", True)
        self.check("services/history/x.c", "PQexec(c, s);", False)
        self.check("services/history/x.c", "my_nng_send(c);", True)
        self.check("tests/unit/x.c", "p = malloc(3);", True)

    def test_everywhere(self):
        self.check("tests/unit/x.c", "strcpy(a, b);", False)
        self.check("tools/x/x.c", "sprintf(a, b);", False)


class Sizes(unittest.TestCase):
    def function(self, lines):
        return found(checks.sizes, "common/x.c", "void f(void)\n{\n" + "x;\n" * lines + "}\n")

    def test_functions(self):
        self.assertEqual(self.function(70), [])
        self.assertEqual(self.function(71), [(2, True)])
        self.assertEqual(self.function(101), [(2, False)])

    def test_files(self):
        self.assertEqual(found(checks.sizes, "common/x.h", "\n" * 600), [])
        self.assertEqual(found(checks.sizes, "common/x.h", "\n" * 601), [(1, True)])
        self.assertEqual(found(checks.sizes, "common/x.h", "\n" * 901), [(1, False)])


class Shape(unittest.TestCase):
    def test_purpose(self):
        self.assertEqual(found(checks.purpose, "a/x.c", "/*\n * What it does. */\n"), [])
        self.assertEqual(found(checks.purpose, "a/x.c", "#include <stdio.h>\n"), [(1, False)])
        self.assertEqual(found(checks.purpose, "a/x.py", '#!/usr/bin/env python3\n"""Says."""\n'), [])
        self.assertEqual(found(checks.purpose, "a/x.sql", "CREATE TABLE x ();\n"), [(1, False)])

    def test_guard(self):
        good = "/* x */\n#ifndef COMMON_A_B_H\n#define COMMON_A_B_H\n#endif\n"
        self.assertEqual(found(checks.header_guard, "common/a/b.h", good), [])
        self.assertEqual(found(checks.header_guard, "common/a/c.h", good), [(1, False)])

    def test_readme(self):
        paths = {"common/a/a.c", "tests/unit/a/1.c", "proto/x.proto", "proto/README.md"}
        self.assertEqual([f.path for f in checks.readmes(paths)], ["common/a"])
        paths |= {f"common/b/c/{n}.c" for n in range(3)} | {f"tests/unit/a/{n}.c" for n in range(2, 9)}
        self.assertEqual([f.path for f in checks.readmes(paths)], ["common/a"])
        paths.add("common/b/c/4.c")
        self.assertEqual([f.path for f in checks.readmes(paths)], ["common/a", "common/b/c"])


class Settings(unittest.TestCase):
    def test_unread(self):
        with tempfile.TemporaryDirectory() as root:
            (Path(root) / "common/config").mkdir(parents=True)
            (Path(root) / "common/config/settings.def").write_text(
                '/* x */\nSETTING_SECTION(a, "all", "A.")\nSETTING_BOOL(a, used, 1, "B.")\nSETTING_BOOL(a, idle, 1, "C.")\n'
            )
            (Path(root) / "common/x.c").write_text("/* a_idle */ f(s->a_used);\n")
            sources = [checks.Source(root, path) for path in ("common/config/settings.def", "common/x.c")]
            self.assertEqual([f.line for f in checks.unread_settings(sources)], [4])


class Samples(unittest.TestCase):
    def test_shown_as_it_is(self):
        with tempfile.TemporaryDirectory() as root:
            (Path(root) / "a.py").write_text("x = 1\n")
            readme = Path(root) / "README.md"
            readme.write_text("`a.py`:\n\n```python\nx = 1\n```\n")
            self.assertEqual(list(checks.samples(root)), [])
            readme.write_text("`a.py`:\n\n```python\nx = 2\n```\n")
            self.assertEqual(len(list(checks.samples(root))), 1)


class Coverage(unittest.TestCase):
    def check(self, listed):
        with tempfile.TemporaryDirectory() as root:
            (Path(root) / "README.md").write_text(f"<!-- coverage: x -->\n2 of WorkflowService\n{listed}\n<details>ListWorkers")
            (Path(root) / "route.c").write_text("[API_METHOD_WORKFLOW_START_IT] = S, [API_METHOD_OPERATOR_DROP_IT] = {}")
            return len(list(checks.coverage(root, routes="route.c")))

    def test_lists(self):
        self.assertEqual(self.check("StartIt, DropIt"), 0)
        self.assertEqual(self.check("StartIt"), 1)
        self.assertEqual(self.check("StartIt, DropIt, ListIt"), 1)


if __name__ == "__main__":
    unittest.main()
