"""Activities: schedule, start, complete, fail and retry, heartbeat, answer by id."""

from lib import commands
from lib.case import case, failure, payload, payloads, token

ONCE = {"maximum_attempts": 1}
QUICK = {"initial_interval": "0.1s", "backoff_coefficient": 1, "maximum_attempts": 3}


@case
async def complete(t):
    """Scheduled, started, completed; described on the way."""
    await t.start()
    await t.step(commands.activity())
    await t.history()
    await t.describe()
    task = await t.poll_activity()
    await t.describe()
    await t.history()
    await t.complete_activity(task)
    await t.history()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def complete_bare(t):
    """No identity, no result, no input."""
    await t.start()
    await t.step(commands.activity(input=None))
    task = await t.poll_activity(identity="")
    await t.call("RespondActivityTaskCompleted", namespace="default", task_token=token(task))
    await t.step(commands.done())
    await t.history()


@case
async def everything(t):
    """All fields of the command, and what the worker is given."""
    await t.start(workflow_run_timeout="100s")
    await t.step(
        commands.activity(
            header={"fields": {"head": payload("er")}},
            schedule_to_close_timeout="50s",
            schedule_to_start_timeout="40s",
            start_to_close_timeout="30s",
            heartbeat_timeout="20s",
            retry_policy={
                "initial_interval": "2s",
                "backoff_coefficient": 1.5,
                "maximum_interval": "7s",
                "maximum_attempts": 6,
                "non_retryable_error_types": ["Fatal"],
            },
            priority={"priority_key": 4},
        )
    )
    await t.describe()
    await t.poll_activity()
    await t.describe()
    await t.history()
    await t.terminate()


@case
async def timeouts_from_schedule_to_close(t):
    """Only schedule-to-close is given; no retry policy: the defaults, in the event."""
    await t.start()
    await t.step(commands.activity("a", schedule_to_close_timeout="30s"))
    await t.poll_activity()
    await t.history()
    await t.terminate()


@case
async def timeouts_from_start_to_close(t):
    """Only start-to-close is given."""
    await t.start()
    await t.step(commands.activity("a", schedule_to_close_timeout=None, start_to_close_timeout="30s"))
    await t.poll_activity()
    await t.history()
    await t.terminate()


@case
async def timeouts_start_to_close_in_run(t):
    """Only start-to-close is given, and the run has a timeout that is shorter."""
    await t.start(workflow_run_timeout="20s")
    await t.step(
        commands.activity("a", schedule_to_close_timeout=None, start_to_close_timeout="30s", heartbeat_timeout="40s")
    )
    await t.poll_activity()
    await t.history()
    await t.terminate()


@case
async def timeouts_longer_than_schedule_to_close(t):
    """Timeouts longer than schedule-to-close are cut to it."""
    await t.start()
    await t.step(
        commands.activity(
            schedule_to_close_timeout="5s",
            schedule_to_start_timeout="10s",
            start_to_close_timeout="20s",
            heartbeat_timeout="30s",
        )
    )
    await t.poll_activity()
    await t.history()
    await t.terminate()


@case
async def empty_retry_policy(t):
    """An empty retry policy gets the defaults."""
    await t.start()
    await t.step(commands.activity(retry_policy={}))
    await t.history()
    await t.terminate()


@case
async def fail_once(t):
    """A failure with one attempt allowed."""
    await t.start()
    await t.step(commands.activity(retry_policy=ONCE))
    await t.fail_activity(await t.poll_activity())
    await t.step(commands.done())
    await t.history()


@case
async def fail_retried(t):
    """Fails until no attempt is left; described between attempts."""
    await t.start()
    await t.step(commands.activity(retry_policy=QUICK))
    await t.fail_activity(await t.poll_activity(), "first")
    second = await t.poll_activity()
    await t.describe()
    await t.fail_activity(second, "second")
    await t.fail_activity(await t.poll_activity(), "third")
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def fail_then_complete(t):
    """Fails once and then completes: the started event has the last failure."""
    await t.start()
    await t.step(commands.activity(retry_policy=QUICK))
    await t.fail_activity(await t.poll_activity(), "first")
    await t.complete_activity(await t.poll_activity())
    await t.step(commands.done())
    await t.history()


