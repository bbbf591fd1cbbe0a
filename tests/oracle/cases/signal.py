"""Signals."""

import uuid

from lib import commands
from lib.case import case, payload, payloads


@case
async def before_first_task(t):
    """A signal before the first task was taken."""
    await t.start()
    await t.signal(value="early")
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def idle(t):
    """A signal to a run that waits."""
    await t.start()
    await t.step()
    await t.signal(value="one")
    await t.signal(value="two")
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def task_started(t):
    """Signals while a workflow task is with a worker: written behind its answer, then a new task."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value="one")
    await t.signal(value="two")
    await t.history()
    await t.describe()
    await t.complete(task, commands.timer(after="60s"))
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def full(t):
    """Header, no input, links."""
    await t.start()
    await t.signal(header={"fields": {"head": payload("er")}})
    await t.signal(input=payloads(1, 2), identity="")
    await t.history()
    await t.terminate()


@case
async def same_request_id(t):
    """The same request id twice is one signal."""
    request_id = str(uuid.uuid4())
    await t.start()
    await t.signal(value=1, request_id=request_id)
    await t.signal(value=2, request_id=request_id)
    await t.step()
    await t.signal(value=3, request_id=request_id)
    await t.signal(value=4, request_id="")
    await t.signal(value=4, request_id="")
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def without_run_id(t):
    """To the current run."""
    await t.start()
    await t.signal(workflow_execution={"workflow_id": t.workflow_id})
    await t.history()
    await t.terminate()


@case
async def closed(t):
    """To a run that has closed."""
    await t.start()
    await t.step(commands.done())
    request = {"namespace": "default", "signal_name": "signal"}
    await t.attempt("SignalWorkflowExecution", request, workflow_execution=t.execution())
    await t.attempt("SignalWorkflowExecution", request, workflow_execution=t.execution(""))


@case
async def to_old_run(t):
    """To an old run while a new one is open."""
    first = await t.start()
    await t.step(commands.done())
    await t.start()
    request = {"namespace": "default", "signal_name": "signal"}
    await t.attempt("SignalWorkflowExecution", request, workflow_execution=t.execution(first.run_id))
    await t.history()
    await t.terminate()


@case
async def terminated_while_buffered(t):
    """Terminated while a signal is buffered: the signal is written first."""
    await t.start()
    await t.poll(record=False)
    await t.signal(value="buffered")
    await t.terminate()
    await t.history()
