"""Activities that time out, in all four ways, retried and not."""

from lib import commands
from lib.case import case, token

ONCE = {"maximum_attempts": 1}
QUICK = {"initial_interval": "0.1s", "backoff_coefficient": 1, "maximum_attempts": 3}


@case
async def schedule_to_start(t):
    """Nobody takes it: schedule-to-start, which is not retried."""
    await t.start()
    await t.step(commands.activity(schedule_to_start_timeout="1s", retry_policy=QUICK))
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def schedule_to_close_unstarted(t):
    """Nobody takes it: schedule-to-close."""
    await t.start()
    await t.step(commands.activity(schedule_to_close_timeout="1s"))
    await t.step(commands.done())
    await t.history()


@case
async def schedule_to_close_started(t):
    """Its worker is silent: schedule-to-close."""
    await t.start()
    await t.step(commands.activity(schedule_to_close_timeout="1s", start_to_close_timeout="1s"))
    await t.poll_activity(record=False)
    await t.step(commands.done())
    await t.history()


@case
async def schedule_to_close_retrying(t):
    """Its second attempt is with a worker when schedule-to-close strikes."""
    await t.start()
    await t.step(
        commands.activity(
            schedule_to_close_timeout="4s", retry_policy={"initial_interval": "0.2s", "backoff_coefficient": 1}
        )
    )
    await t.fail_activity(await t.poll_activity(record=False), "first")
    second = await t.poll_activity()
    await t.step(commands.done())
    await t.history()
    await t.attempt("RespondActivityTaskCompleted", namespace="default", task_token=token(second))


@case
async def start_to_close(t):
    """Its worker is silent: start-to-close, one attempt."""
    await t.start()
    await t.step(commands.activity(start_to_close_timeout="1s", retry_policy=ONCE))
    task = await t.poll_activity(record=False)
    await t.step(commands.done())
    await t.history()
    await t.attempt("RespondActivityTaskCompleted", namespace="default", task_token=token(task))


@case
async def start_to_close_retried(t):
    """Its worker is silent: start-to-close, and the next attempt knows why."""
    await t.start()
    await t.step(
        commands.activity(start_to_close_timeout="1s", retry_policy={"initial_interval": "0.1s", "maximum_attempts": 2})
    )
    first = await t.poll_activity()
    second = await t.poll_activity()
    await t.describe()
    await t.attempt("RespondActivityTaskCompleted", namespace="default", task_token=token(first))
    await t.complete_activity(second)
    await t.step(commands.done())
    await t.history()


@case
async def heartbeat(t):
    """Its worker does not heartbeat: heartbeat timeout, one attempt."""
    await t.start()
    await t.step(commands.activity(heartbeat_timeout="1s", retry_policy=ONCE))
    await t.poll_activity(record=False)
    await t.step(commands.done())
    await t.history()


@case
async def heartbeat_details(t):
    """A heartbeat, then silence: the time-out has the last details."""
    await t.start()
    await t.step(commands.activity(heartbeat_timeout="1s", retry_policy=ONCE))
    task = await t.poll_activity(record=False)
    await t.heartbeat(task, "last words")
    await t.step(commands.done())
    await t.history()


@case
async def heartbeat_retried(t):
    """A heartbeat, then silence: the next attempt gets the details."""
    await t.start()
    await t.step(
        commands.activity(heartbeat_timeout="1s", retry_policy={"initial_interval": "0.1s", "maximum_attempts": 2})
    )
    task = await t.poll_activity()
    await t.heartbeat(task, "last words")
    await t.describe()
    second = await t.poll_activity()
    await t.describe()
    await t.complete_activity(second)
    await t.step(commands.done())
    await t.history()


@case
async def start_to_close_details(t):
    """Start-to-close after a heartbeat: the time-out has the last details."""
    await t.start()
    await t.step(commands.activity(start_to_close_timeout="1s", heartbeat_timeout="30s", retry_policy=ONCE))
    await t.heartbeat(await t.poll_activity(record=False), "last words")
    await t.step(commands.done())
    await t.history()
