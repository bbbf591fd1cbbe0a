"""A soak with random faults: daemons are killed, drained, frozen, cut off; PostgreSQL is killed and stalled; nodes come
and go; everything is restarted in turn; while workflows run and signals are sent. The seed chooses what happens to whom
and for how long. Ends with the table of faults and stalls, and `N workflows, 0 lost, 0 duplicated, 0 violations`.
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402

SHAPE = {"history": 3, "matching": 2, "gateway": 2, "frontend": 2}


async def soak(ordeal, options):
    from ordeal import plan

    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(options.minutes * 60, stop.set)
    await ordeal.run(plan(ordeal.stage, options), stop)


def main():
    parser = argparse.ArgumentParser(
        prog="tools/faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--in-flight", type=int, default=40, help="workflows at a time")
    parser.add_argument("--probes", type=int, default=16, help="workflows that are signalled all the time")
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 4.0), help="seconds between faults, least and most")
    parser.add_argument("--kinds", nargs="+", help="only these faults (see --list)")
    parser.add_argument("--list", action="store_true", help="name the kinds of faults and end")
    parser.add_argument("--port", type=int, help="first of a block of 200 ports (default: some that are free)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from faults import KINDS
    from ordeal import Ordeal
    from stage import Stage

    options.kinds = options.kinds or list(KINDS)
    if options.list or set(options.kinds) - set(KINDS):
        print("\n".join(KINDS))
        sys.exit(not options.list)
    stage = Stage(SHAPE, options.port, keep=options.keep)
    print(f"seed {options.seed}, data {stage.data}", flush=True)
    try:
        stage.up()
        ordeal = Ordeal(stage, options)
        asyncio.run(soak(ordeal, options))
    finally:
        stage.close()
    sys.exit(0 if ordeal.verdict() else 1)


if __name__ == "__main__":
    main()
