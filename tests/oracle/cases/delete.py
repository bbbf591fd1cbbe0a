"""Deleting: a run on request, open or closed; a namespace with everything in it.

The reference deletes in the background, so each case waits until what was deleted is not found before it looks closer.
"""

import asyncio
import time

from lib import commands
from lib.case import Broken, case, token
from lib.wire import Refused

GONE_S = 55.0
UNKNOWN_RUN = "01234567-0123-4123-8123-0123456789ab"


async def _delete(t, run_id=None, **fields):
    request = {"namespace": t.namespace, "workflow_execution": t.execution(run_id)}
    return await t.attempt("DeleteWorkflowExecution", {**request, **fields})


async def _refused(t, method, request, code="NOT_FOUND"):
    """Repeats a call until it is answered with that error. Writes nothing down."""
    end = time.monotonic() + GONE_S
    while time.monotonic() < end:
        try:
            await t.wire.call(method, request)
        except Refused as error:
            if error.code == code:
                return
        await asyncio.sleep(0.05)  # the pace of looking
    raise Broken(f"waited in vain for {method} to answer {code}")


async def _gone(t, run_id=None):
    """Waits until the run can't be described any more."""
    request = {"namespace": t.namespace, "execution": t.execution(run_id)}
    await _refused(t, "DescribeWorkflowExecution", request)


async def _everything(t, run_id=None):
    """Every way to reach a run that is not there."""
    execution = {"namespace": t.namespace, "execution": t.execution(run_id)}
    workflow = {"namespace": t.namespace, "workflow_execution": t.execution(run_id)}
    await t.attempt("DescribeWorkflowExecution", execution)
    await t.attempt("GetWorkflowExecutionHistory", execution)
    await t.attempt("GetWorkflowExecutionHistoryReverse", execution)
    await t.attempt("QueryWorkflow", execution, query={"query_type": "q"})
    await t.attempt("SignalWorkflowExecution", workflow, signal_name="s")
    await t.attempt("RequestCancelWorkflowExecution", workflow)
    await t.attempt("TerminateWorkflowExecution", workflow)
    await t.attempt("DeleteWorkflowExecution", workflow)


async def _completed(t, **fields):
    await t.start(**fields)
    await t.step(commands.done())
    await t.wait_closed()


@case
async def closed(t):
    """A closed run, named by its run id."""
    await _completed(t)
    await _delete(t)
    await _gone(t)
    await _everything(t)
    await _everything(t, run_id="")


@case
async def closed_current(t):
    """A closed run, named by its workflow id alone."""
    await _completed(t)
    await _delete(t, run_id="")
    await _gone(t)
    await _everything(t)


@case
async def open_run(t):
    """An open run, which is terminated by it."""
    await t.start()
    task = await t.poll(record=False)
    await _delete(t)
    await _gone(t)
    await _everything(t)
    await t.attempt("RespondWorkflowTaskCompleted", namespace=t.namespace, task_token=token(task))


@case
async def open_current(t):
    """An open run with an activity under way, named by its workflow id alone."""
    await t.start()
    await t.step(commands.activity(start_to_close_timeout="60s"))
    task = await t.poll_activity(record=False)
    await _delete(t, run_id="")
    await _gone(t)
    request = {"namespace": t.namespace, "task_token": token(task)}
    await t.attempt("RecordActivityTaskHeartbeat", request)
    await t.attempt("RespondActivityTaskCompleted", request)


@case
async def waiting_for_its_end(t):
    """Who waits for the end of a run that is deleted hears of its termination."""
    await t.start()
    await t.step()
    waits = t.background(t.wait_closed())
    await t.wait_described(lambda answer: answer.workflow_execution_info.history_length >= 4, "the first task")
    await _delete(t)
    event = await waits
    t.note("event", event.event_type)
    t.note("reason", event.workflow_execution_terminated_event_attributes.reason)
    t.note("identity", event.workflow_execution_terminated_event_attributes.identity)
    await _gone(t)


@case
async def the_id_is_free_again(t):
    """A workflow id whose run was deleted is as good as new, whatever the policy."""
    await _completed(t)
    first = t.run_id
    await _delete(t)
    await _gone(t)
    await t.start(workflow_id_reuse_policy="WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE")
    await t.step(commands.done())
    await t.history()
    t.note("another run", t.run_id != first)
    await _everything(t, run_id=first)


