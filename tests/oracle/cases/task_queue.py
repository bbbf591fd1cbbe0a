"""Task queues: describing them, polls that end, workers that shut down, the server's own description of itself."""

import asyncio
import re

from lib import commands
from lib.case import case


def _describe(t, kind="WORKFLOW", **fields):
    return {
        "namespace": "default",
        "task_queue": {"name": t.task_queue},
        "task_queue_type": f"TASK_QUEUE_TYPE_{kind}",
        **fields,
    }


@case
async def pollers(t):
    """Who polls is listed, by type."""
    poll = t.background(t.poll(record=False, identity="somebody"))
    answer = await t.wait("DescribeTaskQueue", _describe(t), lambda answer: answer.pollers, "the poll to arrive")
    t.note("pollers", [(poller.identity, poller.rate_per_second) for poller in answer.pollers])
    await t.start()
    await t.complete(await poll, commands.done())
    other = await t.call("DescribeTaskQueue", _describe(t, "ACTIVITY"), record=False)
    t.note("pollers of activities", len(other.pollers))


@case
async def unknown(t):
    """A queue that nobody ever used."""
    answer = await t.call("DescribeTaskQueue", _describe(t), record=False)
    t.note("pollers", len(answer.pollers))


@case
async def backlog(t):
    """Tasks that nobody takes are counted."""
    for number in range(3):
        await t.start(workflow_id=f"{t.workflow_id}-{number}")
    request = _describe(t, report_stats=True)
    answer = await t.wait(
        "DescribeTaskQueue",
        request,
        lambda answer: answer.stats.approximate_backlog_count == 3,
        "three tasks in the backlog",
    )
    t.note("has age", answer.stats.approximate_backlog_age.ToNanoseconds() > 0)
    for number in range(3):
        await t.terminate(workflow_execution={"workflow_id": f"{t.workflow_id}-{number}"})


def _by_priority(answer):
    """How many wait, and whether they have an age, by priority."""
    return {
        key: (stats.approximate_backlog_count, stats.approximate_backlog_age.ToNanoseconds() > 0)
        for key, stats in sorted(answer.stats_by_priority_key.items())
    }


@case
async def backlog_by_priority(t):
    """Tasks that nobody takes are counted by their priorities."""
    priorities = [1, 1, None, 3, 5]
    for number, priority in enumerate(priorities):
        fields = {} if priority is None else {"priority": {"priority_key": priority}}
        await t.start(workflow_id=f"{t.workflow_id}-{number}", **fields)
    answer = await t.wait(
        "DescribeTaskQueue",
        _describe(t, report_stats=True),
        lambda answer: answer.stats.approximate_backlog_count == len(priorities),
        "all tasks in the backlog",
    )
    t.note("by priority", _by_priority(answer))
    unasked = await t.call("DescribeTaskQueue", _describe(t), record=False)
    t.note("without being asked", _by_priority(unasked))
    for number in range(len(priorities)):
        await t.terminate(workflow_execution={"workflow_id": f"{t.workflow_id}-{number}"})


@case
async def unused_by_priority(t):
    """Nothing waits, though somebody polls: what is said of priorities."""
    poll = t.background(t.poll(record=False))
    await t.wait("DescribeTaskQueue", _describe(t), lambda answer: answer.pollers, "the poll to arrive")
    answer = await t.call("DescribeTaskQueue", _describe(t, report_stats=True), record=False)
    t.note("by priority", _by_priority(answer))
    await t.start()
    await t.complete(await poll, commands.done())


@case
async def each_once(t):
    """Tasks of one queue are handed out once each."""
    for number in range(5):
        await t.start(workflow_id=f"{t.workflow_id}-{number}")
    taken = []
    for _ in range(5):
        task = await t.poll(record=False)
        taken.append(task.workflow_execution.workflow_id)
        await t.complete(task, commands.done())
    t.note("taken", sorted(taken))


@case
async def poll_canceled(t):
    """A poll that its client gives up eats no task."""
    polls = [
        asyncio.ensure_future(
            t.wire.call(
                "PollWorkflowTaskQueue",
                {"namespace": "default", "task_queue": {"name": t.task_queue}, "identity": "leaver"},
            )
        )
        for _ in range(3)
    ]
    await t.wait("DescribeTaskQueue", _describe(t), lambda answer: answer.pollers, "the polls to arrive")
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await t.start()
    await t.step(commands.done())
    await t.history()


@case
async def poll_until_deadline(t):
    """A poll without a task ends with an empty answer before its client's deadline."""
    request = {"namespace": "default", "task_queue": {"name": t.task_queue}, "identity": "worker"}
    await t.attempt("PollWorkflowTaskQueue", request, timeout_s=3)
    await t.attempt("PollActivityTaskQueue", request, timeout_s=3)


@case
async def poll_too_short(t):
    """A poll whose deadline is too near is refused."""
    request = {"namespace": "default", "task_queue": {"name": t.task_queue}, "identity": "worker"}
    await t.attempt("PollWorkflowTaskQueue", request, timeout_s=1)
    await t.attempt("PollActivityTaskQueue", request, timeout_s=1)


@case
async def shutdown_worker(t):
    """A worker that shuts down: its sticky queue is gone at once."""
    queue = {"name": f"sticky-{t.nonce}", "kind": "TASK_QUEUE_KIND_STICKY", "normal_name": t.task_queue}
    await t.start()
    await t.step(sticky_attributes={"worker_task_queue": queue, "schedule_to_start_timeout": "30s"})
    await t.call(
        "ShutdownWorker", namespace="default", sticky_task_queue=queue["name"], identity="worker", reason="shutdown"
    )
    await t.signal()
    await t.step(commands.done())
    await t.history()


@case
async def system_info(t):
    """What the server says that it can do, as far as SDKs change what they do because of it."""
    answer = await t.call("GetSystemInfo", record=False)
    for capability in (
        "signal_and_query_header",
        "internal_error_differentiation",
        "activity_failure_include_heartbeat",
        "encoded_failure_attributes",
        "upsert_memo",
        "sdk_metadata",
    ):
        t.note(capability, getattr(answer.capabilities, capability))
    t.note("has a version", bool(answer.server_version))


@case
async def cluster_info(t):
    """The parts of the cluster's description that clients look at."""
    answer = await t.call("GetClusterInfo", record=False)
    t.note("history shards", answer.history_shard_count > 0)
    t.note("supported clients", dict(sorted(answer.supported_clients.items())))
    t.note("has id", bool(answer.cluster_id))


@case
async def search_attributes(t):
    """The keys and types that every namespace has."""
    answer = await t.call("GetSearchAttributes", record=False)
    # The reference lists its database's columns for custom attributes too (Keyword01, …): no names that a client can use.
    keys = {key: kind for key, kind in answer.keys.items() if not re.fullmatch(r"[A-Z][A-Za-z]+[0-9]{2}", key)}
    t.note("system keys", sorted(keys.items()))
