"""tools/test: runs every kind of test, one part after the other, and adds up.

A part is a command that ends with the line 'N passed, N failed', or a suite of Meson's. Parts that need a cluster get
one of their own, on free ports and a data directory that goes away.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cluster import ROOT, Cluster, ClusterError, Options, build_dir
from postgres import port_free

LOGS = "test-logs"  # below the build folder
PYTHON = sys.executable
SHOWN_LINES = 60  # of a part that failed


@dataclass
class Part:
    """A command: `script` (it must exist for the part to be), or a `program` below the build folder, built first.

    `arguments` may hold {grpc} of the part's own cluster.
    """

    name: str
    question: str
    script: str
    arguments: tuple = ()
    minutes: int = 10
    cluster: bool = False
    program: str = ""


SCRIPTS = [
    Part("lint", "does the tree keep the rules that no compiler checks?", "tests/lint/run.py", ("--quiet",), 2),
    Part("sim", "do the invariants hold whatever fails, in whatever order?", "tests/sim/meson.build",
         ("--seeds", "1000"), 10, program="tests/sim/sim"),
    Part("oracle", "does it answer as the reference does?", "tests/oracle/run.py", ("--perdure", "{grpc}"), 10, True),
    Part("e2e", "do the official SDKs work against it?", "tests/e2e/run.py", ("--address", "{grpc}"), 15, True),
    Part("samples", "does what the README says work?", "tests/samples/run.py", ("--perdure", "{grpc}"), 10, True),
    Part("deploy", "do the manifests fit the binaries, and does what they describe run?", "tests/deploy/run.py"),
    Part("monitoring", "does what the dashboard shows and the alerts watch exist?", "tests/monitoring/run.py"),
    Part("operate", "does what operators change while it runs take effect, at once and without a failed request?",
         "tests/operate/run.py"),
    Part("retention", "does what is over or deleted stay away, and leave the database?", "tests/retention/run.py"),
    Part("audit", "is what is wrong found and repaired, and is it said why a run waits?", "tests/audit/run.py"),
    Part("faults", "is anything lost or done twice when processes die?", "tests/fault/run.py", (), 10),
    Part("matching", "is a task lost or late when matching or a gateway dies?", "tests/fault/matching.py", (), 5),
    Part("gateways", "does a worker notice when its gateway drains?", "tests/fault/gateway_drain.py", (), 5),
    Part("rolling", "does a rolling restart fail any call of an SDK?", "tests/fault/rolling.py", (), 10),
    Part("drains", "does a client notice when a history node drains?", "tests/fault/drain.py", (), 5),
    Part("placement", "does anybody notice when shards are moved and nodes are drained?", "tests/fault/placement.py", (), 5),
]  # fmt: skip

# Builds that look for what a run alone doesn't show: Meson's b_sanitize, the parts that are our code alone, the environment.
SANITIZERS = {
    "address": (
        "address,undefined",
        ("unit", "fuzz", "sim"),
        {"ASAN_OPTIONS": "disable_coredump=1", "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"},
    ),
    "thread": (
        "thread",
        ("unit",),
        {"TSAN_OPTIONS": f"suppressions={ROOT / 'tests' / 'support' / 'tsan.supp'}:exitcode=66"},
    ),
}

# Suites of Meson's that run before or after others; a new suite needs nothing here.
SUITE_QUESTIONS = {
    "unit": "does each piece do what its header says?",
    "store": "do the store in memory and PostgreSQL keep the same contract?",
    "grpc": "does the gRPC server hold against real clients and broken ones?",
    "fuzz": "do the inputs that fuzzing found still pass?",
}
FIRST = ["lint", "unit", "store", "fuzz", "sim"]


def suites():
    """The suites that the configured build has, with the Part that runs each."""
    output = subprocess.run(["meson", "introspect", "--tests", build_dir()], capture_output=True, text=True)
    if output.returncode != 0:
        return []
    names = {suite.split(":")[-1] for test in json.loads(output.stdout) for suite in test["suite"]}
    return [Part(name, SUITE_QUESTIONS.get(name, ""), "meson.build", minutes=15) for name in sorted(names)]


def known_parts():
    parts = [part for part in SCRIPTS if (ROOT / part.script).exists()] + suites()
    rank = {name: i for i, name in enumerate(FIRST)}
    order = {part.name: i for i, part in enumerate(SCRIPTS)}
    return sorted(parts, key=lambda part: (rank.get(part.name, 90), order.get(part.name, 50), part.name))


# ---------------------------------------------------------------- running one


def free_port():
    """A base port whose neighbours are free too (tools/up uses some behind it)."""
    while True:
        base = random.randrange(11000, 31000, 100)
        if all(port_free(base + offset) for offset in (0, 1, 5, 10, *range(20, 60))):
            return base


@contextlib.contextmanager
def cluster_for(part, logs):
    """A cluster of one process each, serving; its logs are kept."""
    data = Path(tempfile.mkdtemp(prefix=f"perdure-{part.name}-"))
    data.chmod(0o755)  # PostgreSQL's user has to get in
    cluster = Cluster(data)
    try:
        with cluster.locked():
            cluster.start(Options(port=free_port()), lambda text: None)
        yield cluster
    finally:
        cluster.reload()
        cluster.stop()
        shutil.copytree(data / "logs", logs / f"{part.name}-cluster", dirs_exist_ok=True)
        shutil.rmtree(data, ignore_errors=True)


def run(command, log, minutes):
    """Runs it with its output in the log; answers (exit code, output)."""
    with open(log, "w") as out:
        child = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = child.wait(timeout=minutes * 60)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            out.write(f"\nnot done after {minutes} minutes\n")
            code = -1
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return code, Path(log).read_text(errors="replace")


def closing_line(code, output):
    """(passed, failed) of the last 'N passed, N failed'; a command that says nothing or fails anyway has one failure."""
    lines = re.findall(r"^(?:[\w-]+: )?(\d+) passed, (\d+) failed", output, re.M)
    passed, failed = (int(number) for number in lines[-1]) if lines else (0, 0)
    if (code != 0 and failed == 0) or (not lines and code == 0):
        failed += 1
    return passed, failed


def command_of(part, rebuild, **where):
    arguments = [argument.format(**where) for argument in part.arguments]
    if not part.program:
        return [PYTHON, part.script, *arguments]
    if rebuild:
        subprocess.run([ROOT / "tools" / "build", part.program], check=True)
    return [build_dir() / part.program, *arguments]


def run_script(part, logs, rebuild):
    log = logs / f"{part.name}.log"
    try:
        if not part.cluster:
            return closing_line(*run(command_of(part, rebuild), log, part.minutes))
        with cluster_for(part, logs) as cluster:
            edge = next(daemon for daemon in cluster.daemons if daemon.role == "frontend")
            return closing_line(*run(command_of(part, rebuild, grpc=edge.grpc), log, part.minutes))
    except (ClusterError, subprocess.CalledProcessError) as error:
        log.write_text(f"cannot be run: {error}\n")
        return 0, 1


def run_suite(part, logs, rebuild):
    """A suite of Meson's: what Check counts in it, one for a test that counts nothing."""
    log = logs / f"{part.name}.log"
    command = ["meson", "test", "-C", build_dir(), "--suite", part.name, "--logbase", f"test-{part.name}",
               "--print-errorlogs", "--timeout-multiplier", os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"),
               *([] if rebuild else ["--no-rebuild"])]  # fmt: skip
    results = build_dir() / "meson-logs" / f"test-{part.name}.json"
    results.unlink(missing_ok=True)
    code, _ = run(command, log, part.minutes)
    if not results.exists():
        return 0, 1
    passed = failed = 0
    for line in results.read_text().splitlines():
        good, bad = suite_result(json.loads(line))
        passed, failed = passed + good, failed + bad
    return passed, failed or int(code != 0)


