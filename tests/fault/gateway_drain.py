"""Gateways drain, one after the other, under workers of the official SDKs (Python and Go): these move on without a word.

The workers know one address, a service's (as in Kubernetes: its connections go to the gateways that are ready; one that
is to end leaves it first). Workflows run all the time. Demanded: all workflows end, nothing is as bad as a warning in what
the workers log, and no task waits for more than a second. Ends with `N passed, N failed`.
"""

import argparse
import asyncio
import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402

LATE = 1.0  # seconds
SERVICE = 90  # offset of the port


class Kept(logging.Handler):
    """What is logged at WARNING and above."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.name}: {record.getMessage()}")


def listening():
    """A runtime whose core logs to Python, and where it goes."""
    from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

    kept = Kept()
    for name in ("temporal-core", "temporalio"):
        logging.getLogger(name).addHandler(kept)
        logging.getLogger(name).propagate = False
    core = LoggingConfig(
        TelemetryFilter(core_level="WARN", other_level="WARN"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporal-core")),
    )
    return Runtime(telemetry=TelemetryConfig(logging=core)), kept


class GoWorker:
    def __init__(self, folder):
        self.program = Path(folder) / "goworker"
        subprocess.run(["go", "build", "-o", self.program, "."], cwd=HERE / "goworker", check=True)

    def start(self, address, queue):
        self.process = subprocess.Popen(
            [self.program, address, queue], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stop(self):
        """What it logged."""
        self.process.stdin.close()
        lines = self.process.stdout.read().splitlines()
        self.process.wait()
        return lines


async def keep_going(load, queues, rate, stop):
    pending = set()
    while not stop.is_set():
        for queue in queues:
            task = asyncio.create_task(load.one(queue, load.begun))
            load.begun += 1
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.sleep(len(queues) / rate)
    await asyncio.gather(*pending)


class Load:
    def __init__(self, client):
        self.client = client
        self.begun = 0
        self.problems, self.waits = [], []

    async def one(self, queue, number):
        from matching import hand_outs

        try:
            handle = await self.client.start_workflow(
                "Steps", id=f"drain-{number}", task_queue=queue, task_timeout=timedelta(seconds=5)
            )
            await asyncio.wait_for(handle.result(), 30)
            found, lost = hand_outs((await handle.fetch_history()).events)
            self.waits += [(waited, what, queue) for _, waited, what in found]
            self.problems += [f"{handle.id} on {queue}: a {what} timed out" for _, what in lost]
        except Exception as e:  # reported, not swallowed
            self.problems.append(f"drain-{number} on {queue}: {type(e).__name__}: {e}")


async def drain_all(cluster, service, options):
    from chaos import in_thread, send, wait_gone

    for n in range(options.drains):
        await asyncio.sleep(options.pause)
        gateways = [p for p in (await in_thread(cluster.status))["processes"] if p["role"] == "worker_gateway"]
        victim = gateways[n % len(gateways)]
        service.take_out(victim)
        await asyncio.sleep(0.2)
        began = time.monotonic()
        send(victim["pid"], signal.SIGTERM)
        if not await wait_gone(victim["pid"], 45):
            raise RuntimeError(f"{victim['name']} did not end after SIGTERM")
        print(f"  {victim['name']} drained in {time.monotonic() - began:.2f} s", flush=True)
        await in_thread(cluster.up)
        service.put_back(victim)
    await asyncio.sleep(options.pause)


async def ordeal(cluster, go, options):
    from load import connect
    from matching_workflow import Steps, step
    from service import rotate
    from temporalio.client import Client
    from temporalio.worker import Worker

    processes = cluster.status()["processes"]
    service = await rotate(cluster.port + SERVICE, [p for p in processes if p["role"] == "worker_gateway"])
    await asyncio.sleep(0.3)
    address = f"127.0.0.1:{cluster.port + SERVICE}"
    runtime, kept = listening()
    worker = Worker(await Client.connect(address, runtime=runtime), task_queue="drain-python", workflows=[Steps], activities=[step])
    go.start(address, "drain-go")
    running = asyncio.create_task(worker.run())
    load, stop = Load(await connect(cluster.addresses()[0])), asyncio.Event()
    going = asyncio.create_task(keep_going(load, ["drain-python", "drain-go"], options.rate, stop))
    await drain_all(cluster, service, options)
    stop.set()
    await going
    await worker.shutdown()
    await running
    logs = {"Python": list(kept.lines), "Go": await asyncio.get_running_loop().run_in_executor(None, go.stop)}
    service.end()
    return load, logs


def verdict(load, logs):
    late = [w for w in load.waits if w[0] > LATE]
    waits = sorted(w[0] for w in load.waits)
    print(f"  {load.begun} workflows, {len(waits)} tasks, p99 {waits[len(waits) * 99 // 100] * 1000:.0f} ms, longest {waits[-1] * 1000:.0f} ms")
    for text in load.problems[:20] + [f"{what} on {queue} waited {waited:.2f} s" for waited, what, queue in late[:20]]:
        print(f"FAIL {text}")
    for sdk, lines in logs.items():
        print(f"  {sdk} worker: {len(lines)} warnings or errors in its log")
        for line in lines[:10]:
            print(f"FAIL {sdk} worker logged {line[:300]}")
    checks = [not load.problems, not late, *(not lines for lines in logs.values())]
    print(f"{sum(checks)} passed, {len(checks) - sum(checks)} failed")
    return all(checks)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drains", type=int, default=4)
    parser.add_argument("--pause", type=float, default=2, help="seconds between them")
    parser.add_argument("--rate", type=float, default=20, help="workflows a second")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from chaos import Cluster
    from run import free_port

    data = tempfile.mkdtemp(prefix="perdure-drain-")
    with tempfile.TemporaryDirectory() as folder:
        go = GoWorker(folder)
        cluster = Cluster(data, free_port(), ["--matchings", "2", "--gateways", "2"])
        try:
            cluster.up()
            good = verdict(*asyncio.run(ordeal(cluster, go, options)))
        finally:
            cluster.down()
            if not options.keep:
                shutil.rmtree(data, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
