"""What a client sees while things break: signals to idle workflows, each sent again at once when it fails.

The time from a signal's first attempt to its success is its stall. Each signal has one request id, whatever the number
of attempts, so at the end each acknowledged one must be in history exactly once.
"""

import asyncio
import time
import uuid
from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import EventType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
)
from temporalio.service import RPCError, RPCStatusCode

TIMEOUT = timedelta(seconds=2)  # of one attempt
FINAL = {RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION}


class Probe:
    def __init__(self, client, count, prefix):
        self.service = client.workflow_service
        self.ids = [f"{prefix}-probe-{n}" for n in range(count)]
        self.stalls = []  # (when the first attempt was, seconds)
        self.sent = {wid: 0 for wid in self.ids}
        self.failed_calls = 0
        self.violations = []

    async def insist(self, call):
        """Repeats until it succeeds; answers (seconds, response)."""
        began = time.monotonic()
        while True:
            try:
                return began, await call()
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

    async def one(self, wid, stop):
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
            await asyncio.sleep(0.1)

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
        if seen != self.sent[wid]:
            self.violations.append(f"{wid}: {self.sent[wid]} signals acknowledged, {seen} in history")
        request = TerminateWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=wid)
        )
        await self.insist(lambda: self.service.terminate_workflow_execution(request, timeout=TIMEOUT))

    async def run(self, stop):
        await asyncio.gather(*(self.start(wid) for wid in self.ids))
        await asyncio.gather(*(self.one(wid, stop) for wid in self.ids))
        await asyncio.gather(*(self.check(wid) for wid in self.ids))

    def stall(self, begin, end):
        """The longest stall of a signal under way between two moments."""
        return max((took for at, took in self.stalls if at < end and at + took > begin), default=0.0)