def suite_result(test):
    output = test.get("stdout", "")
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    checks = re.findall(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", output, re.M)
    counts = [(int(n) - int(f) - int(e), int(f) + int(e)) for n, f, e in checks]
    counts += [(int(n), int(f)) for n, f in re.findall(r"^(\d+) passed, (\d+) failed", output, re.M)]
    passed, failed = sum(n for n, _ in counts), sum(f for _, f in counts)
    if not counts:
        return int(good), int(not good)
    return passed, failed if failed or good else 1


# ---------------------------------------------------------------- all of them


def failures(log):
    """What whoever reads the run wants to see: the lines that tell of failures, or else the end of the output."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    told, inside = [], False
    for line in lines:
        inside = bool(re.match(r"FAIL|not ok", line)) or (inside and line.startswith("     "))
        if inside:
            told.append(line)
    shown = told or lines[-SHOWN_LINES:]
    more = [f"… {len(shown) - SHOWN_LINES} lines more"] if len(shown) > SHOWN_LINES else []
    return "\n".join("    " + line for line in shown[:SHOWN_LINES] + more)


def run_part(part, logs, rebuild):
    started = time.monotonic()
    if part.script == "meson.build":
        passed, failed = run_suite(part, logs, rebuild)
    else:
        passed, failed = run_script(part, logs, rebuild)
    if failed:
        print(failures(logs / f"{part.name}.log"))
    seconds = time.monotonic() - started
    print(f"{part.name}: {passed} passed, {failed} failed   ({seconds:.0f} s, {logs / part.name}.log)", flush=True)
    return passed, failed


def sanitized(kind):
    """Makes everything from here on use a build of its own with that sanitizer; the parts that run unless others are named."""
    option, parts, environment = SANITIZERS[kind]
    os.environ.setdefault("PERDURE_BUILD_DIR", f"build-{kind}")
    os.environ.update({**environment, "CK_TIMEOUT_MULTIPLIER": "10"})
    if not (build_dir() / "build.ninja").exists():
        subprocess.run(["meson", "setup", build_dir(), f"-Db_sanitize={option}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return list(parts)


def build(wanted):
    """Lint needs no build; suites and programs build what they need; the rest needs the daemons."""
    if wanted and wanted <= {"lint", *FIRST} and (build_dir() / "build.ninja").exists():
        return
    if subprocess.run([ROOT / "tools" / "build"], cwd=ROOT).returncode != 0:
        sys.exit("the build failed\n0 passed, 1 failed")


def interrupted(*_):
    raise KeyboardInterrupt  # so that what was started is stopped


def main():
    signal.signal(signal.SIGTERM, interrupted)
    parser = argparse.ArgumentParser(prog="tools/test", description="Runs the tests; every part without arguments.")
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--list", action="store_true", help="name the parts and end")
    parser.add_argument("--no-build", action="store_true", help="neither install packages nor build")
    parser.add_argument(
        "--sanitize", choices=SANITIZERS, help="in a build with AddressSanitizer and UBSan, or with ThreadSanitizer"
    )
    given = parser.parse_args()
    if given.sanitize:
        usual = sanitized(given.sanitize)
        given.parts = given.parts or usual
    if not given.no_build and not given.list:
        build(set(given.parts))
    parts = known_parts()
    if given.list:
        for part in parts:
            print(f"{part.name:12}{part.question}")
        return 0
    unknown = set(given.parts) - {part.name for part in parts}
    if unknown:
        sys.exit(f"tools/test: no part {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in parts)}")
    logs = build_dir() / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    passed = failed = 0
    for part in parts:
        if not given.parts or part.name in given.parts:
            good, bad = run_part(part, logs, not given.no_build)
            passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted\n0 passed, 1 failed")
