"""The fault test: each kind of fault once, in an order that the seed chooses, while workflows run, signals are sent and
every frontend is read through. Ends with a table of the faults and stalls, and `N passed, N failed` (a case is a
workflow; the invariants count as one more).
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402
from stage import Stage, free_port  # noqa: E402, F401  (others take free_port from here)

SHAPE = {"history": 2, "matching": 2, "gateway": 2, "frontend": 2}
LONGEST = 6.0  # seconds of a fault whose length is open


async def ordeal_of_each(ordeal, options):
    from ordeal import plan

    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(options.minutes * 60, stop.set)
    await ordeal.run(plan(ordeal.stage, options, rounds=1, longest=LONGEST), stop)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=20, help="workflows at a time")
    parser.add_argument("--probes", type=int, default=12, help="workflows that are signalled all the time")
    parser.add_argument("--minutes", type=float, default=6, help="stop after, whatever is left")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--port", type=int, help="first of a block of 200 ports (default: some that are free)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from faults import KINDS
    from ordeal import Ordeal

    options.kinds, options.pause = list(KINDS), (0.3, 1.0)
    stage = Stage(SHAPE, options.port, keep=options.keep)
    print(f"seed {options.seed}, data {stage.data}", flush=True)
    try:
        stage.up()
        ordeal = Ordeal(stage, options)
        asyncio.run(ordeal_of_each(ordeal, options))
    finally:
        stage.close()
    good = ordeal.verdict()
    missing = [kind for kind in KINDS if kind not in {f.kind for f in ordeal.log}]
    for kind in missing:
        print(f"not done: {kind}")
    failed = min(len(ordeal.findings), ordeal.load.begun) + len(missing)
    print(f"{ordeal.load.begun + 1 - min(failed, ordeal.load.begun)} passed, {failed} failed")
    sys.exit(0 if good and not missing else 1)


if __name__ == "__main__":
    main()
