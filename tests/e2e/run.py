#!/usr/bin/env python3
"""Runs the end-to-end cases of the official SDKs, unmodified from their registries, against a server.

One line a case, then 'N passed, N failed'; the exit code is 1 if any failed.
"""

import argparse
import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))

from lib import bootstrap  # noqa: E402

CASE_NAMES = [
    "hello",
    "activity_retries",
    "signal_and_query",
    "timer",
    "cancel",
    "continue_as_new",
    "async_completion",
]
BUILD_S_MAX = 1200
RUN_S_MAX = 480  # every case has a limit of its own, below this
OUTCOME = re.compile(r"(?:\x1b\[[0-9;]*m)*(ok  |FAIL) (\w+)(.*)")


class Failed(Exception):
    """A language could not be built or run at all."""


def _environment(language):
    """The environment to build and run a language with, as toolchains.sh prints it."""
    script = subprocess.run([HERE / "toolchains.sh", language], stdout=subprocess.PIPE, text=True, check=False)
    if script.returncode:
        raise Failed("its toolchain is missing")
    environment = dict(os.environ)
    for line in script.stdout.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        environment[name] = shlex.split(value)[0]
    return environment


def _build(command, folder, environment):
    built = subprocess.run(
        command,
        cwd=HERE / folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_S_MAX,
        check=False,
    )
    if built.returncode:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{built.stdout[-4000:]}")


def _python(environment):
    return [str(bootstrap.environment(HERE / "python" / "requirements.txt")), "main.py"]


def _go(environment):
    program = bootstrap.cache_dir() / "e2e" / "go"
    _build(["go", "build", "-mod=readonly", "-o", program, "."], "go", environment)
    return [str(program)]


def _typescript(environment):
    # npm writes this file last; it is older than the lock file when the versions have changed since.
    installed = HERE / "typescript" / "node_modules" / ".package-lock.json"
    lock = HERE / "typescript" / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        # Not `npm ci`: it wants the optional packages of every platform in the lock file, and registries may lack some.
        _build(["npm", "install", "--no-save", "--no-progress", "--no-update-notifier"], "typescript", environment)
        installed.touch()
    return ["node", "main.js"]


def _java(environment):
    _build(["mvn", "-q", "-B", "compile"], "java", environment)
    return ["mvn", "-q", "-B", "exec:java"]


LANGUAGES = {"python": _python, "go": _go, "typescript": _typescript, "java": _java}


def _run(language, address, namespace):
    """Builds and runs one language; answers {case: '' or what is wrong}, and what it wrote to standard error."""
    environment = _environment(language)
    command = LANGUAGES[language](environment)
    command += [f"-Dexec.args={address} {namespace}"] if language == "java" else [address, namespace]
    try:
        ran = subprocess.run(
            command,
            cwd=HERE / language,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )
        output, errors = ran.stdout, ran.stderr
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode("utf-8", "replace")
        errors = (late.stderr or b"").decode("utf-8", "replace") + f"\nstopped after {RUN_S_MAX} s"
    outcomes = dict.fromkeys(CASE_NAMES, ": never ran")
    for line in output.splitlines():
        found = OUTCOME.match(line)
        if found:
            outcomes[found[2]] = (found[3] or ": failed") if found[1] == "FAIL" else ""
    return outcomes, errors


def run_all(languages, address, namespace):
    """Prints a line a case and answers (passed, failed)."""
    passed = failed = 0
    for language in languages:
        try:
            outcomes, errors = _run(language, address, namespace)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            outcomes, errors = dict.fromkeys(CASE_NAMES, ": not run"), str(error)
        for name, wrong in outcomes.items():
            print(f"{'FAIL' if wrong else 'ok  '} {language}.{name}{wrong}", flush=True)
        passed += sum(not wrong for wrong in outcomes.values())
        failed += sum(bool(wrong) for wrong in outcomes.values())
        if any(outcomes.values()):
            print("\n".join("     " + line for line in errors.splitlines()[-60:]))
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", metavar="HOST:PORT", help="the server")
    parser.add_argument("--reference", action="store_true", help="start the reference server and run against it")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--lang", choices=LANGUAGES, action="append", help="only this language; may be repeated")
    options = parser.parse_args()
    if bool(options.address) == options.reference:
        parser.error("give either --address or --reference")
    with contextlib.ExitStack() as stack:
        address = options.address
        if options.reference:
            bootstrap.enter(HERE.parent / "oracle" / "requirements.txt")
            from lib.reference import Reference

            address = stack.enter_context(Reference()).address
        passed, failed = run_all(options.lang or LANGUAGES, address, options.namespace)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
