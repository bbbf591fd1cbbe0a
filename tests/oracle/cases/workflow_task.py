"""Workflow tasks: completing, failing, timing out, attempts, heartbeats, sticky queues."""

from lib import commands
from lib.case import case, payload, payloads, token


@case
async def no_commands(t):
    """A task answered with no commands leaves the run waiting."""
    await t.start()
    await t.step()
    await t.history()
    await t.describe()
    await t.terminate()
    await t.history()


@case
async def failed(t):
    """RespondWorkflowTaskFailed: one failed event, then transient attempts that write nothing until one succeeds."""
    await t.start()
    await t.fail_task(await t.poll())
    await t.history()
    await t.describe()
    second = await t.poll()
    await t.describe()
    await t.history()
    await t.fail_task(second)
    await t.history()
    await t.describe()
    third = await t.poll()
    await t.complete(third, commands.done())
    await t.history()


@case
async def failed_without_details(t):
    """RespondWorkflowTaskFailed with nothing but the token."""
    await t.start()
    await t.fail_task(
        await t.poll(record=False), failure=None, identity="", cause="WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED"
    )
    await t.history()
    await t.terminate()


@case
async def failed_with_messages(t):
    """Every cause that a worker reports."""
    for cause in ("NON_DETERMINISTIC_ERROR", "WORKFLOW_WORKER_UNHANDLED_FAILURE", "GRPC_MESSAGE_TOO_LARGE"):
        t.workflow_id = f"{t.name}-{cause}-{t.nonce}"
        await t.start()
        await t.fail_task(await t.poll(record=False), cause=f"WORKFLOW_TASK_FAILED_CAUSE_{cause}")
        await t.history()
        await t.attempt("TerminateWorkflowExecution", namespace="default", workflow_execution=t.execution())


@case
async def failed_grpc_message_too_large_query(t):
    """A task that fails as too large and the run afterwards."""
    await t.start()
    await t.fail_task(
        await t.poll(record=False),
        cause="WORKFLOW_TASK_FAILED_CAUSE_PAYLOADS_TOO_LARGE",
        worker_version={"build_id": "b1"},
    )
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def failed_then_signal(t):
    """A signal while the second, transient attempt waits: the attempt is scheduled anew, behind the signal."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    await t.signal(value=1)
    await t.history()
    await t.describe()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def failed_then_signal_during_second(t):
    """A signal while a transient attempt is with a worker, which then completes."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    second = await t.poll()
    await t.signal(value=1)
    await t.history()
    await t.complete(second)
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def failed_then_signal_then_failed(t):
    """A signal while a transient attempt is with a worker, which then fails as well."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    second = await t.poll(record=False)
    await t.signal(value=1)
    await t.fail_task(second)
    await t.history()
    await t.describe()
    third = await t.poll()
    await t.complete(third, commands.done())
    await t.history()


@case
async def failed_terminate(t):
    """Terminated while a transient attempt is with a worker."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    await t.poll(record=False)
    await t.terminate()
    await t.history()


@case
async def failed_terminate_scheduled(t):
    """Terminated while a transient attempt waits for a worker."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    await t.terminate()
    await t.history()


@case
async def timed_out(t):
    """A worker that does not answer: timed out, and the next attempt is transient."""
    await t.start(workflow_task_timeout="1s")
    await t.poll()
    await t.wait_event("WORKFLOW_TASK_TIMED_OUT")
    await t.history()
    second = await t.poll()
    await t.complete(second, commands.done())
    await t.history()


@case
async def timed_out_twice(t):
    """Two workers in a row that do not answer: only the first time-out is in the history until a task completes."""
    await t.start(workflow_task_timeout="1s")
    first = await t.poll(record=False)
    second = await t.poll()
    third = await t.poll()
    await t.history()
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", task_token=token(first), commands=[commands.done()]
    )
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", task_token=token(second), commands=[commands.done()]
    )
    await t.complete(third, commands.done())
    await t.history()


@case
async def timed_out_with_signal(t):
    """A signal that came while the task was out is written behind the time-out."""
    await t.start(workflow_task_timeout="1s")
    await t.poll(record=False)
    await t.signal(value=1)
    await t.wait_event("WORKFLOW_TASK_TIMED_OUT")
    await t.history()
    await t.step(commands.done())
    await t.history()


@case
async def late_answer(t):
    """Answers to a task that another attempt has replaced."""
    await t.start(workflow_task_timeout="1s")
    late = await t.poll(record=False)
    await t.wait_event("WORKFLOW_TASK_TIMED_OUT")
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", task_token=token(late), commands=[commands.done()]
    )
    await t.attempt("RespondWorkflowTaskFailed", namespace="default", task_token=token(late))
    await t.terminate()


@case
async def answered_twice(t):
    """The same answer twice, to an open run and to one that it closed."""
    await t.start()
    task = await t.poll(record=False)
    await t.complete(task)
    await t.attempt("RespondWorkflowTaskCompleted", namespace="default", task_token=token(task))
    await t.attempt("RespondWorkflowTaskFailed", namespace="default", task_token=token(task))
    await t.signal()
    task = await t.step(commands.done())
    await t.attempt("RespondWorkflowTaskCompleted", namespace="default", task_token=token(task))
    await t.attempt("RespondWorkflowTaskFailed", namespace="default", task_token=token(task))


@case
async def unhandled_command(t):
    """A completion while a signal is buffered: the task fails with UNHANDLED_COMMAND and the next sees the signal."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value="unseen")
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", task_token=token(task), commands=[commands.done()]
    )
    await t.history()
    await t.describe()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def unhandled_command_fail(t):
    """Failing the workflow while a signal is buffered."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value="unseen")
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", task_token=token(task), commands=[commands.fail()]
    )
    await t.history()
    await t.step(commands.fail())
    await t.history()


@case
async def unhandled_command_continue_as_new(t):
    """Continuing as new while a signal is buffered."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value="unseen")
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", task_token=token(task), commands=[commands.again()]
    )
    await t.history()
    await t.terminate()


