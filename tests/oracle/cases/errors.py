"""Requests that are refused: gRPC code, text and typed detail, one case each."""

from lib import commands
from lib.case import QUEUE, WORKFLOW, case, failure, family, payload, payloads, token

LONG = "x" * 1001
UNKNOWN_RUN = "01234567-0123-0123-0123-0123456789ab"
NOBODY = {"workflow_id": "nobody"}


def start(*without, **changes):
    """A start request with parts changed or left out."""
    request = {
        "namespace": "default",
        "workflow_id": WORKFLOW,
        "workflow_type": {"name": "kind"},
        "task_queue": {"name": QUEUE},
        "request_id": "request",
        **changes,
    }
    return {key: value for key, value in request.items() if key not in without}


def retry(**policy):
    return start(retry_policy=policy)


STARTS = {
    "no_namespace": start("namespace"),
    "unknown_namespace": start(namespace="unknown"),
    "long_namespace": start(namespace=LONG),
    "no_workflow_id": start("workflow_id"),
    "long_workflow_id": start(workflow_id=LONG),
    "no_type": start("workflow_type"),
    "empty_type": start(workflow_type={"name": ""}),
    "long_type": start(workflow_type={"name": LONG}),
    "no_queue": start("task_queue"),
    "empty_queue": start(task_queue={"name": ""}),
    "long_queue": start(task_queue={"name": LONG}),
    "reserved_queue": start(task_queue={"name": "/_sys/queue"}),
    "sticky_queue": start(task_queue={"name": QUEUE, "kind": "TASK_QUEUE_KIND_STICKY", "normal_name": QUEUE}),
    "long_request_id": start(request_id=LONG),
    "long_identity": start(identity=LONG),
    "negative_execution_timeout": start(workflow_execution_timeout="-1s"),
    "negative_run_timeout": start(workflow_run_timeout="-1s"),
    "negative_task_timeout": start(workflow_task_timeout="-1s"),
    "negative_start_delay": start(workflow_start_delay="-1s"),
    "delay_and_cron": start(workflow_start_delay="1s", cron_schedule="* * * * *"),
    "bad_cron": start(cron_schedule="every day"),
    "retry_negative_initial": retry(initial_interval="-1s"),
    "retry_coefficient": retry(backoff_coefficient=0.5),
    "retry_negative_coefficient": retry(backoff_coefficient=-1),
    "retry_negative_maximum": retry(maximum_interval="-1s"),
    "retry_maximum_below_initial": retry(initial_interval="5s", maximum_interval="2s"),
    "retry_negative_attempts": retry(maximum_attempts=-1),
    "retry_bad_type": retry(non_retryable_error_types=["TemporalTimeout:unknown"]),
    "unknown_search_attribute": start(search_attributes={"indexed_fields": {"Unknown": payload("v")}}),
    "system_search_attribute": start(search_attributes={"indexed_fields": {"ExecutionStatus": payload("v")}}),
    "search_attribute_type": start(search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(7)}}),
    "negative_priority": start(priority={"priority_key": -1}),
    "long_fairness_key": start(priority={"fairness_key": "x" * 65}),
    "reuse_and_conflict": start(
        workflow_id_reuse_policy="WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING",
        workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_FAIL",
    ),
    "conflict_and_reuse": start(
        workflow_id_reuse_policy="WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE",
        workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING",
    ),
    "on_conflict_options_without_policy": start(on_conflict_options={"attach_request_id": True}),
    "on_conflict_attach_links": start(
        workflow_id_conflict_policy="WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING",
        on_conflict_options={"attach_completion_callbacks": True},
    ),
}


async def _start(t, request):
    """A start that is refused (or not: then the history says what became of it)."""
    response = await t.attempt("StartWorkflowExecution", request)
    if response:
        await t.history(response.run_id)
        await t.attempt(
            "TerminateWorkflowExecution", namespace="default", workflow_execution={"workflow_id": t.workflow_id}
        )


family(__name__, "start_", STARTS, _start)


def _targets(method, field, **rest):
    """The usual mistakes in naming a run."""
    name = "".join("_" + c.lower() if c.isupper() else c for c in method).strip("_")
    name = name.replace("_workflow_execution", "")
    base = {"namespace": "default", **rest}
    return {
        f"{name}_no_namespace": (method, {**base, "namespace": "", field: NOBODY}),
        f"{name}_unknown_namespace": (method, {**base, "namespace": "unknown", field: NOBODY}),
        f"{name}_no_execution": (method, base),
        f"{name}_no_workflow_id": (method, {**base, field: {"workflow_id": ""}}),
        f"{name}_long_workflow_id": (method, {**base, field: {"workflow_id": LONG}}),
        f"{name}_bad_run_id": (method, {**base, field: {**NOBODY, "run_id": "no uuid"}}),
        f"{name}_unknown_workflow": (method, {**base, field: NOBODY}),
        f"{name}_unknown_run": (method, {**base, field: {**NOBODY, "run_id": UNKNOWN_RUN}}),
    }


