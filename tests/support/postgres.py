#!/usr/bin/env python3
"""Runs a command with a private PostgreSQL: postgres.py [--set name=value]... COMMAND [ARGUMENT...]

The server is made in a temporary folder, listens on a Unix socket (and a free local port), and is stopped and removed
when the command ends. The command finds it as PERDURE_TEST_DSN (a superuser's DSN of an empty database). Its data is
not flushed to disk: tests that need that say --set fsync=on.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "lib"))
import postgres  # noqa: E402


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    settings = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
    settings |= dict(setting.split("=", 1) for setting in arguments.set)
    folder = Path(tempfile.mkdtemp(prefix="perdure-pg-"))
    folder.chmod(0o755)  # PostgreSQL runs as its own user
    (folder / "logs").mkdir()
    server = postgres.Postgres(folder, free_port())
    try:
        server.create()
        pid, ticks = server.start(settings)
        try:
            done = subprocess.run(arguments.command, env={**os.environ, "PERDURE_TEST_DSN": server.dsn})
        finally:
            postgres.stop(pid, ticks)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
