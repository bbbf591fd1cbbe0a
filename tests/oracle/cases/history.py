"""Reading histories: pages, long polls, close events, reverse."""

import base64

from lib import commands
from lib.case import case, family


async def _pages(t, method, **fields):
    """The ids of all pages' events. Where pages end is the server's business: the reference never splits what it wrote
    at once, so its pages are often larger than asked for."""
    request = {"namespace": "default", "execution": t.execution(), **fields}
    ids, empty = [], 0
    for _ in range(100):
        response = await t.call(method, request, record=False)
        ids += [event.event_id for event in response.history.events]
        empty += not response.history.events and bool(response.next_page_token)
        if not response.next_page_token:
            t.note("pages", {"events": ids, "empty before the last": empty})
            return
        request["next_page_token"] = base64.b64encode(response.next_page_token).decode()


async def _run_of(t, signals):
    """A closed run with that many signals in between."""
    await t.start()
    await t.step()
    for number in range(signals):
        await t.signal(value=number)
    await t.step(commands.done())


@case
async def pages(t):
    """Page by page, whatever the size asked for."""
    await _run_of(t, 5)
    for size in (1, 2, 3, 100):
        await _pages(t, "GetWorkflowExecutionHistory", maximum_page_size=size)


@case
async def pages_of_big_batch(t):
    """Many events written at once."""
    await t.start()
    await t.step(*(commands.marker(f"m{number}") for number in range(6)), commands.done())
    await _pages(t, "GetWorkflowExecutionHistory", maximum_page_size=2)


@case
async def reverse(t):
    """From the end to the beginning."""
    await _run_of(t, 3)
    await t.call("GetWorkflowExecutionHistoryReverse", namespace="default", execution=t.execution())
    for size in (1, 3):
        await _pages(t, "GetWorkflowExecutionHistoryReverse", maximum_page_size=size)


@case
async def reverse_open(t):
    """From the end, of an open run."""
    await t.start()
    await t.step()
    await t.signal()
    await t.call("GetWorkflowExecutionHistoryReverse", namespace="default", execution=t.execution())
    await t.terminate()


@case
async def close_event(t):
    """Only the close event."""
    await _run_of(t, 1)
    await t.call(
        "GetWorkflowExecutionHistory",
        namespace="default",
        execution=t.execution(),
        history_event_filter_type="HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT",
    )


@case
async def close_event_of_open_run(t):
    """Only the close event, of a run that is open: waits for it though nobody said so, to the client's deadline."""
    await t.start()
    await t.attempt(
        "GetWorkflowExecutionHistory",
        namespace="default",
        execution=t.execution(),
        history_event_filter_type="HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT",
        timeout_s=2,
    )
    await t.terminate()


@case
async def wait_close_event(t):
    """Waiting for the close event, as clients do that wait for a result."""
    await t.start()
    wait = t.background(t.wait_closed())
    await t.step()
    await t.signal()
    await t.step(commands.done("awaited"))
    event = await wait
    t.note("close event", [event.event_id, event.event_type])


@case
async def wait_close_event_first_run(t):
    """Waiting without a run id means the run that is current at first, not one that follows."""
    await t.start()
    await t.step(commands.again())
    event = await t.wait_closed()
    t.note("of the first", event.event_type)
    wait = t.background(t.wait_closed(""))
    await t.step(commands.done())
    t.note("of the current", (await wait).event_type)


@case
async def wait_new_event(t):
    """Following a history as it grows."""
    await t.start()
    request = {"namespace": "default", "execution": t.execution(), "wait_new_event": True}
    seen = []

    async def follow():
        while True:
            response = await t.call("GetWorkflowExecutionHistory", request, record=False)
            seen.extend(event.event_id for event in response.history.events)
            if not response.next_page_token:
                return
            request["next_page_token"] = base64.b64encode(response.next_page_token).decode()

    follower = t.background(follow())
    await t.step()
    await t.signal()
    await t.step(commands.timer(after="60s"), commands.done())
    await follower
    t.note("seen", seen)


@case
async def wait_new_event_closed(t):
    """Following the history of a run that has closed ends."""
    await t.start()
    await t.terminate()
    await _pages(t, "GetWorkflowExecutionHistory", wait_new_event=True)


@case
async def without_run_id(t):
    """The current run is meant."""
    await t.start()
    await t.call("GetWorkflowExecutionHistory", namespace="default", execution={"workflow_id": t.workflow_id})
    await t.call("GetWorkflowExecutionHistoryReverse", namespace="default", execution={"workflow_id": t.workflow_id})
    await t.terminate()


@case
async def transient_not_shown(t):
    """A transient task is in what the worker gets, and not in what others read."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    await t.poll()
    await t.history()
    await t.call("GetWorkflowExecutionHistoryReverse", namespace="default", execution=t.execution())
    await t.terminate()


async def _read_as(t, client):
    """What a client by that name reads while a transient task is with a worker."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    await t.poll(record=False)
    for wait in (False, True):
        await t.call(
            "GetWorkflowExecutionHistory",
            namespace="default",
            execution=t.execution(),
            wait_new_event=wait,
            metadata=(("client-name", client), ("client-version", "1.0.0")),
        )
    await t.terminate()


family(__name__, "transient_read_by_", {"cli": "temporal-cli", "ui": "temporal-ui", "go": "temporal-go"}, _read_as)


@case
async def long_for_worker(t):
    """A worker reads the pages that its task did not hold."""
    await t.start()
    await t.step(*(commands.marker(f"m{number}") for number in range(300)))
    await t.signal()
    task = await t.poll(record=False)
    t.note("events in the task", len(task.history.events))
    t.note("more", bool(task.next_page_token))
    token = task.next_page_token
    while token:
        response = await t.call(
            "GetWorkflowExecutionHistory",
            record=False,
            namespace="default",
            execution=t.execution(),
            next_page_token=base64.b64encode(token).decode(),
        )
        t.note("events", [event.event_id for event in response.history.events])
        token = response.next_page_token
    await t.terminate()


@case
async def bad_tokens(t):
    """Page tokens that are not the server's, or of another run."""
    await t.start()
    await t.step(commands.done())
    read = {"namespace": "default", "maximum_page_size": 1}
    page = await t.call("GetWorkflowExecutionHistory", read, record=False, execution=t.execution())
    token = base64.b64encode(page.next_page_token).decode()
    first = t.execution()
    await t.start()
    for method in ("GetWorkflowExecutionHistory", "GetWorkflowExecutionHistoryReverse"):
        await t.attempt(method, read, execution=t.execution(), next_page_token="Zm9v")
    await t.attempt("GetWorkflowExecutionHistory", read, execution=t.execution(), next_page_token=token)
    await t.attempt("GetWorkflowExecutionHistory", read, execution={"workflow_id": "unknown"}, next_page_token=token)
    # Where a page ends is the server's business: the last event tells that it was the right run's.
    request = {"namespace": "default", "execution": first, "next_page_token": token}
    page = await t.call("GetWorkflowExecutionHistory", request, record=False)
    t.note("last", page.history.events[-1].event_type)
    await t.terminate()
