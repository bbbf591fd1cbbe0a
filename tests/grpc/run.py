#!/usr/bin/env python3
"""Tests of common/grpc from outside: the official Python client, hostile clients, very many calls.

    tests/grpc/run.py [--build DIR] [unittest arguments, e.g. -k slow_reader -v]

Needs tests/grpc/grpc_echo and grpc_load built below DIR (default: build).
"""

import os
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
sys.path.insert(0, str(HERE))

import bootstrap  # noqa: E402


def main():
    bootstrap.enter(str(HERE / "requirements.txt"))
    arguments = sys.argv[1:]
    build = HERE.parents[1] / "build"
    if arguments[:1] == ["--build"]:
        build = Path(arguments[1]).resolve()
        arguments = arguments[2:]
    os.environ["GRPC_TEST_BUILD"] = str(build)
    names = ["test_client", "test_protocol", "test_hostile", "test_tls", "test_many"]
    unittest.main(module=None, argv=["tests/grpc/run.py", *(arguments or []), *([] if has_name(arguments) else names)])


def has_name(arguments):
    return any(a.startswith("test_") for a in arguments)


if __name__ == "__main__":
    main()