@case
async def unhandled_command_cancel(t):
    """Closing as canceled while a signal is buffered."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value="unseen")
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", task_token=token(task), commands=[commands.canceled()]
    )
    await t.history()
    await t.terminate()


@case
async def unhandled_command_with_others(t):
    """A timer and a completion in one answer while a signal is buffered: none of it happens."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value="unseen")
    await t.attempt(
        "RespondWorkflowTaskCompleted",
        namespace="default",
        task_token=token(task),
        commands=[commands.timer(), commands.marker(), commands.done()],
    )
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def commands_after_close(t):
    """Commands behind the one that closes the run."""
    await t.start()
    task = await t.poll(record=False)
    await t.attempt(
        "RespondWorkflowTaskCompleted",
        namespace="default",
        task_token=token(task),
        commands=[commands.done(), commands.timer(), commands.done("again")],
    )
    await t.history()


@case
async def return_new_task(t):
    """return_new_workflow_task hands the next task out in the answer, when there is one."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value="meanwhile")
    response = await t.complete(task, commands.marker(), return_new_workflow_task=True)
    await t.history()
    await t.complete(response.workflow_task, commands.done(), return_new_workflow_task=True)
    await t.history()


@case
async def return_new_task_none(t):
    """return_new_workflow_task when nothing else is to be done."""
    await t.start()
    await t.step(commands.timer(after="60s"), return_new_workflow_task=True)
    await t.history()
    await t.terminate()


@case
async def heartbeat(t):
    """force_create_new_workflow_task: a new task at once, whose first attempt is not transient."""
    await t.start()
    task = await t.poll()
    await t.complete(task, force_create_new_workflow_task=True)
    await t.history()
    await t.describe()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def heartbeat_returned(t):
    """A heartbeat with the new task in the answer, as workers with local activities do it, then completion."""
    await t.start()
    task = await t.poll(record=False)
    for number in range(2):
        answer = await t.complete(
            task, commands.marker(f"m{number}"), return_new_workflow_task=True, force_create_new_workflow_task=True
        )
        task = answer.workflow_task
    await t.signal()
    await t.complete(task, commands.timer(after="60s"), return_new_workflow_task=True)
    await t.history()
    await t.describe()
    await t.terminate()


STICKY_S = "5s"


def _sticky(t, schedule_to_start=STICKY_S):
    return {
        "worker_task_queue": {
            "name": f"sticky-{t.nonce}",
            "kind": "TASK_QUEUE_KIND_STICKY",
            "normal_name": t.task_queue,
        },
        "schedule_to_start_timeout": schedule_to_start,
    }


def _sticky_queue(t):
    return _sticky(t)["worker_task_queue"]


async def _sticky_worker(t, **fields):
    """A poll of the worker's own queue that the server knows of before anything is sent there."""
    poll = t.background(t.poll(task_queue=_sticky_queue(t), identity="sticky worker", **fields))
    request = {"namespace": "default", "task_queue": _sticky_queue(t), "task_queue_type": "TASK_QUEUE_TYPE_WORKFLOW"}
    await t.wait("DescribeTaskQueue", request, lambda answer: answer.pollers, "the sticky poll to arrive")
    return poll


@case
async def sticky(t):
    """A task on the worker's own queue brings only the new part of the history."""
    await t.start()
    await t.step(commands.timer(after="60s"), sticky_attributes=_sticky(t))
    await t.describe()
    poll = await _sticky_worker(t)
    await t.signal(value=1)
    task = await poll
    await t.describe()
    poll = await _sticky_worker(t)
    await t.complete(task, commands.marker(), sticky_attributes=_sticky(t))
    await t.signal(value=2)
    await t.complete(await poll, commands.done())
    await t.history()
    await t.describe()


