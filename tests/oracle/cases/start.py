"""StartWorkflowExecution: the first events, id reuse and conflict policies, request ids, start delay."""

import uuid

from lib import commands
from lib.case import case, family, payload, payloads, token


@case
async def complete(t):
    """Start, one workflow task, complete; described in every state on the way."""
    await t.start(input=payloads("in"))
    await t.describe()
    task = await t.poll()
    await t.describe()
    await t.complete(task, commands.done())
    await t.history()
    await t.describe()


@case
async def bare(t):
    """Nothing that may be left out is given: no input, no identity, no result."""
    await t.start(identity=None)
    task = await t.poll(identity="")
    await t.complete(task, commands.done(result=None), identity="")
    await t.history()


@case
async def everything(t):
    """A start with all its optional fields."""
    await t.start(
        input=payloads("in", {"two": 2}),
        workflow_execution_timeout="100s",
        workflow_run_timeout="50s",
        workflow_task_timeout="5s",
        retry_policy={
            "initial_interval": "1s",
            "backoff_coefficient": 3,
            "maximum_interval": "9s",
            "maximum_attempts": 4,
            "non_retryable_error_types": ["Fatal"],
        },
        memo={"fields": {"key": payload("memo")}},
        search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(["one", "two"])}},
        header={"fields": {"head": payload("er")}},
        user_metadata={"summary": payload("in short"), "details": payload("at length")},
        priority={"priority_key": 2, "fairness_key": "fair", "fairness_weight": 1.5},
    )
    await t.describe()
    await t.poll()
    await t.history()
    await t.terminate()


@case
async def retry_policy_defaults(t):
    """An empty retry policy gets the defaults."""
    await t.start(retry_policy={})
    await t.history()
    await t.terminate()


@case
async def timeouts_capped(t):
    """A run timeout longer than the execution timeout; a workflow task timeout longer than both."""
    await t.start(workflow_execution_timeout="10s", workflow_run_timeout="20s", workflow_task_timeout="200s")
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def task_timeout_capped(t):
    """A workflow task timeout beyond the server's maximum."""
    await t.start(workflow_task_timeout="300s")
    await t.history()
    await t.terminate()


@case
async def delay(t):
    """A start delay: the first workflow task comes after it."""
    await t.start(workflow_start_delay="1s")
    await t.describe()
    await t.history()
    task = await t.poll()
    await t.complete(task, commands.done())
    await t.history()


@case
async def delay_signal(t):
    """A signal does not end the start delay, but is in the first task."""
    await t.start(workflow_start_delay="1s")
    await t.signal(value="early")
    await t.history()
    await t.poll()
    await t.terminate()
    await t.history()


@case
async def delay_cancel(t):
    """A cancel request while the start delay runs."""
    await t.start(workflow_start_delay="1s")
    await t.cancel()
    await t.history()
    await t.poll()
    await t.terminate()


@case
async def same_request_id_running(t):
    """The same request again while the run is open answers with the same run."""
    request = t.start_request()
    t.run_id = (await t.call("StartWorkflowExecution", request)).run_id
    await t.call("StartWorkflowExecution", request)
    await t.history()
    await t.terminate()


@case
async def same_request_id_after_first_task(t):
    """The same request again when the run has progressed."""
    request = t.start_request()
    t.run_id = (await t.call("StartWorkflowExecution", request)).run_id
    await t.step()
    await t.attempt("StartWorkflowExecution", request)
    await t.terminate()


@case
async def same_request_id_closed(t):
    """The same request again when the run has closed."""
    request = t.start_request()
    t.run_id = (await t.call("StartWorkflowExecution", request)).run_id
    await t.step(commands.done())
    await t.attempt("StartWorkflowExecution", request)
    await t.attempt(
        "StartWorkflowExecution", {**request, "workflow_id_reuse_policy": "WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE"}
    )


REUSE = {
    "allow_duplicate": "WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE",
    "failed_only": "WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY",
    "reject": "WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE",
    "terminate": "WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING",
}


async def _running(t, policy):
    """A second start under this reuse policy while the first run is open."""
    await t.start()
    await t.attempt("StartWorkflowExecution", t.start_request(workflow_id_reuse_policy=policy))
    await t.history()
    await t.describe()
    await t.attempt(
        "TerminateWorkflowExecution", namespace="default", workflow_execution={"workflow_id": t.workflow_id}
    )


async def _completed(t, policy):
    """A second start under this reuse policy when the first run has completed."""
    await t.start()
    await t.step(commands.done())
    response = await t.attempt("StartWorkflowExecution", t.start_request(workflow_id_reuse_policy=policy))
    if response:
        await t.history(response.run_id)
        await t.terminate(workflow_execution={"workflow_id": t.workflow_id})


