"""How a run ends: complete, fail, cancel, terminate, time out, continue as new, retry."""

from lib import commands
from lib.case import case, failure, payload, payloads
from lib.follow import next_run

QUICK = {"initial_interval": "2s", "backoff_coefficient": 1, "maximum_attempts": 2}


@case
async def fail(t):
    """A workflow that fails."""
    await t.start()
    await t.step(commands.fail())
    await t.history()
    await t.describe()


@case
async def fail_other_failure(t):
    """A workflow that fails with the failure of an activity."""
    await t.start()
    cause = failure("cause")
    await t.step(
        commands.fail(
            failure={
                "message": "activity error",
                "cause": cause,
                "activity_failure_info": {
                    "scheduled_event_id": 5,
                    "started_event_id": 6,
                    "identity": "worker",
                    "activity_type": {"name": "work"},
                    "activity_id": "a",
                    "retry_state": "RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED",
                },
            }
        )
    )
    await t.history()


@case
async def cancel_requested(t):
    """A cancel request, which the workflow answers by closing as canceled."""
    await t.start()
    await t.cancel(reason="enough")
    await t.history()
    await t.describe()
    await t.step(commands.canceled())
    await t.history()
    await t.describe()


@case
async def cancel_request_ignored(t):
    """A cancel request, which the workflow answers by completing."""
    await t.start()
    await t.step()
    await t.cancel()
    await t.step(commands.done())
    await t.history()


@case
async def cancel_requested_twice(t):
    """A second cancel request, with the same and with another request id."""
    await t.start()
    await t.attempt(
        "RequestCancelWorkflowExecution", namespace="default", workflow_execution=t.execution(), request_id="one"
    )
    await t.attempt(
        "RequestCancelWorkflowExecution", namespace="default", workflow_execution=t.execution(), request_id="one"
    )
    await t.attempt(
        "RequestCancelWorkflowExecution", namespace="default", workflow_execution=t.execution(), request_id="two"
    )
    await t.history()
    await t.terminate()


@case
async def cancel_while_task_started(t):
    """A cancel request while a workflow task is with a worker."""
    await t.start()
    task = await t.poll(record=False)
    await t.cancel()
    await t.history()
    await t.complete(task, commands.timer(after="60s"))
    await t.history()
    await t.step(commands.canceled(details=None))
    await t.history()


@case
async def cancel_without_request(t):
    """A workflow that closes as canceled though nobody asked."""
    await t.start()
    await t.step(commands.canceled())
    await t.history()


@case
async def cancel_closed(t):
    """Cancel and terminate a run that has closed."""
    await t.start()
    await t.step(commands.done())
    await t.attempt("RequestCancelWorkflowExecution", namespace="default", workflow_execution=t.execution())
    await t.attempt("RequestCancelWorkflowExecution", namespace="default", workflow_execution=t.execution(""))
    await t.attempt("TerminateWorkflowExecution", namespace="default", workflow_execution=t.execution())
    await t.attempt("TerminateWorkflowExecution", namespace="default", workflow_execution=t.execution(""))


@case
async def cancel_first_execution_run_id(t):
    """Cancel and terminate by the first run id of the chain, right and wrong."""
    first = await t.start()
    await t.step(commands.again())
    second = await next_run(t)
    await t.poll(record=False)
    target = {"workflow_id": t.workflow_id}
    unrelated = "01234567-0123-0123-0123-0123456789ab"
    for method in ("RequestCancelWorkflowExecution", "TerminateWorkflowExecution"):
        request = {"namespace": "default", "workflow_execution": target, "request_id": "r"}
        if method.startswith("Term"):
            del request["request_id"]
        await t.attempt(method, request, first_execution_run_id=unrelated)
        await t.attempt(method, request, first_execution_run_id=first.run_id)
    await t.history(second)


@case
async def terminate(t):
    """Terminated while its first task waits."""
    await t.start()
    await t.terminate(details=payloads("details"))
    await t.history()
    await t.describe()


