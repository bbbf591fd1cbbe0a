"""Clients and a worker: starts workflows, signals them, waits for their results, and judges their histories."""

import asyncio
import logging
from datetime import timedelta

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from workflows import Durable, executions, work

logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # failing activities and lost connections are expected

QUEUE = "faults"
EXPECTED = "activity+timer+signal"
PASSING = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.ABORTED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
}


class Load:
    def __init__(self, addresses, count, prefix):
        self.addresses = addresses
        self.count = count
        self.prefix = prefix
        self.done = 0
        self.violations = []

    def id(self, number):
        return f"{self.prefix}-{number}"

    async def persist(self, what, call):
        """Repeats a call for as long as what it hears may pass."""
        while True:
            try:
                return await call()
            except RPCError as e:
                if e.status not in PASSING:
                    raise RuntimeError(f"{what}: {e.status.name}: {e.message}") from e
                await asyncio.sleep(0.2)

    async def start(self, client, number):
        try:
            await client.start_workflow(
                Durable.run,
                number % 5 == 0,
                id=self.id(number),
                task_queue=QUEUE,
                task_timeout=timedelta(seconds=5),
            )
        except WorkflowAlreadyStartedError:
            pass  # an earlier attempt of ours got through

    async def one(self, clients, number):
        client = clients[number % len(clients)]
        wid = self.id(number)
        try:
            await self.persist("start", lambda: self.start(client, number))
            handle = client.get_workflow_handle(wid)
            await asyncio.sleep(number % 7 * 0.3)
            await self.persist("signal", lambda: handle.signal(Durable.go))
            result = await self.persist("result", handle.result)
            if result != EXPECTED:
                self.violations.append(f"{wid}: result {result!r}")
            history = await self.persist("history", handle.fetch_history)
            self.violations += [f"{wid}: {text}" for text in judge(history.events)]
        except Exception as e:  # reported, not swallowed
            self.violations.append(f"{wid}: {type(e).__name__}: {e}")
        self.done += 1

    async def run(self, in_flight):
        clients = [await connect(a) for a in self.addresses]
        worker = Worker(
            clients[-1],
            task_queue=QUEUE,
            workflows=[Durable],
            activities=[work],
            max_concurrent_activities=200,
            max_cached_workflows=1000,
        )
        turn = asyncio.Semaphore(in_flight)

        async def limited(number):
            async with turn:
                await self.one(clients, number)

        async with worker:
            await asyncio.gather(*(limited(n) for n in range(self.count)))
        for (wid, attempt), times in executions.items():
            if times > 1:
                self.violations.append(f"{wid}: attempt {attempt} of its activity ran {times} times")


async def connect(address):
    while True:
        try:
            return await Client.connect(address)
        except (RuntimeError, RPCError):
            await asyncio.sleep(0.2)


def judge(events):
    """What is wrong with the history of a completed run."""
    kinds = [e.event_type for e in events]
    numbers = [e.event_id for e in events]
    if numbers != list(range(1, len(events) + 1)):
        yield "events are not numbered 1..n"
    for kind in (
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_TIMER_FIRED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    ):
        if kinds.count(kind) != 1:
            yield f"{kinds.count(kind)} events of type {EventType.Name(kind)}"
    if not kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED):
        yield "no signal"
    if kinds and kinds[-1] != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        yield "something follows the completion"
    known = set(numbers)
    for e in events:
        attributes = getattr(e, e.WhichOneof("attributes"))
        for field in ("scheduled_event_id", "started_event_id", "workflow_task_completed_event_id"):
            cause = getattr(attributes, field, 0)
            if cause and (cause not in known or cause >= e.event_id):
                yield f"event {e.event_id} names {field} {cause}"