@case
async def fail_backing_off(t):
    """Described while the retry waits."""
    await t.start()
    await t.step(commands.activity(retry_policy={"initial_interval": "30s", "backoff_coefficient": 2}))
    await t.fail_activity(await t.poll_activity(), "first")
    await t.describe()
    await t.history()
    await t.terminate()
    await t.history()


@case
async def fail_non_retryable(t):
    """A failure that says so is not retried."""
    await t.start()
    await t.step(commands.activity(retry_policy=QUICK))
    await t.fail_activity(await t.poll_activity(), failure=failure("fatal", non_retryable=True))
    await t.step(commands.done())
    await t.history()


@case
async def fail_non_retryable_type(t):
    """A failure whose type the policy lists is not retried."""
    await t.start()
    await t.step(commands.activity(retry_policy={**QUICK, "non_retryable_error_types": ["Fatal"]}))
    await t.fail_activity(await t.poll_activity(), failure=failure("fatal", kind="Fatal"))
    await t.step(commands.done())
    await t.history()


@case
async def fail_other_kind(t):
    """Failures that are not an application's are refused."""
    await t.start()
    await t.step(commands.activity(retry_policy=QUICK))
    task = await t.poll_activity(record=False)
    for kind in (
        {"server_failure_info": {"non_retryable": True}},
        {"timeout_failure_info": {"timeout_type": "TIMEOUT_TYPE_START_TO_CLOSE"}},
        {"terminated_failure_info": {}},
        {"canceled_failure_info": {}},
        {},
    ):
        await t.attempt(
            "RespondActivityTaskFailed", namespace="default", task_token=token(task), failure={"message": "odd", **kind}
        )
    await t.describe()
    await t.history()
    await t.terminate()


@case
async def fail_no_failure(t):
    """A failure without a failure."""
    await t.start()
    await t.step(commands.activity(retry_policy=ONCE))
    task = await t.poll_activity()
    await t.attempt("RespondActivityTaskFailed", namespace="default", task_token=token(task))
    await t.history()
    await t.terminate()


@case
async def fail_next_retry_delay(t):
    """The failure sets the time to the next attempt itself."""
    await t.start()
    await t.step(commands.activity(retry_policy={"initial_interval": "30s"}))
    await t.fail_activity(await t.poll_activity(), failure=failure("soon", next_retry_delay="1s"))
    await t.describe()
    await t.poll_activity()
    await t.terminate()


@case
async def fail_next_retry_delay_too_long(t):
    """The failure sets a time that schedule-to-close does not allow."""
    await t.start()
    await t.step(commands.activity(schedule_to_close_timeout="5s"))
    await t.fail_activity(await t.poll_activity(), failure=failure("late", next_retry_delay="30s"))
    await t.step(commands.done())
    await t.history()


@case
async def fail_no_time_for_retry(t):
    """The next attempt would begin beyond schedule-to-close: no more retries."""
    await t.start()
    await t.step(commands.activity(schedule_to_close_timeout="5s", retry_policy={"initial_interval": "30s"}))
    await t.fail_activity(await t.poll_activity())
    await t.step(commands.done())
    await t.history()


@case
async def fail_last_heartbeat_details(t):
    """A failure brings heartbeat details, which the next attempt gets."""
    await t.start()
    await t.step(commands.activity(retry_policy=QUICK))
    await t.fail_activity(await t.poll_activity(), last_heartbeat_details=payloads("with failure"))
    await t.poll_activity()
    await t.describe()
    await t.terminate()


@case
async def heartbeat(t):
    """Heartbeats keep it alive; details are described."""
    await t.start()
    await t.step(commands.activity(heartbeat_timeout="10s"))
    task = await t.poll_activity()
    await t.heartbeat(task, 1)
    await t.heartbeat(task, 2)
    await t.describe()
    await t.complete_activity(task)
    await t.attempt("RecordActivityTaskHeartbeat", namespace="default", task_token=token(task))
    await t.step(commands.done())
    await t.history()


