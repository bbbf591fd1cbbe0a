"""Timers."""

from lib import commands
from lib.case import case


@case
async def fired(t):
    """A timer fires."""
    await t.start()
    await t.step(commands.timer("t", "1s"))
    await t.history()
    await t.describe()
    await t.step(commands.done())
    await t.history()


@case
async def canceled(t):
    """A timer is canceled."""
    await t.start()
    await t.step(commands.timer("t", "60s"))
    await t.signal()
    await t.step(commands.cancel_timer("t"))
    await t.history()
    await t.terminate()


@case
async def canceled_in_same_answer(t):
    """Started and canceled in one answer."""
    await t.start()
    await t.step(commands.timer("t", "60s"), commands.cancel_timer("t"), commands.timer("t", "60s"))
    await t.history()
    await t.terminate()


@case
async def fired_while_task_started(t):
    """Fires while a workflow task is with a worker: written behind its answer."""
    await t.start()
    await t.step(commands.timer("t", "1s"), commands.activity("a", schedule_to_start_timeout="1.5s"))
    await t.signal()
    task = await t.poll(record=False)
    await t.wait_described(lambda answer: not answer.pending_activities, "the activity's time-out, after the timer")
    await t.history()
    await t.complete(task, commands.marker())
    await t.step(commands.done())
    await t.history()


@case
async def canceled_after_fire_buffered(t):
    """Canceled by a worker that has not seen that it fired: the fire is taken back."""
    await t.start()
    await t.step(commands.timer("t", "1s"), commands.activity("a", schedule_to_start_timeout="1.5s"))
    await t.signal()
    task = await t.poll(record=False)
    await t.wait_described(lambda answer: not answer.pending_activities, "the activity's time-out")
    await t.complete(task, commands.cancel_timer("t"))
    await t.step(commands.done())
    await t.history()


@case
async def two_at_once(t):
    """Two timers due together, and one later."""
    await t.start()
    await t.step(commands.timer("later", "60s"), commands.timer("one", "1s"), commands.timer("two", "1s"))
    task = await t.poll()
    await t.complete(task)
    await t.wait_history(lambda events: sum(1 for e in events if e.event_type == 18) == 2, "two timers to fire")
    await t.terminate()
    answer = await t.wait_history(lambda events: True, "the history")
    t.note("fired", [e.timer_fired_event_attributes.timer_id for e in answer.history.events if e.event_type == 18])


@case
async def id_again(t):
    """An id may be used again when its timer has fired."""
    await t.start()
    await t.step(commands.timer("t", "1s"))
    await t.step(commands.timer("t", "1s"))
    await t.step(commands.done())
    await t.history()


@case
async def workflow_closes(t):
    """The workflow ends while a timer runs: the timer leaves no trace."""
    await t.start()
    await t.step(commands.timer("t", "1s"), commands.done())
    await t.history()


@case
async def fractional(t):
    """Less than a second."""
    await t.start()
    await t.step(commands.timer("t", "0.25s"))
    await t.step(commands.done())
    await t.history()


@case
async def zero(t):
    """No time at all: fires at once."""
    await t.start()
    await t.step(commands.timer("zero", "0s"))
    task = await t.poll()
    await t.complete(
        task, {"command_type": "COMMAND_TYPE_START_TIMER", "start_timer_command_attributes": {"timer_id": "none"}}
    )
    await t.step(commands.done())
    await t.history()
