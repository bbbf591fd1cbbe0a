"""Queries: to idle and busy runs, closed runs, attached to workflow tasks, rejected, failed."""

from lib import commands
from lib.case import case, failure, payloads, token


def _request(t, name="state", **fields):
    return {
        "namespace": "default",
        "execution": t.execution(),
        "query": {"query_type": name, "query_args": payloads("argument")},
        **fields,
    }


def _ask(t, **fields):
    """A query on its way. Its answer is written down by the case, when it is due."""
    return t.background(t.attempt("QueryWorkflow", _request(t, **fields)))


async def _answer(t, task, record=True, **fields):
    """Answers a query task (one that only holds a query)."""
    request = {
        "namespace": "default",
        "task_token": token(task),
        "completed_type": "QUERY_RESULT_TYPE_ANSWERED",
        "query_result": payloads("answer"),
        **fields,
    }
    await t.attempt("RespondQueryTaskCompleted", request, record=record)


@case
async def idle(t):
    """A run that waits: the query is a task of its own, with the whole history and no trace in it."""
    await t.start()
    await t.step()
    query = _ask(t)
    task = await t.poll()
    await _answer(t, task)
    await query
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def idle_failed(t):
    """The worker answers with an error."""
    await t.start()
    await t.step()
    query = _ask(t)
    await _answer(
        t,
        await t.poll(record=False),
        completed_type="QUERY_RESULT_TYPE_FAILED",
        query_result=None,
        error_message="no such query",
        failure=failure("no such query"),
    )
    await query
    await t.terminate()


@case
async def idle_failed_text_only(t):
    """The worker answers with an error that is only a text."""
    await t.start()
    await t.step()
    query = _ask(t)
    task = await t.poll(record=False)
    await _answer(t, task, completed_type="QUERY_RESULT_TYPE_FAILED", query_result=None, error_message="no such query")
    await query
    await t.terminate()


@case
async def answered_twice(t):
    """The same query task answered a second time."""
    await t.start()
    await t.step()
    query = _ask(t)
    task = await t.poll(record=False)
    await _answer(t, task)
    await query
    await _answer(t, task)
    await t.terminate()


@case
async def completed(t):
    """A run that has closed can be queried."""
    await t.start()
    await t.step(commands.done())
    query = _ask(t)
    await _answer(t, await t.poll())
    await query
    await t.history()


@case
async def reject_not_open(t):
    """Rejected when the run is not open."""
    condition = {"query_reject_condition": "QUERY_REJECT_CONDITION_NOT_OPEN"}
    await t.start()
    await t.step()
    query = _ask(t, **condition)
    await _answer(t, await t.poll(record=False))
    await query
    await t.signal()
    await t.step(commands.done())
    await _ask(t, **condition)


@case
async def reject_not_completed_cleanly(t):
    """Rejected when the run did not complete cleanly."""
    condition = {"query_reject_condition": "QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY"}
    await t.start()
    await t.step(commands.done())
    query = _ask(t, **condition)
    await _answer(t, await t.poll(record=False))
    await query
    for end in (commands.fail(), commands.canceled()):
        await t.start()
        await t.step(end)
        await _ask(t, **condition)
    await t.start()
    await t.terminate()
    await _ask(t, **condition)


@case
async def attached(t):
    """A query while a workflow task waits: attached to it, and answered with it."""
    await t.start()
    await t.step()
    await t.signal(value=1)
    query = _ask(t)
    await _settle(t)
    task = await t.poll(record=False)
    identity = next(iter(task.queries))
    await t.complete(
        task,
        query_results={identity: {"result_type": "QUERY_RESULT_TYPE_ANSWERED", "answer": payloads("attached")}},
    )
    await query
    await t.history()
    await t.terminate()


@case
async def attached_failed(t):
    """An attached query that the worker fails."""
    await t.start()
    await t.step()
    await t.signal(value=1)
    query = _ask(t)
    await _settle(t)
    task = await t.poll(record=False)
    identity = next(iter(task.queries))
    await t.complete(
        task,
        query_results={
            identity: {
                "result_type": "QUERY_RESULT_TYPE_FAILED",
                "error_message": "no such query",
                "failure": failure("no such query"),
            }
        },
    )
    await query
    await t.terminate()


@case
async def before_first_task(t):
    """A query before the first workflow task completed waits for it, and follows."""
    await t.start()
    query = _ask(t)
    task = await _poll_first(t)
    if task.query.query_type:
        await _answer(t, task, record=False)
    await query
    await t.terminate()


async def _poll_first(t):
    """Completes workflow tasks with their queries until the query comes by itself, or is answered."""
    while True:
        task = await t.poll(record=False)
        if task.query.query_type:
            return task
        results = {
            key: {"result_type": "QUERY_RESULT_TYPE_ANSWERED", "answer": payloads("answer")} for key in task.queries
        }
        await t.call(
            "RespondWorkflowTaskCompleted",
            record=False,
            namespace="default",
            task_token=token(task),
            query_results=results,
        )
        if results:
            return task


@case
async def during_task(t):
    """A query while a workflow task is with a worker: it comes after that task has completed, as a task of its own."""
    await t.start()
    await t.step()
    await t.signal(value=1)
    task = await t.poll(record=False)
    query = _ask(t)
    await _settle(t)
    await t.complete(task)
    await _answer(t, await t.poll())
    await query
    await t.history()
    await t.terminate()


async def _settle(t):
    """A few round trips to the run: a query sent before them has arrived by then."""
    for _ in range(5):
        await t.call("DescribeWorkflowExecution", record=False, namespace="default", execution=t.execution())


@case
async def never_started(t):
    """A run whose first task failed: the query is refused at once."""
    await t.start()
    await t.fail_task(await t.poll(record=False))
    await t.fail_task(await t.poll(record=False))
    await t.fail_task(await t.poll(record=False))
    await _ask(t)
    await t.terminate()


@case
async def refused(t):
    """What is wrong with the request."""
    await t.start()
    await t.step()
    await t.attempt("QueryWorkflow", _request(t, query=None))
    await t.attempt("QueryWorkflow", _request(t, execution={"workflow_id": f"unknown-{t.nonce}"}))
    await t.attempt("QueryWorkflow", _request(t, execution={}))
    await t.attempt("QueryWorkflow", _request(t, execution={"workflow_id": t.workflow_id, "run_id": "no uuid"}))
    await t.terminate()


@case
async def sticky(t):
    """A query to a sticky worker comes to its queue, without history."""
    queue = {"name": f"sticky-{t.nonce}", "kind": "TASK_QUEUE_KIND_STICKY", "normal_name": t.task_queue}
    await t.start()
    await t.step(sticky_attributes={"worker_task_queue": queue, "schedule_to_start_timeout": "5s"})
    poll = t.background(t.poll(task_queue=queue))
    request = {"namespace": "default", "task_queue": queue, "task_queue_type": "TASK_QUEUE_TYPE_WORKFLOW"}
    await t.wait("DescribeTaskQueue", request, lambda answer: answer.pollers, "the sticky poll to arrive")
    query = _ask(t)
    await _answer(t, await poll)
    await query
    await t.terminate()
