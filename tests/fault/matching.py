"""Matching nodes and gateways are killed and drained under a steady load: no task may be lost, none be late.

Lateness is read from the histories: the time between a task's scheduled and its started event, 2 s at most. A workflow
task whose start went with a killed gateway counts too (it is handed out again at once), and so does an activity: nobody
can know whether its worker got it, so its next attempt follows at once, which is 2 s and the retry policy's interval at
most. No attempt may run twice. Workers reach the gateways through a service, as in Kubernetes. Ends with a table of the
faults, and `N passed, N failed` (a case is a workflow).
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))
import bootstrap  # noqa: E402

LATE = 2.0  # seconds
QUEUE = "matching-faults"
SERVICE = 90  # offset of the port


def clock_of(event):
    return event.event_time.seconds + event.event_time.nanos / 1e9


def backoff(policy, attempt):
    """Seconds that the retry policy puts between the first attempt and this one."""
    first = policy.initial_interval.ToTimedelta().total_seconds()
    most = policy.maximum_interval.ToTimedelta().total_seconds()
    return sum(min(first * policy.backoff_coefficient**n, most) for n in range(attempt - 1))


def hand_outs(events):
    """(when scheduled, seconds until started, what) of every task, and (when, what) of starts that were lost."""
    from temporalio.api.enums.v1 import EventType as E

    scheduled, policies, found, lost = {}, {}, [], []
    for e in events:
        if e.event_type == E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
            scheduled[e.event_id] = (clock_of(e), "workflow task")
        elif e.event_type == E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled[e.event_id] = (clock_of(e), "activity")
            policies[e.event_id] = e.activity_task_scheduled_event_attributes.retry_policy
        elif e.event_type == E.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            at, what = scheduled.pop(e.workflow_task_started_event_attributes.scheduled_event_id)
            found.append((at, clock_of(e) - at, what))
        elif e.event_type == E.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            a = e.activity_task_started_event_attributes
            at, what = scheduled.pop(a.scheduled_event_id)
            wait = clock_of(e) - at - backoff(policies[a.scheduled_event_id], a.attempt)
            found.append((at, wait, what if a.attempt == 1 else f"{what}, attempt {a.attempt}"))
            if a.attempt > 1:
                lost.append((clock_of(e), f"{what}, begun again {wait:.2f} s and its interval later", a.last_failure.message))
        elif e.event_type == E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            lost.append((clock_of(e), "workflow task", "timed out"))
    return found, lost


class Load:
    def __init__(self, clients, prefix):
        self.clients = clients
        self.prefix = prefix
        self.tasks = []
        self.problems = []
        self.done = 0
        self.started = 0
        self.timed_out = []

    async def persist(self, call):
        from temporalio.service import RPCError, RPCStatusCode

        final = {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.ALREADY_EXISTS}
        while True:
            try:
                return await call()
            except RPCError as e:
                if e.status in final:
                    raise
                await asyncio.sleep(0.1)

    async def one(self, number):
        from matching_workflow import Steps

        client, wid = self.clients[0], f"{self.prefix}-{number}"
        try:
            handle = await self.persist(
                lambda: client.start_workflow(Steps.run, id=wid, task_queue=QUEUE, task_timeout=timedelta(seconds=5))
            )
            await asyncio.wait_for(self.persist(handle.result), 60)
            history = await self.persist(handle.fetch_history)
            found, lost = hand_outs(history.events)
            self.tasks += found
            self.timed_out += lost
        except Exception as e:  # reported, not swallowed
            self.problems.append(f"{wid}: {type(e).__name__}: {e}")
        self.done += 1

    async def run(self, rate, stop):
        pending = set()
        while not stop.is_set():
            task = asyncio.create_task(self.one(self.started))
            self.started += 1
            pending.add(task)
            task.add_done_callback(pending.discard)
            await asyncio.sleep(1 / rate)
        if pending:
            await asyncio.wait(pending)


def pick(status, choose, role):
    alive = [p for p in status["processes"] if p["role"] == role and p["pid"] and p["healthy"]]
    return choose.choice(alive) if alive else None


async def rage(cluster, options, stop):
    from chaos import in_thread, send, wait_gone

    choose = random.Random(options.seed)
    plan = [("stop, -9", "worker_gateway"), ("kill -9", "matching"), ("kill -9", "worker_gateway"),
            ("stop, -9", "worker_gateway"), ("SIGTERM", "matching"), ("SIGTERM", "worker_gateway")]
    log = []
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        await asyncio.sleep(choose.uniform(1.5, 2.5))
        kind, role = plan[len(log) % len(plan)]
        victim = pick(await in_thread(cluster.status), choose, role)
        if not victim:
            continue
        log.append((time.time(), kind, victim["name"]))
        if kind == "stop, -9":  # what history answers meanwhile reaches no worker
            send(victim["pid"], signal.SIGSTOP)
            await asyncio.sleep(0.2)
        send(victim["pid"], signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
        await asyncio.sleep(2.5)
        await wait_gone(victim["pid"], 30)
        await in_thread(cluster.up)
    await asyncio.sleep(2)
    stop.set()
    return log


async def ordeal(cluster, options):
    from load import connect
    from matching_workflow import Steps, step
    from service import rotate
    from temporalio.worker import Worker

    processes = cluster.status()["processes"]
    service = await rotate(cluster.port + SERVICE, [p for p in processes if p["role"] == "worker_gateway"])
    await asyncio.sleep(0.3)
    clients = [await connect(a) for a in [cluster.addresses()[0], *[f"127.0.0.1:{cluster.port + SERVICE}"] * 2]]
    workers = [
        Worker(
            c,
            task_queue=QUEUE,
            workflows=[Steps],
            activities=[step],
            max_concurrent_activities=50,
        )
        for c in clients[1:]
    ]
    load, stop = Load(clients, "mf"), asyncio.Event()
    running = [asyncio.create_task(w.run()) for w in workers]
    _, log = await asyncio.gather(load.run(options.rate, stop), rage(cluster, options, stop))
    await asyncio.gather(*(w.shutdown() for w in workers))
    await asyncio.gather(*running)
    service.end()
    return load, log


def show(load, log):
    late = Counter()
    for n, (at, kind, name) in enumerate(log):
        end = log[n + 1][0] if n + 1 < len(log) else float("inf")
        window = [(d, what) for t, d, what in load.tasks if at - 5 <= t < end and t + d > at]
        worst = max(window, default=(0, "none"))
        late[name] += sum(d > LATE for d, _ in window)
        print(f"  {kind:<8} {name:<18} {len(window):5} tasks, longest wait {worst[0]:5.2f} s ({worst[1]})")
    return sum(d > LATE for _, d, _ in load.tasks)


def tell(load, log):
    """How many tasks were late."""
    late = show(load, log)
    for text in load.problems[:20]:
        print(f"  LOST {text}")
    waits = sorted(d for _, d, _ in load.tasks)
    print(f"  {len(waits)} tasks, p50 {waits[len(waits) // 2] * 1000:.1f} ms, p99 {waits[len(waits) * 99 // 100] * 1000:.1f} ms")
    for at, what, why in load.timed_out:
        fault = [f"{kind} {name}" for when, kind, name in log if when < at]
        print(f"  a start was lost: {what}, after {fault[-1] if fault else 'nothing'}: {why}")
    return late + sum(what == "workflow task" for _, what, _ in load.timed_out)


def tell_executions():
    """How many attempts of activities ran more than once."""
    from matching_workflow import executions

    twice = sum(count > 1 for count in executions.values())
    again = [(wid, aid) for wid, aid, attempt in executions if attempt == 2]
    seen = sum((wid, aid, 1) in executions for wid, aid in again)
    print(f"  {len(executions)} attempts of activities; {len(again)} second ones, {seen} after a first that did run")
    return twice


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=15, help="workflows a second")
    parser.add_argument("--matchings", type=int, default=3)
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--set", action="append", default=[], help="a setting, as for tools/up")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(HERE / "requirements.txt")
    from chaos import Cluster
    from run import free_port

    data = tempfile.mkdtemp(prefix="perdure-matching-")
    shape = ["--histories", "2", "--matchings", str(options.matchings), "--gateways", str(options.gateways)]
    for each in options.set:
        shape += ["--set", each]
    cluster = Cluster(data, free_port(), shape)
    print(f"seed {options.seed}, data {data}", flush=True)
    try:
        cluster.up()
        load, log = asyncio.run(ordeal(cluster, options))
    finally:
        cluster.down()
        if not options.keep:
            shutil.rmtree(data, ignore_errors=True)
    late = tell(load, log)
    twice = tell_executions()
    print(f"{load.done} workflows, {len(load.problems)} lost, {twice} duplicated, {late} late")
    failed = min(load.done, len(load.problems) + twice + late)
    print(f"{load.done - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
