#!/usr/bin/env python3
"""What operators change on a cluster that serves; prints a line a case, then 'N passed, N failed'."""

import argparse
import asyncio
import importlib
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "oracle"), str(ROOT / "tools" / "lib")]
from lib import bootstrap  # noqa: E402  (before anything that needs a package)

MODULES = ("case_settings", "case_certificates")


def all_cases():
    return [case for module in MODULES for case in importlib.import_module(module).CASES]


async def run(world, only):
    from world import Failed

    passed = failed = 0
    for case in all_cases():
        if only and case.__name__ not in only:
            continue
        try:
            told = await case(world)
            passed += 1
            print(f"ok   {case.__name__}{': ' + told if told else ''}", flush=True)
        except Exception as error:  # a case that fails in any way fails alone
            failed += 1
            print(f"FAIL {case.__name__}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", metavar="CASE", help="these cases")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    parser.add_argument("--port", type=int, help="base port (default: any)")
    given = parser.parse_args()
    bootstrap.enter(ROOT / "tests" / "oracle" / "requirements.txt")
    from test import free_port
    from world import World

    data = tempfile.mkdtemp(prefix="perdure-operate-")
    os.chmod(data, 0o755)  # PostgreSQL's user has to get in
    world = World(data, given.port or free_port())
    try:
        world.begin()
        return asyncio.run(run(world, given.only))
    finally:
        world.end()
        if given.keep:
            print(f"data: {data}")
        else:
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