QUERY = {"query": {"query_type": "state"}}
TARGETS = {
    **_targets("SignalWorkflowExecution", "workflow_execution", signal_name="signal"),
    **_targets("RequestCancelWorkflowExecution", "workflow_execution"),
    **_targets("TerminateWorkflowExecution", "workflow_execution"),
    **_targets("DescribeWorkflowExecution", "execution"),
    **_targets("GetWorkflowExecutionHistory", "execution"),
    **_targets("GetWorkflowExecutionHistoryReverse", "execution"),
    **_targets("QueryWorkflow", "execution", **QUERY),
    **_targets("ResetStickyTaskQueue", "execution"),
}


async def _call(t, pair):
    """One call that is refused."""
    method, request = pair
    await t.attempt(method, request)


family(__name__, "", TARGETS, _call)

DEFAULT = {"namespace": "default"}
NAME = {"task_queue": {"name": QUEUE}}
SIGNAL = {**DEFAULT, "workflow_execution": NOBODY}
HISTORY = {**DEFAULT, "execution": NOBODY}
TOKEN = {**DEFAULT, "task_token": "Zm9vYmFy"}  # "foobar": no token of any server's
BY_ID = {**DEFAULT, "workflow_id": "nobody", "run_id": UNKNOWN_RUN, "activity_id": "a"}

CALLS = {
    "signal_no_name": ("SignalWorkflowExecution", SIGNAL),
    "signal_long_name": ("SignalWorkflowExecution", {**SIGNAL, "signal_name": LONG}),
    "signal_long_request_id": ("SignalWorkflowExecution", {**SIGNAL, "signal_name": "s", "request_id": LONG}),
    "cancel_long_request_id": ("RequestCancelWorkflowExecution", {**SIGNAL, "request_id": LONG}),
    "cancel_bad_first_run_id": ("RequestCancelWorkflowExecution", {**SIGNAL, "first_execution_run_id": "no uuid"}),
    "terminate_bad_first_run_id": ("TerminateWorkflowExecution", {**SIGNAL, "first_execution_run_id": "no uuid"}),
    "history_negative_page": ("GetWorkflowExecutionHistory", {**HISTORY, "maximum_page_size": -1}),
    "history_bad_page_token": ("GetWorkflowExecutionHistory", {**HISTORY, "next_page_token": "Zm9v"}),
    "history_wait_unknown": ("GetWorkflowExecutionHistory", {**HISTORY, "wait_new_event": True}),
    "poll_workflow_no_namespace": ("PollWorkflowTaskQueue", NAME),
    "poll_workflow_unknown_namespace": ("PollWorkflowTaskQueue", {**NAME, "namespace": "unknown"}),
    "poll_workflow_no_queue": ("PollWorkflowTaskQueue", DEFAULT),
    "poll_workflow_empty_queue": ("PollWorkflowTaskQueue", {**DEFAULT, "task_queue": {}}),
    "poll_workflow_long_queue": ("PollWorkflowTaskQueue", {**DEFAULT, "task_queue": {"name": LONG}}),
    "poll_workflow_reserved_queue": ("PollWorkflowTaskQueue", {**DEFAULT, "task_queue": {"name": "/_sys/q"}}),
    "poll_workflow_bad_partition": ("PollWorkflowTaskQueue", {**DEFAULT, "task_queue": {"name": "/_sys/q/1x"}}),
    "poll_workflow_long_identity": ("PollWorkflowTaskQueue", {**DEFAULT, **NAME, "identity": LONG}),
    "poll_activity_no_namespace": ("PollActivityTaskQueue", NAME),
    "poll_activity_unknown_namespace": ("PollActivityTaskQueue", {**NAME, "namespace": "unknown"}),
    "poll_activity_no_queue": ("PollActivityTaskQueue", DEFAULT),
    "poll_activity_empty_queue": ("PollActivityTaskQueue", {**DEFAULT, "task_queue": {}}),
    "poll_activity_long_queue": ("PollActivityTaskQueue", {**DEFAULT, "task_queue": {"name": LONG}}),
    "poll_activity_long_identity": ("PollActivityTaskQueue", {**DEFAULT, **NAME, "identity": LONG}),
    "task_completed_no_token": ("RespondWorkflowTaskCompleted", DEFAULT),
    "task_completed_bad_token": ("RespondWorkflowTaskCompleted", TOKEN),
    "task_failed_no_token": ("RespondWorkflowTaskFailed", DEFAULT),
    "task_failed_bad_token": ("RespondWorkflowTaskFailed", TOKEN),
    "query_completed_no_token": ("RespondQueryTaskCompleted", DEFAULT),
    "query_completed_bad_token": ("RespondQueryTaskCompleted", TOKEN),
    "query_bad_reject_condition": (
        "QueryWorkflow",
        {**HISTORY, **QUERY, "query_reject_condition": "QUERY_REJECT_CONDITION_NOT_OPEN"},
    ),
    "activity_completed_no_token": ("RespondActivityTaskCompleted", DEFAULT),
    "activity_completed_bad_token": ("RespondActivityTaskCompleted", TOKEN),
    "activity_failed_no_token": ("RespondActivityTaskFailed", DEFAULT),
    "activity_failed_bad_token": ("RespondActivityTaskFailed", TOKEN),
    "activity_canceled_no_token": ("RespondActivityTaskCanceled", DEFAULT),
    "activity_canceled_bad_token": ("RespondActivityTaskCanceled", TOKEN),
    "heartbeat_no_token": ("RecordActivityTaskHeartbeat", DEFAULT),
    "heartbeat_bad_token": ("RecordActivityTaskHeartbeat", TOKEN),
    "shutdown_worker_no_queue": ("ShutdownWorker", DEFAULT),
    "describe_queue_no_queue": ("DescribeTaskQueue", DEFAULT),
    "describe_queue_no_namespace": ("DescribeTaskQueue", NAME),
    "describe_queue_empty": ("DescribeTaskQueue", {**DEFAULT, "task_queue": {}}),
}
for verb, method in (
    ("completed", "RespondActivityTaskCompletedById"),
    ("failed", "RespondActivityTaskFailedById"),
    ("canceled", "RespondActivityTaskCanceledById"),
    ("heartbeat", "RecordActivityTaskHeartbeatById"),
):
    CALLS |= {
        f"by_id_{verb}_unknown": (method, BY_ID),
        f"by_id_{verb}_unknown_no_run": (method, {**BY_ID, "run_id": ""}),
        f"by_id_{verb}_bad_run": (method, {**BY_ID, "run_id": "no uuid"}),
        f"by_id_{verb}_no_workflow": (method, {**BY_ID, "workflow_id": ""}),
        f"by_id_{verb}_no_activity": (method, {**BY_ID, "activity_id": ""}),
        f"by_id_{verb}_no_namespace": (method, {**BY_ID, "namespace": ""}),
        f"by_id_{verb}_long_identity": (method, {**BY_ID, "identity": LONG}),
    }