@case
async def terminate_idle(t):
    """Terminated while it waits for an activity and a timer; nothing but the identity is given."""
    await t.start()
    await t.step(commands.timer(after="60s"), commands.activity())
    await t.terminate(reason="", identity="")
    await t.history()
    await t.describe()


@case
async def terminate_task_started(t):
    """Terminated while a workflow task is with a worker."""
    await t.start()
    await t.poll(record=False)
    await t.terminate()
    await t.history()


@case
async def run_timeout(t):
    """The run times out while nothing happens."""
    await t.start(workflow_run_timeout="1s")
    await t.step()
    await t.wait_closed()
    await t.history()
    await t.describe()


@case
async def run_timeout_task_scheduled(t):
    """The run times out while its first task waits for a worker."""
    await t.start(workflow_run_timeout="1s")
    await t.wait_closed()
    await t.history()


@case
async def run_timeout_task_started(t):
    """The run times out while a workflow task is with a worker, with a signal buffered."""
    await t.start(workflow_run_timeout="1s")
    await t.poll(record=False)
    await t.signal(value="buffered")
    await t.wait_closed()
    await t.history()


@case
async def execution_timeout(t):
    """The execution times out."""
    await t.start(workflow_execution_timeout="1s")
    await t.step()
    await t.wait_closed()
    await t.history()
    await t.describe()


@case
async def execution_timeout_over_runs(t):
    """The execution timeout spans runs that continue as new."""
    await t.start(workflow_execution_timeout="2s")
    await t.step(commands.again())
    second = await next_run(t)
    await t.wait_closed(second)
    await t.history(second)


@case
async def run_timeout_retried(t):
    """A run that times out is retried when it has a retry policy, until the attempts are used up."""
    await t.start(workflow_run_timeout="1s", retry_policy=QUICK, input=payloads("in"))
    second = await next_run(t)
    await t.history()
    await t.wait_closed(second)
    await t.history(second)


@case
async def retry(t):
    """A run that fails is retried as a new run, which starts after the backoff and fails for good."""
    await t.start(
        retry_policy=QUICK,
        input=payloads("in"),
        memo={"fields": {"key": payload("memo")}},
        search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(["one"])}},
        header={"fields": {"head": payload("er")}},
        user_metadata={"summary": payload("short")},
        priority={"priority_key": 2},
    )
    await t.step(commands.fail("first"))
    await t.history()
    second = await next_run(t)
    await t.describe(execution=t.execution(second))
    await t.history(second)
    task = await t.poll()
    await t.complete(task, commands.fail("second"))
    await t.history(second)
    await t.describe(execution=t.execution(second))


@case
async def retry_succeeds(t):
    """The second attempt completes."""
    await t.start(retry_policy=QUICK)
    await t.step(commands.fail("first"))
    await t.step(commands.done())
    await t.history(await next_run(t))


@case
async def retry_signal_in_backoff(t):
    """A signal while the new run waits for its backoff."""
    await t.start(retry_policy=QUICK)
    await t.step(commands.fail("first"))
    second = await next_run(t)
    await t.signal(value=1, workflow_execution=t.execution(second))
    await t.history(second)
    await t.step(commands.done())
    await t.history(second)


@case
async def retry_non_retryable(t):
    """Failures that end the chain: marked, and by type."""
    for number, broken in enumerate((failure("fatal", non_retryable=True), failure("fatal", kind="Fatal"))):
        t.workflow_id = f"{t.name}-{number}-{t.nonce}"
        await t.start(retry_policy={**QUICK, "non_retryable_error_types": ["Fatal"]})
        await t.step(commands.fail(failure=broken))
        await t.history()


@case
async def retry_next_delay(t):
    """The failure sets the backoff of the next run."""
    await t.start(retry_policy=QUICK)
    await t.step(commands.fail(failure=failure("soon", next_retry_delay="33s")))
    second = await next_run(t)
    await t.history()
    await t.history(second)
    await t.terminate(workflow_execution=t.execution(second))


