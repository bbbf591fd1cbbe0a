"""Clients and workers: starts workflows, signals them, waits for their results, and judges their histories."""

import asyncio
import logging
import time
import uuid
from datetime import timedelta

from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.converter import default as default_converter
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from workflows import Durable, executions, work

logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # failing activities and lost connections are expected

QUEUE = "faults"
SIGNALS = 3
ATTEMPT = timedelta(seconds=5)
SLOW = 15.0  # seconds of a workflow that is worth a line
PASSING = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.ABORTED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
}


def passes(error):
    """May it be asked again? Also when a connection that is being closed rejects a stream that its side of the client had
    only just opened: the client's HTTP/2 library says INTERNAL then, and the SDK's own retry repeats that as well."""
    return error.status in PASSING or (
        error.status == RPCStatusCode.INTERNAL and error.message.startswith("h2 protocol error")
    )


class Findings:
    """What should not have been: lost, done twice, or otherwise wrong."""

    def __init__(self):
        self.lost, self.duplicated, self.violations = [], [], []

    def __len__(self):
        return len(self.all())

    def all(self):
        return (
            [f"LOST {t}" for t in self.lost]
            + [f"DUPLICATED {t}" for t in self.duplicated]
            + [f"VIOLATION {t}" for t in self.violations]
        )


class Load:
    """`in_flight` workflows at a time over the clients' service; workers at the workers' service."""

    def __init__(self, findings, prefix):
        self.findings = findings
        self.prefix = prefix
        self.begun = 0
        self.done = 0
        self.calls_failed = 0
        self.longest = 0.0  # of a workflow
        self.slow = []  # (seconds, why)

    async def persist(self, what, call):
        """Repeats a call for as long as what it hears may pass; answers (its answer, whether it was repeated)."""
        again = False
        while True:
            try:
                return await call(), again
            except RPCError as e:
                if not passes(e) and not (again and e.status == RPCStatusCode.NOT_FOUND):
                    raise RuntimeError(f"{what}: {e.status.name}: {e.message}") from e
                if e.status == RPCStatusCode.NOT_FOUND:
                    return None, again  # an earlier attempt got through, and the workflow has ended since
                again = True
                self.calls_failed += 1
                await asyncio.sleep(0.2)

    async def start(self, client, wid, number):
        try:
            await client.start_workflow(
                Durable.run,
                args=[number % 5 == 0, SIGNALS],
                id=wid,
                task_queue=QUEUE,
                task_timeout=timedelta(seconds=5),
                rpc_timeout=ATTEMPT,
            )
        except WorkflowAlreadyStartedError:
            pass  # an earlier attempt of ours got through

    async def signal(self, client, wid, number):
        """With one request id, whatever the number of attempts: it must arrive once."""
        request = SignalWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=wid),
            signal_name="go",
            input=Payloads(payloads=await default_converter().encode([number])),
            request_id=str(uuid.uuid4()),
        )
        await self.persist("signal", lambda: client.workflow_service.signal_workflow_execution(request, timeout=ATTEMPT))

    async def one(self, client, number):
        wid = f"{self.prefix}-{number}"
        began = time.monotonic()
        await self.persist("start", lambda: self.start(client, wid, number))
        for i in range(SIGNALS):
            await asyncio.sleep(number % 7 * 0.2)
            await self.signal(client, wid, i)
        handle = client.get_workflow_handle(wid)
        result, _ = await self.persist("result", handle.result)
        history, _ = await self.persist("history", handle.fetch_history)
        self.judge_result(wid, result)
        self.findings.violations += [f"{wid}: {text}" for text in judge(history.events)]
        took = time.monotonic() - began
        self.longest = max(self.longest, took)
        if took > SLOW:
            self.slow.append((took, f"{wid} took {took:.1f} s: {widest_gap(history.events)}"))

    async def count_one(self, client, number):
        self.begun += 1
        try:
            await self.one(client, number)
            self.done += 1
        except asyncio.CancelledError:
            self.findings.lost.append(f"{self.prefix}-{number} has not ended")
            raise
        except Exception as e:  # reported, not swallowed
            self.done += 1
            self.findings.violations.append(f"{self.prefix}-{number}: {type(e).__name__}: {e}")

    def judge_result(self, wid, result):
        signals = result[1] if isinstance(result, list) and result[:1] == ["activity"] else None
        if signals is None:
            self.findings.violations.append(f"{wid}: result {result!r}")
            return
        for i in range(SIGNALS):
            if signals.count(i) > 1:
                self.findings.duplicated.append(f"{wid}: signal {i} arrived {signals.count(i)} times")
            if not signals.count(i):
                self.findings.lost.append(f"{wid}: signal {i}")

    def worker(self, client):
        return Worker(
            client,
            task_queue=QUEUE,
            workflows=[Durable],
            activities=[work],
            max_concurrent_activities=200,
            max_cached_workflows=1000,
        )

    async def run(self, clients, workers, in_flight, stop, grace):
        """Workflows one after the other, `in_flight` at a time, until `stop`; then those begun have `grace` seconds."""
        client = await connect(clients)
        async with self.worker(await connect(workers)), self.worker(await connect(workers)):

            async def again_and_again(first):
                number = first
                while not stop.is_set():
                    await self.count_one(client, number)
                    number += in_flight

            tasks = [asyncio.create_task(again_and_again(n)) for n in range(in_flight)]
            await stop.wait()
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for (wid, _, attempt), times in executions.items():
            if times > 1:
                self.findings.duplicated.append(f"{wid}: attempt {attempt} of its activity ran {times} times")


# The SDK's core would write a line for each call that fails.
quiet = Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(TelemetryFilter("ERROR", "ERROR"))))


async def connect(address):
    while True:
        try:
            return await Client.connect(address, runtime=quiet)
        except (RuntimeError, RPCError):
            await asyncio.sleep(0.2)


def widest_gap(events):
    """Between which two events most of the time went."""
    gaps = [
        (b.event_time.ToNanoseconds() - a.event_time.ToNanoseconds(), a.event_type, b.event_type)
        for a, b in zip(events, events[1:])
    ]
    wait, before, after = max(gaps)
    names = [EventType.Name(kind).removeprefix("EVENT_TYPE_").lower() for kind in (before, after)]
    return f"{wait / 1e9:.1f} s between {names[0]} and {names[1]}"


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
    if kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED) != SIGNALS:
        yield f"{kinds.count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)} signals"
    if kinds and kinds[-1] != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
        yield "something follows the completion"
    known = set(numbers)
    for e in events:
        attributes = getattr(e, e.WhichOneof("attributes"))
        for field in ("scheduled_event_id", "started_event_id", "workflow_task_completed_event_id"):
            cause = getattr(attributes, field, 0)
            if cause and (cause not in known or cause >= e.event_id):
                yield f"event {e.event_id} names {field} {cause}"