async def _failed(t, policy):
    """A second start under this reuse policy when the first run has failed."""
    await t.start()
    await t.step(commands.fail())
    response = await t.attempt("StartWorkflowExecution", t.start_request(workflow_id_reuse_policy=policy))
    if response:
        await t.terminate(workflow_execution={"workflow_id": t.workflow_id})


async def _terminated(t, policy):
    """A second start under this reuse policy when the first run has been terminated."""
    await t.start()
    await t.terminate()
    response = await t.attempt("StartWorkflowExecution", t.start_request(workflow_id_reuse_policy=policy))
    if response:
        await t.terminate(workflow_execution={"workflow_id": t.workflow_id})


family(__name__, "reuse_running_", REUSE, _running)
family(__name__, "reuse_completed_", REUSE, _completed)
family(__name__, "reuse_failed_", REUSE, _failed)
family(__name__, "reuse_terminated_", REUSE, _terminated)

CONFLICT = {
    "fail": "WORKFLOW_ID_CONFLICT_POLICY_FAIL",
    "use_existing": "WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING",
    "terminate_existing": "WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING",
}


async def _conflict(t, policy):
    """A second start under this conflict policy while the first run is open."""
    await t.start()
    response = await t.attempt("StartWorkflowExecution", t.start_request(workflow_id_conflict_policy=policy))
    await t.history()
    await t.describe()
    if response and response.run_id != t.run_id:
        await t.history(response.run_id)
    await t.attempt(
        "TerminateWorkflowExecution", namespace="default", workflow_execution={"workflow_id": t.workflow_id}
    )


async def _conflict_started(t, policy):
    """A second start under this conflict policy while a workflow task of the first run is with a worker."""
    await t.start()
    task = await t.poll(record=False)
    await t.attempt("StartWorkflowExecution", t.start_request(workflow_id_conflict_policy=policy))
    await t.history()
    await t.attempt(
        "RespondWorkflowTaskCompleted",
        namespace="default",
        task_token=token(task),
        commands=[commands.done()],
    )
    await t.history()
    await t.attempt(
        "TerminateWorkflowExecution", namespace="default", workflow_execution={"workflow_id": t.workflow_id}
    )


family(__name__, "conflict_", CONFLICT, _conflict)
family(__name__, "conflict_started_", CONFLICT, _conflict_started)


@case
async def use_existing_rejects_closed(t):
    """USE_EXISTING with REJECT_DUPLICATE: an open run is used, a closed one refuses."""
    await t.start()
    policies = {
        "workflow_id_conflict_policy": "WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING",
        "workflow_id_reuse_policy": "WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE",
    }
    await t.attempt("StartWorkflowExecution", t.start_request(**policies))
    await t.step(commands.done())
    await t.attempt("StartWorkflowExecution", t.start_request(**policies))


@case
async def use_existing_same_request_id(t):
    """USE_EXISTING with the request id of the first start."""
    request = t.start_request(workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING")
    t.run_id = (await t.call("StartWorkflowExecution", request)).run_id
    await t.attempt("StartWorkflowExecution", request)
    await t.terminate()


@case
async def on_conflict_attach_request_id(t):
    """USE_EXISTING that attaches its request id: the run gets an options-updated event, once a request."""
    await t.start()
    request = t.start_request(
        workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING",
        on_conflict_options={"attach_request_id": True},
    )
    await t.attempt("StartWorkflowExecution", request)
    await t.attempt("StartWorkflowExecution", request)
    await t.history()
    await t.describe()
    await t.terminate()


@case
async def policies_incompatible(t):
    """TERMINATE_IF_RUNNING cannot be combined with a conflict policy."""
    for policy in CONFLICT.values():
        await t.attempt(
            "StartWorkflowExecution",
            t.start_request(
                workflow_id_reuse_policy="WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING",
                workflow_id_conflict_policy=policy,
            ),
        )
    await t.attempt(
        "StartWorkflowExecution",
        t.start_request(
            workflow_id_reuse_policy="WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE",
            workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING",
        ),
    )


@case
async def unusual_id(t):
    """A workflow id with spaces, slashes and letters beyond ASCII."""
    t.workflow_id = f"späce / 'quoted' \"日本\" {t.nonce}"
    await t.start()
    await t.step(commands.done())
    await t.describe()
    await t.history()


@case
async def request_ids_of_two_runs(t):
    """Two runs of one id, one after the other; both stay readable."""
    first = await t.start(request_id=str(uuid.uuid4()))
    await t.step(commands.done("one"))
    await t.start()
    await t.step(commands.done("two"))
    await t.history(first.run_id)
    await t.history()
    await t.describe(execution={"workflow_id": t.workflow_id})
    await t.history("")