@case
async def sticky_without_worker(t):
    """Nobody polls the sticky queue: the task goes to the normal queue at once."""
    await t.start()
    await t.step(sticky_attributes=_sticky(t))
    await t.signal(value=1)
    await t.history()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def sticky_not_taken(t):
    """The sticky worker takes its next task in time only once: schedule-to-start, then the normal queue."""
    await t.start()
    await t.step(sticky_attributes=_sticky(t))
    poll = await _sticky_worker(t, record=False)
    await t.signal(value=1)
    await t.complete(await poll, sticky_attributes=_sticky(t, "1s"))
    await t.signal(value=2)
    await t.history()
    await t.describe()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def sticky_cleared(t):
    """An answer without sticky attributes sends the next task to the normal queue, with the whole history."""
    await t.start()
    await t.step(sticky_attributes=_sticky(t))
    poll = await _sticky_worker(t, record=False)
    await t.signal(value=1)
    await t.complete(await poll)
    await t.describe()
    await t.signal(value=2)
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def sticky_reset(t):
    """ResetStickyTaskQueue sends the next task to the normal queue."""
    await t.start()
    await t.step(sticky_attributes=_sticky(t))
    await t.call("ResetStickyTaskQueue", namespace="default", execution=t.execution())
    await t.describe()
    await t.signal(value=1)
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def sticky_task_failed(t):
    """A failed task clears the stickiness."""
    await t.start()
    await t.step(sticky_attributes=_sticky(t))
    poll = await _sticky_worker(t, record=False)
    await t.signal(value=1)
    await t.fail_task(await poll)
    await t.history()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def sticky_task_timed_out(t):
    """A task that times out with the sticky worker goes to the normal queue."""
    await t.start(workflow_task_timeout="1s")
    await t.step(sticky_attributes=_sticky(t))
    poll = await _sticky_worker(t, record=False)
    await t.signal(value=1)
    await poll
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def sticky_return_new_task(t):
    """A new task returned in the answer to a sticky worker has the history since its last task."""
    await t.start()
    task = await t.poll(record=False)
    await t.signal(value=1)
    response = await t.complete(task, commands.marker(), sticky_attributes=_sticky(t), return_new_workflow_task=True)
    await t.complete(response.workflow_task, commands.done())
    await t.history()


@case
async def metadata(t):
    """What a worker says about itself and its SDK with an answer is in the completed event."""
    await t.start()
    await t.step(
        commands.done(),
        sdk_metadata={"core_used_flags": [1, 2], "lang_used_flags": [3], "sdk_name": "oracle", "sdk_version": "1.0"},
        metering_metadata={"nonfirst_local_activity_execution_attempts": 3},
        worker_version_stamp={"build_id": "build"},
    )
    await t.history()
    await t.describe()


@case
async def binary_checksum(t):
    """The binary checksum of old workers: in the event and among the reset points."""
    await t.start()
    await t.step(commands.marker(), binary_checksum="sum")
    await t.signal()
    await t.step(commands.marker(), binary_checksum="sum")
    await t.describe()
    await t.terminate()
    await t.history()


@case
async def commands_metadata(t):
    """Summaries on commands end up on their events."""
    summary = {"user_metadata": {"summary": payload("why"), "details": payload("because")}}
    await t.start()
    await t.step(
        {**commands.timer(after="60s"), **summary},
        {**commands.activity(), **summary},
        {**commands.marker(), **summary},
    )
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def marker(t):
    """Markers with all their fields."""
    await t.start()
    await t.step(
        commands.marker("plain"),
        commands.marker(
            "full",
            details={"one": payloads(1), "two": payloads(2)},
            header={"fields": {"head": payload("er")}},
            failure={"message": "remembered", "application_failure_info": {"type": "Kind"}},
        ),
        commands.marker("bare", details=None),
        commands.done(),
    )
    await t.history()


@case
async def upsert_search_attributes(t):
    """Search attributes set, changed and unset by commands."""
    await t.start(search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(["zero"])}})
    await t.step(
        commands.upsert_search_attributes(
            search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(["one", "two"])}}
        )
    )
    await t.describe()
    await t.signal()
    await t.step(
        commands.upsert_search_attributes(search_attributes={"indexed_fields": {"TemporalChangeVersion": payload([])}}),
        commands.done(),
    )
    await t.history()
    await t.describe()


@case
async def modify_properties(t):
    """Memo fields set, changed and unset by commands."""
    await t.start(memo={"fields": {"kept": payload("kept"), "changed": payload("old"), "removed": payload("old")}})
    await t.step(
        commands.modify_properties(
            upserted_memo={"fields": {"changed": payload("new"), "added": payload("new"), "removed": payload(None)}}
        )
    )
    await t.history()
    await t.describe()
    await t.terminate()