family(__name__, "", CALLS, _call)


@case
async def by_id_unknown_activity(t):
    """An activity that an open run does not have."""
    await t.start()
    target = {**DEFAULT, "workflow_id": t.workflow_id, "activity_id": "unknown"}
    for method in (
        "RespondActivityTaskCompletedById",
        "RespondActivityTaskCanceledById",
        "RecordActivityTaskHeartbeatById",
    ):
        await t.attempt(method, target)
    await t.attempt("RespondActivityTaskFailedById", target, failure=failure("x"))
    await t.terminate()


@case
async def by_id_closed(t):
    """An activity of a run that has closed."""
    await t.start()
    await t.step(commands.activity(), commands.done())
    target = {**DEFAULT, "workflow_id": t.workflow_id, "run_id": t.run_id, "activity_id": "a"}
    for method in (
        "RespondActivityTaskCompletedById",
        "RespondActivityTaskCanceledById",
        "RecordActivityTaskHeartbeatById",
    ):
        await t.attempt(method, target)
    await t.attempt("RespondActivityTaskFailedById", target, failure=failure("x"))


@case
async def activity_stale(t):
    """Answers to an attempt that timed out, to one that is done, and after the run was closed."""
    await t.start()
    await t.step(commands.activity(retry_policy={"initial_interval": "0.1s", "maximum_attempts": 3}))
    first = await t.poll_activity(record=False)
    await t.fail_activity(first)
    second = await t.poll_activity(record=False)
    for task in (first, second, second):
        for method in ("RecordActivityTaskHeartbeat", "RespondActivityTaskCompleted"):
            await t.attempt(method, DEFAULT, task_token=token(task))
    await t.attempt("RespondActivityTaskFailed", DEFAULT, task_token=token(second), failure=failure("x"))
    await t.terminate()
    for method in ("RecordActivityTaskHeartbeat", "RespondActivityTaskCompleted", "RespondActivityTaskCanceled"):
        await t.attempt(method, DEFAULT, task_token=token(second))


@case
async def tokens_mixed_up(t):
    """A workflow task's token for an activity and the other way round."""
    await t.start()
    task = await t.step(commands.activity())
    activity = await t.poll_activity(record=False)
    await t.attempt("RespondActivityTaskCompleted", DEFAULT, task_token=token(task))
    await t.attempt("RespondWorkflowTaskCompleted", DEFAULT, task_token=token(activity))
    await t.attempt("RespondQueryTaskCompleted", DEFAULT, task_token=token(task))
    await t.terminate()