@case
async def retry_beyond_execution_timeout(t):
    """The next attempt would begin after the execution timeout."""
    await t.start(retry_policy={"initial_interval": "60s"}, workflow_execution_timeout="10s")
    await t.step(commands.fail("first"))
    await t.history()


@case
async def retry_not_when_terminated(t):
    """Termination and cancellation end the chain."""
    await t.start(retry_policy=QUICK)
    await t.terminate()
    await t.history()
    await t.start(retry_policy=QUICK)
    await t.step(commands.canceled())
    await t.history()


@case
async def continue_as_new(t):
    """Continue as new with nothing changed."""
    await t.start(
        input=payloads("in"),
        memo={"fields": {"key": payload("memo")}},
        search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(["one"])}},
        header={"fields": {"head": payload("er")}},
        workflow_execution_timeout="100s",
        workflow_run_timeout="50s",
        workflow_task_timeout="5s",
        retry_policy={"initial_interval": "1s"},
        user_metadata={"summary": payload("short")},
        priority={"priority_key": 2},
    )
    await t.step(commands.again())
    await t.history()
    second = await next_run(t)
    task = await t.poll()
    await t.describe(execution=t.execution(second))
    await t.history(second)
    await t.complete(task, commands.timer(after="1.2s"))
    await t.step(commands.again())
    third = await next_run(t, second)
    await t.step(commands.done())
    await t.history(third)
    await t.describe(execution=t.execution(third))
    await t.describe()


@case
async def continue_as_new_changed(t):
    """Continue as new with everything changed."""
    await t.start(workflow_run_timeout="50s", workflow_task_timeout="5s")
    await t.step(
        commands.again(
            workflow_type={"name": "other kind"},
            task_queue={"name": f"other-{t.nonce}"},
            input=payloads("other"),
            workflow_run_timeout="40s",
            workflow_task_timeout="6s",
            backoff_start_interval="1s",
            retry_policy={"maximum_attempts": 7},
            initiator="CONTINUE_AS_NEW_INITIATOR_WORKFLOW",
            memo={"fields": {"key": payload("new")}},
            search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(["new"])}},
            header={"fields": {"head": payload("new")}},
        )
    )
    await t.history()
    second = await next_run(t)
    await t.history(second)
    task = await t.poll(task_queue={"name": f"other-{t.nonce}"})
    await t.complete(task, commands.done())
    await t.history(second)


@case
async def continue_as_new_last_result(t):
    """What a worker says about result and failure with continue-as-new is carried on."""
    await t.start()
    await t.step(
        commands.again(
            last_completion_result=payloads("last"),
            failure=failure("before"),
            initiator="CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE",
        )
    )
    await t.history()
    second = await next_run(t)
    await t.poll()
    await t.history(second)
    await t.terminate(workflow_execution=t.execution(second))


@case
async def continue_as_new_pending(t):
    """Continue as new while a timer and an activity are pending; signals go to the new run."""
    await t.start()
    await t.step(commands.timer(after="60s"), commands.activity())
    await t.signal(value="old")
    await t.step(commands.again())
    second = await next_run(t)
    await t.signal(value="new", workflow_execution={"workflow_id": t.workflow_id})
    await t.poll()
    await t.history()
    await t.history(second)
    await t.describe(execution=t.execution(second))
    await t.terminate(workflow_execution=t.execution(second))


@case
async def continue_as_new_sticky(t):
    """The first task of the new run is not sticky."""
    await t.start()
    sticky = {
        "worker_task_queue": {
            "name": f"sticky-{t.nonce}",
            "kind": "TASK_QUEUE_KIND_STICKY",
            "normal_name": t.task_queue,
        },
        "schedule_to_start_timeout": "5s",
    }
    await t.step(commands.again(), sticky_attributes=sticky)
    task = await t.poll()
    await t.complete(task, commands.done())
