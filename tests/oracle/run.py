#!/usr/bin/env python3
"""Runs the same client scripts against the reference server and against Perdure and compares what each of them saw.

One line a case, then 'N passed, N failed'; the exit code is 1 if any failed.
"""

import argparse
import asyncio
import contextlib
import fnmatch
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lib import bootstrap  # noqa: E402  (before anything that needs a package)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perdure", metavar="HOST:PORT", help="the server under test")
    parser.add_argument("--oracle", metavar="HOST:PORT", help="a running reference server; default: start one")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="cases whose name matches, e.g. 'activity.*'")
    parser.add_argument("--jobs", type=int, default=24, help="cases at a time (default 24)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    parser.add_argument("--show", action="store_true", help="print the reference's transcripts instead of comparing")
    parser.add_argument("--self", action="store_true", help="compare the reference with itself: is a case stable?")
    options = parser.parse_args()
    if not (options.perdure or options.list or options.show or options.self):
        parser.error("--perdure is missing")
    return options


async def main(options):
    from lib import suite

    names = [name for name in suite.load(HERE / "cases") if fnmatch.fnmatch(name, options.only)]
    if not names:
        print(f"no case matches {options.only}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(names))
        return 0
    with contextlib.ExitStack() as stack:
        reference = options.oracle
        if reference is None:
            from lib.reference import Reference

            reference = stack.enter_context(Reference()).address
        if options.show:
            return await suite.show(names, reference, options.jobs)
        return await suite.compare(names, reference, options.perdure or reference, options.jobs)


if __name__ == "__main__":
    chosen = arguments()
    bootstrap.enter(HERE / "requirements.txt")
    sys.exit(asyncio.run(main(chosen)))
