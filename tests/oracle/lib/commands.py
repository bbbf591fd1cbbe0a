"""The commands that a worker can answer a workflow task with, in protobuf's JSON form."""

from .case import QUEUE, failure, payloads


def _command(kind, attributes, fields):
    field = kind.lower() + "_command_attributes"
    return {"command_type": "COMMAND_TYPE_" + kind, field: {**attributes, **fields}}


def done(value="result", **fields):
    return _command("COMPLETE_WORKFLOW_EXECUTION", {"result": payloads(value)}, fields)


def fail(text="workflow broken", **fields):
    return _command("FAIL_WORKFLOW_EXECUTION", {"failure": failure(text)}, fields)


def canceled(value="canceled", **fields):
    return _command("CANCEL_WORKFLOW_EXECUTION", {"details": payloads(value)}, fields)


def again(**fields):
    """Continue as new, with everything else as it is."""
    return _command("CONTINUE_AS_NEW_WORKFLOW_EXECUTION", {}, fields)


def timer(timer_id="t", after="1s", **fields):
    return _command("START_TIMER", {"timer_id": timer_id, "start_to_fire_timeout": after}, fields)


def cancel_timer(timer_id="t", **fields):
    return _command("CANCEL_TIMER", {"timer_id": timer_id}, fields)


def activity(activity_id="a", **fields):
    attributes = {
        "activity_id": activity_id,
        "activity_type": {"name": "work"},
        "task_queue": {"name": QUEUE},
        "input": payloads("in"),
        "schedule_to_close_timeout": "60s",
    }
    attributes.update(fields)
    return _command("SCHEDULE_ACTIVITY_TASK", {k: v for k, v in attributes.items() if v is not None}, {})


def cancel_activity(scheduled_event_id, **fields):
    return _command("REQUEST_CANCEL_ACTIVITY_TASK", {"scheduled_event_id": scheduled_event_id}, fields)


def marker(name="marker", **fields):
    return _command("RECORD_MARKER", {"marker_name": name, "details": {"data": payloads("noted")}}, fields)


def upsert_search_attributes(**fields):
    return _command("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", {}, fields)


def modify_properties(**fields):
    return _command("MODIFY_WORKFLOW_PROPERTIES", {}, fields)


def signal_external(workflow_id, name="signal", **fields):
    attributes = {"execution": {"workflow_id": workflow_id}, "signal_name": name}
    return _command("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION", attributes, fields)


def cancel_external(workflow_id, **fields):
    return _command("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION", {"workflow_id": workflow_id}, fields)


def child(workflow_id, **fields):
    attributes = {"workflow_id": workflow_id, "workflow_type": {"name": "child"}}
    attributes.update(fields)
    return _command("START_CHILD_WORKFLOW_EXECUTION", attributes, {})