@case
async def an_older_run(t):
    """An older run goes, the open one stays."""
    await _completed(t)
    first = t.run_id
    await t.start()
    await _delete(t, run_id=first)
    await _gone(t, run_id=first)
    await t.describe()
    await t.step(commands.done())
    await t.history(run_id="")


@case
async def the_latest_of_two(t):
    """The latest run goes, an older one stays and can be read by its run id.

    Without a run id the reference finds nothing then, Perdure the older run: that is not compared.
    """
    await _completed(t)
    first = t.run_id
    await _completed(t)
    await _delete(t)
    await _gone(t)
    await t.history(run_id=first)


@case
async def unknown(t):
    """Runs and workflows that there are not."""
    await _delete(t)
    await _delete(t, run_id=UNKNOWN_RUN)
    await t.start()
    await _delete(t, run_id=UNKNOWN_RUN)


@case
async def bad(t):
    """Requests that are refused."""
    await t.attempt("DeleteWorkflowExecution")
    await t.attempt("DeleteWorkflowExecution", namespace=t.namespace)
    await _delete(t, workflow_execution={})
    await _delete(t, workflow_execution={"run_id": UNKNOWN_RUN})
    await _delete(t, workflow_execution={"workflow_id": t.workflow_id, "run_id": "no uuid"})
    await _delete(t, namespace=f"unknown-{t.nonce}")
    await _delete(t, namespace="x" * 1001)


# Namespaces


def _name(t):
    return f"namespace-{t.nonce}"


async def _register(t):
    return await t.call(
        "RegisterNamespace",
        namespace=_name(t),
        workflow_execution_retention_period="86400s",
        record=False,
    )


@case
async def namespace(t):
    """A namespace and what uses its name afterwards."""
    await _register(t)
    described = await t.call("DescribeNamespace", namespace=_name(t), record=False)
    await t.eventually("StartWorkflowExecution", t.start_request(namespace=_name(t)))
    answer = await t.call("DeleteNamespace", namespace=_name(t), namespace_delete_delay="3600s", record=False)
    prefix = described.namespace_info.id[:5]
    t.note("its new name", answer.deleted_namespace == f"{_name(t)}-deleted-{prefix}")
    await t.attempt("DescribeNamespace", namespace=_name(t))
    again = await t.call("DescribeNamespace", id=described.namespace_info.id, record=False)
    t.note("renamed", again.namespace_info.name == answer.deleted_namespace)
    t.note("state", again.namespace_info.state)
    await _refused(t, "StartWorkflowExecution", t.start_request(namespace=_name(t)))
    await t.attempt("StartWorkflowExecution", t.start_request(namespace=_name(t)))
    await t.attempt("UpdateNamespace", namespace=_name(t), update_info={"description": "new"})
    await t.attempt("DeprecateNamespace", namespace=_name(t))
    # The name is free.
    await _register(t)
    await t.attempt("DescribeNamespace", namespace=_name(t))


@case
async def namespace_by_id(t):
    """A namespace that is named by its id."""
    await _register(t)
    described = await t.call("DescribeNamespace", namespace=_name(t), record=False)
    request = {"namespace_id": described.namespace_info.id, "namespace_delete_delay": "0s"}
    answer = await t.call("DeleteNamespace", request, record=False)
    t.note("its new name", answer.deleted_namespace == f"{_name(t)}-deleted-{described.namespace_info.id[:5]}")


@case
async def namespace_bad(t):
    """Namespaces that can't be deleted."""
    await t.attempt("DeleteNamespace")
    await t.attempt("DeleteNamespace", namespace=f"unknown-{t.nonce}")
    await t.attempt("DeleteNamespace", namespace_id=UNKNOWN_RUN)
    await t.attempt("DeleteNamespace", namespace_id="no uuid")
    await t.attempt("DeleteNamespace", namespace="default", namespace_id=UNKNOWN_RUN)
    await t.attempt("DeleteNamespace", namespace="x" * 1001)
    await t.attempt("DeleteNamespace", namespace="temporal-system")
