"""Workflows on a cron schedule: when a run is due, what follows it, what it is told of the one before."""

from lib import commands
from lib.case import case, failure, family, payloads
from lib.follow import next_run

EVERY_SECOND = {"cron_schedule": "@every 1s", "input": payloads("in")}


async def _start_in_turn(t, **fields):
    """Starts a workflow that is due every second; its first task comes then."""
    await t.start(**{**EVERY_SECOND, **fields})


@case
async def waiting(t):
    """Before it is due, a run waits: described, signalled, terminated."""
    await t.start(cron_schedule="@every 1000h")
    await t.describe()
    await t.signal()
    await t.describe()
    await t.terminate()
    await t.wait_closed()


@case
async def completed(t):
    """Each run that completes is followed by the next, which gets its result."""
    await _start_in_turn(t)
    first = t.run_id
    task = await t.poll()
    await t.complete(task, commands.done("first"))
    await t.history(first)
    t.run_id = await next_run(t, first)
    await t.describe()
    await t.step(commands.done("second"))
    await t.history()
    t.run_id = await next_run(t, t.run_id)
    await t.poll()
    await t.terminate()
    await t.history()


@case
async def failed(t):
    """A run that fails is followed too: it gets the failure, and the result of the last that completed."""
    await _start_in_turn(t)
    await t.step(commands.done("good"))
    t.run_id = await next_run(t, t.run_id)
    await t.step(commands.fail())
    await t.history()
    t.run_id = await next_run(t, t.run_id)
    await t.poll()
    await t.terminate()


@case
async def retried(t):
    """Retries come first; after the last one the schedule goes on."""
    await _start_in_turn(
        t, retry_policy={"initial_interval": "1s", "backoff_coefficient": 1, "maximum_attempts": 2}
    )
    for text in ("once", "twice"):
        await t.step(commands.fail(failure=failure(text)))
        await t.history()
        t.run_id = await next_run(t, t.run_id)
    await t.poll()
    await t.terminate()


@case
async def timed_out(t):
    """A run that times out is followed by the next."""
    await _start_in_turn(t, workflow_run_timeout="3s")
    first = t.run_id
    await t.poll(record=False)
    t.run_id = await next_run(t, first)
    await t.history(first)
    await t.poll()
    await t.terminate()


@case
async def execution_timeout(t):
    """The execution timeout ends the schedule."""
    await _start_in_turn(t, workflow_execution_timeout="2s")
    first = t.run_id
    await t.poll(record=False)
    t.note("next run", await next_run(t, first))
    await t.history(first)


@case
async def canceled(t):
    """A run that is cancelled is the last."""
    await _start_in_turn(t)
    task = await t.poll(record=False)
    await t.cancel()
    await t.complete(task)
    await t.step(commands.canceled())
    t.note("next run", await next_run(t, t.run_id))
    await t.history()


@case
async def canceled_while_waiting(t):
    """A cancel request does not wait until the run is due."""
    await t.start(cron_schedule="@every 1000h")
    await t.cancel()
    await t.step(commands.canceled())
    await t.history()


@case
async def terminated(t):
    """A run that is terminated is the last."""
    await _start_in_turn(t)
    await t.poll(record=False)
    await t.terminate()
    t.note("next run", await next_run(t, t.run_id))


@case
async def continue_as_new(t):
    """What continues as new keeps no schedule but the command's."""
    await _start_in_turn(t)
    await t.step(commands.again())
    t.run_id = await next_run(t, t.run_id)
    await t.step(commands.again(cron_schedule="@every 1s"))
    await t.history()
    t.run_id = await next_run(t, t.run_id)
    await t.step(commands.done())
    await t.history()
    t.run_id = await next_run(t, t.run_id)
    await t.poll()
    await t.terminate()


async def _due(t, schedule):
    """The minute in which a schedule's first run is due."""
    await t.start(cron_schedule=schedule)
    described = await t.call("DescribeWorkflowExecution", namespace="default", execution=t.execution(), record=False)
    due = described.workflow_execution_info.execution_time.seconds
    t.note("due", due - due % 60)
    await t.terminate()


family(
    __name__,
    "due_",
    {
        "daily": "@daily",
        "yearly": "@yearly",
        "new_york": "CRON_TZ=America/New_York 30 8 * * *",
        "sydney": "TZ=Australia/Sydney 0 9 1 * ?",
        "leap_day": "15 10 29 2 *",
        "weekday_or_day": "0 12 13 * FRI",
        "list": "7,37 3-5,22 */10 jan-Dec/2 *",
        "every": "@every 100h",
    },
    _due,
)


async def _bad(t, schedule):
    """A schedule that is none."""
    await t.attempt("StartWorkflowExecution", t.start_request(cron_schedule=schedule))


family(
    __name__,
    "bad_",
    {
        "fields": "* * * *",
        "seconds": "0 * * * * *",
        "minute": "60 * * * *",
        "weekday": "* * * * 7",
        "step": "*/0 * * * *",
        "never": "0 0 30 2 *",
        "descriptor": "@often",
        "every": "@every day",
        "zone": "CRON_TZ=Middle/Earth * * * * *",
    },
    _bad,
)
