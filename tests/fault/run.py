"""The fault test: workflows in flight while daemons and PostgreSQL are killed with -9 and started again.

Ends with a table of the faults, and `N passed, N failed` (a case is a workflow; invariants count as one more).
"""

import argparse
import asyncio
import random
import shutil
import socket
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402


def free_port():
    """The first of a block of ports that nobody listens on."""
    while True:
        port = random.randrange(11000, 31000, 100)  # below the ports that connections are given
        try:
            for offset in range(60):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", port + offset))
            return port
        except OSError:
            continue


async def ordeal(options, cluster):
    from chaos import rage
    from load import Load

    load = Load(cluster.addresses(), options.workflows, "fault")
    stop = asyncio.Event()
    chaos = asyncio.create_task(rage(cluster, stop, options.seed))

    async def progress():
        while not stop.is_set():
            print(f"  {load.done} of {load.count} workflows done, {len(load.violations)} violations", flush=True)
            try:
                await asyncio.wait_for(stop.wait(), 10)
            except asyncio.TimeoutError:
                pass

    shown = asyncio.create_task(progress())
    try:
        await asyncio.wait_for(load.run(options.in_flight), options.minutes * 60)
    except asyncio.TimeoutError:
        load.violations.append(f"{load.count - load.done} workflows had not ended after {options.minutes} minutes")
    stop.set()
    await shown
    return load, await chaos


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=6, help="give up after")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from chaos import Cluster

    data = tempfile.mkdtemp(prefix="perdure-fault-")
    shape = ["--frontends", "1", "--histories", "2", "--matchings", "2", "--gateways", "2"]
    cluster = Cluster(data, free_port(), shape)
    print(f"seed {options.seed}, data {data}", flush=True)
    try:
        cluster.up()
        load, log = asyncio.run(ordeal(options, cluster))
    finally:
        cluster.down()
        if not options.keep:
            shutil.rmtree(data, ignore_errors=True)
    for fault in log:
        print(f"  {fault.kind} {fault.name:<14} all serving again after {fault.seconds:4.1f} s")
    for text in load.violations[:50]:
        print(f"  VIOLATION {text}")
    print(f"{load.done} workflows, {len(log)} kills, {len(load.violations)} violations")
    failed = min(len(load.violations), load.count)
    print(f"{load.count - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
