"""A soak with random faults: daemons killed, drained, frozen; PostgreSQL killed and stalled, while workflows run and
signals are sent. Ends with the table of faults with their stalls, and `N workflows, 0 lost, 0 duplicated, 0 violations`.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402
from run import free_port  # noqa: E402

KINDS = ("kill -9", "dead for 10 s", "SIGTERM", "SIGSTOP 10 s", "stall")


async def soak(options, cluster):
    from chaos import rage
    from load import Load, connect
    from probe import Probe

    stop = asyncio.Event()
    addresses = cluster.addresses()
    probe = Probe(await connect(addresses[0]), options.probes, "soak")
    faults = asyncio.create_task(rage(cluster, stop, options.seed, (2.0, 6.0), options.kinds))
    probing = asyncio.create_task(probe.run(stop))
    loads, until = [], time.monotonic() + options.minutes * 60
    while time.monotonic() < until:
        load = Load(addresses, options.batch, f"soak{len(loads)}")
        loads.append(load)
        try:
            await asyncio.wait_for(load.run(options.batch), 120)
        except asyncio.TimeoutError:
            load.violations.append(f"{load.count - load.done} workflows had not ended after 2 minutes")
        done, bad = sum(each.done for each in loads), sum(len(each.violations) for each in loads)
        print(f"  {done} workflows done, {bad} violations, {max(0, until - time.monotonic()):.0f} s left", flush=True)
    stop.set()
    log = await faults
    await probing
    return loads, probe, log


def table(log, probe):
    print("| fault | to | longest stall of a client | all healthy again after |")
    print("|---|---|---|---|")
    for fault in log:
        stall = probe.stall(fault.at, fault.at + fault.seconds + 1)
        print(f"| {fault.kind} | {fault.name} | {stall:.2f} s | {fault.seconds:.1f} s |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--batch", type=int, default=60, help="workflows in flight")
    parser.add_argument("--probes", type=int, default=8, help="workflows that are signalled all the time")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from chaos import Cluster

    data = tempfile.mkdtemp(prefix="perdure-soak-")
    shape = ["--frontends", "2", "--histories", "3", "--matchings", "2", "--gateways", "2"]
    cluster = Cluster(data, free_port(), shape)
    print(f"seed {options.seed}, data {data}", flush=True)
    try:
        cluster.up()
        loads, probe, log = asyncio.run(soak(options, cluster))
    finally:
        cluster.down()
        if not options.keep:
            shutil.rmtree(data, ignore_errors=True)
    table(log, probe)
    violations = [text for load in loads for text in load.violations] + probe.violations
    for text in violations[:50]:
        print(f"VIOLATION {text}")
    lost = sum(load.count - load.done for load in loads)
    duplicated = sum("times" in text for text in violations)
    print(f"{sum(probe.sent.values())} signals, {probe.failed_calls} calls failed and were sent again")
    print(f"{sum(load.count for load in loads)} workflows, {lost} lost, {duplicated} duplicated, {len(violations)} violations")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
