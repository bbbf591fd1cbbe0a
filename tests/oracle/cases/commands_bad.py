"""Commands that are wrong: each fails the workflow task, with its cause and message."""

from lib import commands
from lib.case import failure, family, payload, token

LONG = "x" * 1001


def _without(command, *path):
    """The command without the attribute at `path`."""
    attributes = next(value for key, value in command.items() if key.endswith("_attributes"))
    for step in path[:-1]:
        attributes = attributes[step]
    del attributes[path[-1]]
    return command


def _bare(kind):
    return {"command_type": "COMMAND_TYPE_" + kind}


ACTIVITY = {
    "no_attributes": [_bare("SCHEDULE_ACTIVITY_TASK")],
    "no_id": [commands.activity("")],
    "no_type": [commands.activity(activity_type=None)],
    "empty_type": [commands.activity(activity_type={"name": ""})],
    "long_id": [commands.activity(LONG)],
    "long_type": [commands.activity(activity_type={"name": LONG})],
    "no_timeout": [commands.activity(schedule_to_close_timeout=None)],
    "only_schedule_to_start": [commands.activity(schedule_to_close_timeout=None, schedule_to_start_timeout="5s")],
    "negative_schedule_to_close": [commands.activity(schedule_to_close_timeout="-1s")],
    "negative_schedule_to_start": [commands.activity(schedule_to_start_timeout="-1s")],
    "negative_start_to_close": [commands.activity(start_to_close_timeout="-1s")],
    "negative_heartbeat": [commands.activity(heartbeat_timeout="-1s")],
    "no_queue": [commands.activity(task_queue=None)],
    "empty_queue": [commands.activity(task_queue={})],
    "long_queue": [commands.activity(task_queue={"name": LONG})],
    "reserved_queue": [commands.activity(task_queue={"name": "/_sys/queue/1"})],
    "bad_retry": [commands.activity(retry_policy={"initial_interval": "-1s"})],
    "bad_coefficient": [commands.activity(retry_policy={"backoff_coefficient": 0.5})],
    "bad_maximum": [commands.activity(retry_policy={"initial_interval": "5s", "maximum_interval": "1s"})],
    "bad_attempts": [commands.activity(retry_policy={"maximum_attempts": -1})],
    "bad_priority": [commands.activity(priority={"priority_key": -1})],
    "duplicate_id": [commands.activity("same"), commands.activity("same")],
    "cancel_unknown": [commands.cancel_activity(99)],
    "cancel_zero": [commands.cancel_activity(0)],
    "cancel_no_attributes": [_bare("REQUEST_CANCEL_ACTIVITY_TASK")],
}
TIMER = {
    "no_attributes": [_bare("START_TIMER")],
    "no_id": [commands.timer("")],
    "long_id": [commands.timer(LONG)],
    "negative_timeout": [commands.timer(after="-1s")],
    "duplicate_id": [commands.timer("same"), commands.timer("same")],
    "cancel_no_attributes": [_bare("CANCEL_TIMER")],
    "cancel_no_id": [commands.cancel_timer("")],
    "cancel_long_id": [commands.cancel_timer(LONG)],
    "cancel_unknown": [commands.cancel_timer("unknown")],
}
CLOSE = {
    "complete_no_attributes": [_bare("COMPLETE_WORKFLOW_EXECUTION")],
    "fail_no_attributes": [_bare("FAIL_WORKFLOW_EXECUTION")],
    "fail_no_failure": [_without(commands.fail(), "failure")],
    "cancel_no_attributes": [_bare("CANCEL_WORKFLOW_EXECUTION")],
    "continue_no_attributes": [_bare("CONTINUE_AS_NEW_WORKFLOW_EXECUTION")],
    "continue_long_type": [commands.again(workflow_type={"name": LONG})],
    "continue_long_queue": [commands.again(task_queue={"name": LONG})],
    "continue_negative_run_timeout": [commands.again(workflow_run_timeout="-1s")],
    "continue_negative_task_timeout": [commands.again(workflow_task_timeout="-1s")],
    "continue_negative_backoff": [commands.again(backoff_start_interval="-1s")],
    "continue_bad_retry": [commands.again(retry_policy={"backoff_coefficient": 0.1})],
    "continue_bad_search_attributes": [
        commands.again(search_attributes={"indexed_fields": {"Unknown": payload("value")}})
    ],
}
OTHER = {
    "unspecified": [_bare("UNSPECIFIED")],
    "wrong_attributes": [{**commands.timer(), "command_type": "COMMAND_TYPE_CANCEL_TIMER"}],
    "marker_no_attributes": [_bare("RECORD_MARKER")],
    "marker_no_name": [commands.marker("")],
    "marker_long_name": [commands.marker(LONG)],
    "upsert_no_attributes": [_bare("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES")],
    "upsert_empty": [commands.upsert_search_attributes()],
    "upsert_no_fields": [commands.upsert_search_attributes(search_attributes={})],
    "upsert_unknown": [
        commands.upsert_search_attributes(search_attributes={"indexed_fields": {"Unknown": payload("value")}})
    ],
    "upsert_system": [
        commands.upsert_search_attributes(search_attributes={"indexed_fields": {"WorkflowType": payload("value")}})
    ],
    "upsert_wrong_type": [
        commands.upsert_search_attributes(search_attributes={"indexed_fields": {"TemporalChangeVersion": payload(12)}})
    ],
    "modify_no_attributes": [_bare("MODIFY_WORKFLOW_PROPERTIES")],
    "modify_empty": [commands.modify_properties()],
    "modify_no_fields": [commands.modify_properties(upserted_memo={})],
    "good_before_bad": [commands.timer("good", "60s"), commands.marker(), commands.timer("bad", "-1s")],
    "two_bad": [commands.timer("", "5s"), commands.marker("")],
}
EXTERNAL = {
    "signal_no_attributes": [_bare("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION")],
    "signal_no_execution": [_without(commands.signal_external("other"), "execution")],
    "signal_no_workflow_id": [commands.signal_external("")],
    "signal_long_workflow_id": [commands.signal_external(LONG)],
    "signal_bad_run_id": [commands.signal_external("other", execution={"workflow_id": "other", "run_id": "no uuid"})],
    "signal_no_name": [commands.signal_external("other", "")],
    "signal_unknown_namespace": [commands.signal_external("other", namespace="unknown")],
    "cancel_no_attributes": [_bare("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION")],
    "cancel_no_workflow_id": [commands.cancel_external("")],
    "cancel_bad_run_id": [commands.cancel_external("other", run_id="no uuid")],
    "cancel_unknown_namespace": [commands.cancel_external("other", namespace="unknown")],
    "child_no_id": [commands.child("")],
    "child_long_id": [commands.child(LONG)],
    "child_no_type": [_without(commands.child("child"), "workflow_type")],
    "child_long_type": [commands.child("child", workflow_type={"name": LONG})],
    "child_long_queue": [commands.child("child", task_queue={"name": LONG})],
    "child_negative_run_timeout": [commands.child("child", workflow_run_timeout="-1s")],
    "child_negative_execution_timeout": [commands.child("child", workflow_execution_timeout="-1s")],
    "child_negative_task_timeout": [commands.child("child", workflow_task_timeout="-1s")],
    "child_bad_retry": [commands.child("child", retry_policy={"backoff_coefficient": 0.1})],
    "child_bad_cron": [commands.child("child", cron_schedule="every day")],
    "child_unknown_namespace": [commands.child("child", namespace="unknown")],
    "signal_other_namespace": [commands.signal_external("other", namespace="temporal-system")],
    "cancel_other_namespace": [commands.cancel_external("other", namespace="temporal-system")],
    "child_other_namespace": [commands.child("child", namespace="temporal-system")],
    "cancel_long_workflow_id": [commands.cancel_external(LONG)],
    "child_bad_search_attributes": [
        commands.child("child", search_attributes={"indexed_fields": {"Unknown": payload("value")}})
    ],
    "child_bad_priority": [commands.child("child", priority={"priority_key": -1})],
    "child_reserved_queue": [commands.child("child", task_queue={"name": "/_sys/queue"})],
    "child_never_cron": [commands.child("child", cron_schedule="0 0 30 2 *")],
}


