"""Activities that are canceled: unstarted, running, between attempts."""

from lib import commands
from lib.case import case, failure, payloads, token

QUICK = {"initial_interval": "0.1s", "backoff_coefficient": 1, "maximum_attempts": 3}


@case
async def unstarted(t):
    """Cancel before a worker took it: canceled at once, with its request."""
    await t.start()
    await t.step(commands.activity())
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def in_same_answer(t):
    """Scheduled and canceled in one answer."""
    await t.start()
    await t.step(commands.activity(), commands.cancel_activity(5))
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def started(t):
    """Cancel while it runs: the heartbeat says so, and the worker answers that it canceled."""
    await t.start()
    await t.step(commands.activity(heartbeat_timeout="10s"))
    task = await t.poll_activity(record=False)
    await t.heartbeat(task, 1)
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.describe()
    await t.heartbeat(task, 2)
    await t.cancel_activity(task)
    await t.step(commands.done())
    await t.history()


@case
async def started_completes(t):
    """Cancel while it runs, and the worker completes it nevertheless."""
    await t.start()
    await t.step(commands.activity())
    task = await t.poll_activity(record=False)
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.complete_activity(task)
    await t.step(commands.done())
    await t.history()


@case
async def started_fails(t):
    """Cancel while it runs, and the worker fails it: no retry any more."""
    await t.start()
    await t.step(commands.activity(retry_policy=QUICK))
    task = await t.poll_activity(record=False)
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.fail_activity(task)
    await t.step(commands.done())
    await t.history()


@case
async def started_times_out(t):
    """Cancel while it runs, and its worker stays silent."""
    await t.start()
    await t.step(commands.activity(start_to_close_timeout="3s", retry_policy=QUICK))
    await t.poll_activity(record=False)
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.step(commands.done())
    await t.history()


@case
async def started_completes_workflow(t):
    """The workflow ends in the same answer that asks for the cancel: what the activity hears."""
    await t.start()
    await t.step(commands.activity())
    task = await t.poll_activity(record=False)
    await t.signal()
    await t.step(commands.cancel_activity(5), commands.done())
    await t.history()
    await t.attempt("RecordActivityTaskHeartbeat", namespace="default", task_token=token(task))
    await t.attempt("RespondActivityTaskCompleted", namespace="default", task_token=token(task))
    await t.attempt("RespondActivityTaskFailed", namespace="default", task_token=token(task), failure=failure("late"))
    await t.attempt("RespondActivityTaskCanceled", namespace="default", task_token=token(task))


@case
async def backing_off(t):
    """Cancel while a retry waits."""
    await t.start()
    await t.step(commands.activity(retry_policy={"initial_interval": "30s"}))
    await t.fail_activity(await t.poll_activity(record=False), "first")
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.step(commands.done())
    await t.history()


@case
async def heartbeat_details(t):
    """A retry that waits is canceled: what it heartbeat stays with the event."""
    await t.start()
    await t.step(commands.activity(heartbeat_timeout="30s", retry_policy={"initial_interval": "30s"}))
    task = await t.poll_activity(record=False)
    await t.heartbeat(task, "beat")
    await t.fail_activity(task, "first")
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.history()
    await t.terminate()


@case
async def unasked(t):
    """A worker answers 'canceled' though nobody asked for it."""
    await t.start()
    await t.step(commands.activity(retry_policy=QUICK))
    task = await t.poll_activity(record=False)
    await t.attempt("RespondActivityTaskCanceled", namespace="default", task_token=token(task), details=payloads("x"))
    await t.history()
    await t.terminate()