@case
async def token_of_other_namespace(t):
    """A token with the name of another namespace."""
    await t.start()
    task = await t.poll(record=False)
    await t.attempt("RespondWorkflowTaskCompleted", namespace="temporal-system", task_token=token(task))
    await t.attempt("RespondWorkflowTaskCompleted", namespace="unknown", task_token=token(task))
    await t.attempt("RespondWorkflowTaskCompleted", task_token=token(task))
    await t.attempt("RespondWorkflowTaskCompleted", DEFAULT, task_token=token(task), identity=LONG)
    await t.history()
    await t.attempt("TerminateWorkflowExecution", DEFAULT, workflow_execution=t.execution())


@case
async def open_run_of_other_id(t):
    """A run id that belongs to another workflow id."""
    await t.start()
    wrong = {"workflow_id": f"other-{t.nonce}", "run_id": t.run_id}
    await t.attempt("DescribeWorkflowExecution", DEFAULT, execution=wrong)
    await t.attempt("SignalWorkflowExecution", DEFAULT, workflow_execution=wrong, signal_name="s")
    await t.attempt("GetWorkflowExecutionHistory", DEFAULT, execution=wrong)
    await t.attempt("TerminateWorkflowExecution", DEFAULT, workflow_execution=wrong)
    await t.terminate()


@case
async def unknown_run_of_known_id(t):
    """A run id that the workflow id does not have."""
    await t.start()
    wrong = {"workflow_id": t.workflow_id, "run_id": UNKNOWN_RUN}
    await t.attempt("DescribeWorkflowExecution", DEFAULT, execution=wrong)
    await t.attempt("SignalWorkflowExecution", DEFAULT, workflow_execution=wrong, signal_name="s")
    await t.attempt("RequestCancelWorkflowExecution", DEFAULT, workflow_execution=wrong)
    await t.attempt("TerminateWorkflowExecution", DEFAULT, workflow_execution=wrong)
    await t.attempt("GetWorkflowExecutionHistory", DEFAULT, execution=wrong)
    await t.attempt("QueryWorkflow", DEFAULT, execution=wrong, **QUERY)
    await t.attempt("ResetStickyTaskQueue", DEFAULT, execution=wrong)
    await t.terminate()


@case
async def answers_too_long(t):
    """An identity beyond the limit in the answers of a worker."""
    await t.start()
    await t.step(commands.activity())
    task = await t.poll_activity(record=False)
    for method in ("RespondActivityTaskCompleted", "RespondActivityTaskCanceled", "RecordActivityTaskHeartbeat"):
        await t.attempt(method, DEFAULT, task_token=token(task), identity=LONG)
    await t.attempt("RespondActivityTaskFailed", DEFAULT, task_token=token(task), identity=LONG, failure=failure("x"))
    await t.attempt(
        "SignalWorkflowExecution", DEFAULT, workflow_execution=t.execution(), signal_name="s", identity=LONG
    )
    await t.attempt("RequestCancelWorkflowExecution", DEFAULT, workflow_execution=t.execution(), identity=LONG)
    await t.attempt("TerminateWorkflowExecution", DEFAULT, workflow_execution=t.execution(), identity=LONG, reason=LONG)
    await t.history()


@case
async def blob_too_large(t):
    """Payloads beyond 2 MB: refused where a client sends them, and ends the run where a worker does."""
    big = payloads("x" * (2 * 1024 * 1024 + 1))
    await t.attempt("StartWorkflowExecution", t.start_request(input=big))
    await t.start()
    await t.attempt("SignalWorkflowExecution", DEFAULT, workflow_execution=t.execution(), signal_name="s", input=big)
    await t.step(commands.activity("a"), commands.activity("b", retry_policy={"maximum_attempts": 1}))
    tasks = [await t.poll_activity(record=False) for _ in range(2)]
    by_id = {task.activity_id: task for task in tasks}
    await t.attempt("RecordActivityTaskHeartbeat", DEFAULT, task_token=token(by_id["b"]), details=big)
    await t.attempt("RespondActivityTaskCompleted", DEFAULT, task_token=token(by_id["a"]), result=big)
    await t.wait_event("ACTIVITY_TASK_FAILED")
    task = await t.poll(record=False)
    await t.attempt(
        "RespondWorkflowTaskCompleted", DEFAULT, task_token=token(task), commands=[commands.done(result=big)]
    )
    await t.history()
    await t.attempt("TerminateWorkflowExecution", DEFAULT, workflow_execution=t.execution())


@case
async def memo_too_large(t):
    """A memo beyond 2 MB."""
    await t.attempt(
        "StartWorkflowExecution", t.start_request(memo={"fields": {"m": payload("x" * (2 * 1024 * 1024 + 1))}})
    )