async def _answer(t, bad):
    """The answer is refused or the task fails; the history says why, and the next task is an attempt more."""
    await t.start()
    task = await t.poll(record=False)
    await t.attempt(
        "RespondWorkflowTaskCompleted", namespace="default", identity="worker", task_token=token(task), commands=bad
    )
    await t.history()
    await t.describe()
    await t.attempt("TerminateWorkflowExecution", namespace="default", workflow_execution=t.execution())


family(__name__, "activity_", ACTIVITY, _answer)
family(__name__, "timer_", TIMER, _answer)
family(__name__, "close_", CLOSE, _answer)
family(__name__, "other_", OTHER, _answer)
family(__name__, "external_", EXTERNAL, _answer)


async def _over_two_tasks(t, answers):
    """What an earlier task made is in the way of a command of a later one."""
    await t.start()
    await t.step(*answers[0])
    await t.signal()
    task = await t.poll(record=False)
    await t.attempt(
        "RespondWorkflowTaskCompleted",
        namespace="default",
        identity="worker",
        task_token=token(task),
        commands=answers[1],
    )
    await t.history()
    await t.terminate()


family(
    __name__,
    "earlier_",
    {
        "activity": [[commands.activity("same")], [commands.activity("same")]],
        "timer": [[commands.timer("same", "60s")], [commands.timer("same", "60s")]],
        "timer_canceled_twice": [
            [commands.timer("same", "60s")],
            [commands.cancel_timer("same"), commands.cancel_timer("same")],
        ],
        "timer_id_again_after_cancel": [
            [commands.timer("same", "60s")],
            [commands.cancel_timer("same"), commands.timer("same", "60s")],
        ],
        "activity_canceled_twice": [
            [commands.activity("same")],
            [commands.cancel_activity(5), commands.cancel_activity(5)],
        ],
        "activity_id_again_after_cancel": [
            [commands.activity("same")],
            [commands.cancel_activity(5), commands.activity("same")],
        ],
    },
    _over_two_tasks,
)


async def _failure_twice(t, bad):
    """The same bad answer twice: the second is dropped, and the task times out."""
    await t.start(workflow_task_timeout="1s")
    for _ in range(2):
        task = await t.poll()
        await t.attempt(
            "RespondWorkflowTaskCompleted", namespace="default", identity="worker", task_token=token(task), commands=bad
        )
        await t.history()
    await t.fail_task(await t.poll(record=False), failure=failure("then this"))
    await t.history()
    await t.step(commands.done())
    await t.history()


family(__name__, "twice_", {"timer": [commands.timer("")]}, _failure_twice)
