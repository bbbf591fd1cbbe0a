"""Workflows that nobody works on, signalled without pause: how long a client waits, whether every acknowledged signal
is there once, and whether anybody ever answers with less than what was acknowledged before the question.

A signal is repeated, with its request id, until it is acknowledged; the stall is the time that this took.
"""

import asyncio
import time
import uuid
from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import EventType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.service import RPCError, RPCStatusCode

TIMEOUT = timedelta(seconds=2)  # of one attempt
LATE = 1.0  # seconds beyond its deadline after which an attempt hangs
FINAL = {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION}
EVENTS_BEFORE = 2  # of a workflow without worker: started, and a workflow task scheduled


class Probe:
    def __init__(self, client, findings, count, prefix, pause=0.1):
        self.service = client.workflow_service
        self.findings = findings
        self.ids = [f"{prefix}-probe-{n}" for n in range(count)]
        self.pause = pause
        self.stalls = []  # (when the first attempt was, seconds)
        self.sent = {wid: 0 for wid in self.ids}
        self.failed_calls = 0
        self.reads = 0

    async def attempt(self, call):
        began = time.monotonic()
        try:
            return await call()
        finally:
            took = time.monotonic() - began
            if took > TIMEOUT.total_seconds() + LATE:
                self.findings.violations.append(f"a call hung for {took:.1f} s, its deadline was {TIMEOUT}")

    async def insist(self, call):
        """Repeats until it succeeds; answers (when it began, response)."""
        began = time.monotonic()
        while True:
            try:
                return began, await self.attempt(call)
            except RPCError as e:
                if e.status in FINAL:
                    raise
                self.failed_calls += 1
                await asyncio.sleep(0.005)

    async def start(self, wid):
        request = StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=wid,
            workflow_type=WorkflowType(name="probe"),
            task_queue=TaskQueue(name="nobody"),
            request_id=wid,
        )
        await self.insist(lambda: self.service.start_workflow_execution(request, timeout=TIMEOUT))

    async def signal(self, wid, stop):
        while not stop.is_set():
            request = SignalWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=wid),
                signal_name="probe",
                request_id=str(uuid.uuid4()),
            )
            began, _ = await self.insist(lambda: self.service.signal_workflow_execution(request, timeout=TIMEOUT))
            self.sent[wid] += 1
            self.stalls.append((began, time.monotonic() - began))
            await asyncio.sleep(self.pause)

    async def read(self, name, client, stop):
        """Through one frontend: what it answers must not be older than what was acknowledged before."""
        service = client.workflow_service
        while not stop.is_set():
            for wid in self.ids:
                known = EVENTS_BEFORE + self.sent[wid]
                request = DescribeWorkflowExecutionRequest(
                    namespace="default", execution=WorkflowExecution(workflow_id=wid)
                )
                try:
                    answer = await self.attempt(
                        lambda: service.describe_workflow_execution(request, timeout=TIMEOUT)  # noqa: B023
                    )
                except RPCError:
                    continue  # it is being hurt; whether it answers is not the question here
                self.reads += 1
                length = answer.workflow_execution_info.history_length
                if length < known:
                    self.findings.violations.append(
                        f"{wid}: a stale read at {name}: {length} events, {known} were acknowledged before"
                    )
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.02)

    async def check(self, wid):
        """Every acknowledged signal is there, once."""
        seen, page = 0, b""
        while True:
            request = GetWorkflowExecutionHistoryRequest(
                namespace="default", execution=WorkflowExecution(workflow_id=wid), next_page_token=page
            )
            _, answer = await self.insist(lambda: self.service.get_workflow_execution_history(request, timeout=TIMEOUT))
            seen += sum(
                e.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED for e in answer.history.events
            )
            page = answer.next_page_token
            if not page:
                break
        if seen < self.sent[wid]:
            self.findings.lost.append(f"{wid}: {self.sent[wid]} signals acknowledged, {seen} in history")
        if seen > self.sent[wid]:
            self.findings.duplicated.append(f"{wid}: {self.sent[wid]} signals acknowledged, {seen} in history")
        request = TerminateWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=wid)
        )
        await self.insist(lambda: self.service.terminate_workflow_execution(request, timeout=TIMEOUT))

    async def run(self, stop, readers=()):
        """readers: (name, client) of each frontend to read through."""
        await asyncio.gather(*(self.start(wid) for wid in self.ids))
        reading = [asyncio.create_task(self.read(name, client, stop)) for name, client in readers]
        await asyncio.gather(*(self.signal(wid, stop) for wid in self.ids))
        await asyncio.gather(*reading)
        await asyncio.gather(*(self.check(wid) for wid in self.ids))

    def stall(self, begin, end):
        """The longest stall of a signal under way between two moments; not of one that a fault before had stalled."""
        return max((took for at, took in self.stalls if begin - 0.1 < at < end), default=0.0)
