"""The end-to-end cases with the Python SDK. Usage: main.py ADDRESS NAMESPACE"""

import asyncio
import sys
import traceback
import uuid

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.worker import Worker

import workflows

CASE_S_MAX = 60


class Run:
    """What a case works with."""

    def __init__(self, client, queue, handover):
        self.client = client
        self.queue = queue
        self.handover = handover

    async def start(self, kind, *args):
        return await self.client.start_workflow(kind, *args, id=f"python-{uuid.uuid4()}", task_queue=self.queue)


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


async def event_types(handle):
    return [event.event_type async for event in handle.fetch_history_events()]


async def hello(run):
    handle = await run.start(workflows.Hello.run, "world")
    equal(await handle.result(), "Hello, world!")


async def activity_retries(run):
    handle = await run.start(workflows.Retries.run)
    equal(await handle.result(), 3)


async def signal_and_query(run):
    handle = await run.start(workflows.SignalAndQuery.run)
    equal(await handle.query(workflows.SignalAndQuery.seen), [])
    await handle.signal(workflows.SignalAndQuery.add, "one")
    equal(await handle.query(workflows.SignalAndQuery.seen), ["one"])
    await handle.signal(workflows.SignalAndQuery.add, "end")
    equal(await handle.result(), ["one", "end"])
    equal(await handle.query(workflows.SignalAndQuery.seen), ["one", "end"])


async def timer(run):
    handle = await run.start(workflows.Timer.run)
    slept = await handle.result()
    equal(1.0 <= slept < 10.0, True)
    equal(EventType.EVENT_TYPE_TIMER_FIRED in await event_types(handle), True)


async def cancel(run):
    handle = await run.start(workflows.Cancel.run)
    while not (await handle.describe()).raw_description.pending_activities:
        await asyncio.sleep(0.02)
    await handle.cancel()
    try:
        await handle.result()
    except WorkflowFailureError as error:
        equal(isinstance(error.cause, CancelledError), True)
    else:
        raise AssertionError("not canceled")
    equal((await handle.describe()).status.name, "CANCELED")


async def continue_as_new(run):
    handle = await run.start(workflows.ContinueAsNew.run, 2)
    last = await handle.result()
    equal(last != handle.first_execution_run_id, True)
    equal((await run.client.get_workflow_handle(handle.id).describe()).run_id, last)


async def async_completion(run):
    handle = await run.start(workflows.AsyncCompletion.run)
    token = await run.handover.token
    activity = run.client.get_async_activity_handle(task_token=token)
    await activity.heartbeat("on it")
    await activity.complete("completed by somebody else")
    equal(await handle.result(), "completed by somebody else")


CASES = [hello, activity_retries, signal_and_query, timer, cancel, continue_as_new, async_completion]


async def main(address, namespace):
    client = await Client.connect(address, namespace=namespace)
    queue = f"python-{uuid.uuid4()}"
    handover = workflows.Handover()
    failed = 0
    worker = Worker(
        client,
        task_queue=queue,
        workflows=workflows.WORKFLOWS,
        activities=[*workflows.ACTIVITIES, handover.hand_over],
    )
    async with worker:
        for case in CASES:
            try:
                await asyncio.wait_for(case(Run(client, queue, handover)), CASE_S_MAX)
                print(f"ok   {case.__name__}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAIL {case.__name__}: {type(error).__name__}: {error}", flush=True)
                traceback.print_exc()
    print(f"{len(CASES) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2])))