@case
async def complete_while_task_started(t):
    """The activity ends while a workflow task is with a worker: its events wait for the task."""
    await t.start()
    await t.step(commands.activity())
    await t.signal()
    workflow_task = await t.poll(record=False)
    await t.complete_activity(await t.poll_activity(record=False))
    await t.history()
    await t.complete(workflow_task)
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def buffered_in_order(t):
    """Signals and two activities that end while a workflow task is out: the order in which they are written."""
    await t.start()
    await t.step(commands.activity("a"), commands.activity("b"))
    await t.signal(value=0)
    workflow_task = await t.poll(record=False)
    first = await t.poll_activity(record=False)
    second = await t.poll_activity(record=False)
    by_id = {task.activity_id: task for task in (first, second)}
    await t.complete_activity(by_id["b"])
    await t.signal(value=1)
    await t.complete_activity(by_id["a"])
    await t.signal(value=2)
    await t.complete(workflow_task, commands.timer(after="60s"), commands.activity("c"))
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def by_id(t):
    """Heartbeat and completion by workflow and activity id, as for asynchronous completion."""
    await t.start()
    await t.step(commands.activity(heartbeat_timeout="30s"))
    await t.poll_activity(record=False)
    target = {"namespace": "default", "workflow_id": t.workflow_id, "activity_id": "a", "identity": "async"}
    await t.call("RecordActivityTaskHeartbeatById", target, details=payloads("beat"))
    await t.describe()
    await t.call("RespondActivityTaskCompletedById", target, run_id=t.run_id, result=payloads("done"))
    await t.attempt("RespondActivityTaskCompletedById", target, result=payloads("again"))
    await t.step(commands.done())
    await t.history()


@case
async def by_id_unstarted(t):
    """Answers by id before a worker took it."""
    await t.start()
    await t.step(commands.activity())
    target = {"namespace": "default", "workflow_id": t.workflow_id, "activity_id": "a", "identity": "async"}
    await t.attempt("RecordActivityTaskHeartbeatById", target)
    await t.attempt("RespondActivityTaskFailedById", target, failure=failure("early"))
    await t.attempt("RespondActivityTaskCanceledById", target)
    await t.attempt("RespondActivityTaskCompletedById", target, result=payloads("early"))
    await t.history()
    await t.terminate()


@case
async def by_id_fail(t):
    """Failure by id, retried, then failed."""
    await t.start()
    await t.step(commands.activity(retry_policy={"initial_interval": "0.1s", "maximum_attempts": 2}))
    target = {"namespace": "default", "workflow_id": t.workflow_id, "activity_id": "a", "identity": "async"}
    await t.poll_activity(record=False)
    await t.call("RespondActivityTaskFailedById", target, failure=failure("first"))
    await t.poll_activity(record=False)
    await t.describe()
    await t.call("RespondActivityTaskFailedById", target, failure=failure("second"))
    await t.step(commands.done())
    await t.history()


@case
async def by_id_cancel(t):
    """Cancel by id."""
    await t.start()
    await t.step(commands.activity())
    target = {"namespace": "default", "workflow_id": t.workflow_id, "activity_id": "a", "identity": "async"}
    await t.poll_activity(record=False)
    await t.signal()
    await t.step(commands.cancel_activity(5))
    await t.call("RecordActivityTaskHeartbeatById", target)
    await t.call("RespondActivityTaskCanceledById", target, details=payloads("stopped"))
    await t.step(commands.done())
    await t.history()


@case
async def many(t):
    """Ten activities of one answer, completed in reverse."""
    await t.start()
    await t.step(*(commands.activity(f"a{number}") for number in range(10)))
    tasks = [await t.poll_activity(record=False) for _ in range(10)]
    workflow_task = None
    for task in sorted(tasks, key=lambda task: task.activity_id, reverse=True):
        await t.complete_activity(task, task.activity_id)
        workflow_task = workflow_task or await t.poll(record=False)
    await t.complete(workflow_task)
    await t.step(commands.done())
    await t.history()


@case
async def workflow_closes(t):
    """The workflow ends while an activity runs and another waits."""
    await t.start()
    await t.step(commands.activity("a"))
    running = await t.poll_activity(record=False)
    await t.signal()
    await t.step(commands.activity("b"), commands.done())
    await t.describe()
    await t.history()
    await t.attempt("RecordActivityTaskHeartbeat", namespace="default", task_token=token(running))
    await t.attempt("RespondActivityTaskCompleted", namespace="default", task_token=token(running))
