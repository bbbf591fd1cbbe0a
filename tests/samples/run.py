#!/usr/bin/env python3
"""Runs the README's first workflows as a newcomer would; prints 'N passed, N failed'."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "samples"
EXPECTED = "Hello, World!"
COMMANDS = [
    ("python", ["python3", "hello.py"], SAMPLES),
    ("go", ["go", "run", "."], SAMPLES / "hello-go"),
]
TIMEOUT_S = 300  # a first run downloads and compiles the SDK


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perdure", metavar="HOST:PORT", required=True, help="a cluster that serves")
    environment = {**os.environ, "TEMPORAL_ADDRESS": parser.parse_args().perdure}
    failed = 0
    for name, command, folder in COMMANDS:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        good = done.returncode == 0 and EXPECTED in done.stdout.splitlines()
        failed += not good
        print(f"{name}: {'ok' if good else 'failed'}")
        if not good:
            print(done.stdout + done.stderr)
    print(f"{len(COMMANDS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
