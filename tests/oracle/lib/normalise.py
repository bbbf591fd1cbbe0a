"""Turns protobuf messages into plain, comparable values: what may differ between two runs is replaced by a name.

Ids become `<id 1>`, `<id 2>`, … in order of first appearance within a case, so that the same id in two places
still has to be the same id. Times become `<time>`. Tokens are opaque and become `<token>`. Everything else is kept.
"""

import base64
import re

from google.protobuf import duration_pb2, timestamp_pb2

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# The server's own counters: they say nothing about behaviour.
DROPPED = {
    "temporal.api.history.v1.HistoryEvent.task_id",
    "temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse.backlog_count_hint",
    "temporal.api.workflowservice.v1.PollWorkflowTaskQueueResponse.poller_scaling_decision",
    "temporal.api.workflowservice.v1.PollActivityTaskQueueResponse.poller_scaling_decision",
    "temporal.api.workflow.v1.WorkflowExecutionInfo.state_transition_count",
    # What a server can do beyond what the cases are about; each says what is true of itself.
    "temporal.api.namespace.v1.NamespaceInfo.capabilities",
    "temporal.api.namespace.v1.NamespaceInfo.supports_schedules",
    # Whether the task was given to a poll that waited already or to one that came later; timing decides.
    "temporal.api.workflow.v1.WorkflowExecutionInfo.task_queue_sync_match",
}
# Depends on how the server encodes what it stores, or on its settings; that it is there at all is compared.
SIZES = {
    "temporal.api.history.v1.WorkflowTaskStartedEventAttributes.history_size_bytes",
    "temporal.api.workflow.v1.WorkflowExecutionInfo.history_size_bytes",
    "temporal.api.namespace.v1.NamespaceInfo.Limits.workflow_task_completion_size_limit_error",
}
# Measured time, as opposed to a duration that somebody asked for.
ELAPSED = {
    "temporal.api.workflow.v1.WorkflowExecutionInfo.execution_duration",
}
# What is left of an interval that began earlier, if anything is: left out unless it is a whole one.
REMAINDERS = {
    "temporal.api.history.v1.WorkflowExecutionStartedEventAttributes.first_workflow_task_backoff",
    "temporal.api.history.v1.WorkflowExecutionContinuedAsNewEventAttributes.backoff_start_interval",
}
# A timeout that is drawn out at random after repeated failures.
JITTERED = {
    "temporal.api.history.v1.WorkflowTaskScheduledEventAttributes.start_to_close_timeout",
}
# Computed from two times that were taken one after the other.
ROUNDED = {
    "temporal.api.workflow.v1.PendingActivityInfo.current_retry_interval",
}
# Sets that a server lists in any order, and what tells their members apart.
SETS = {
    "temporal.api.workflowservice.v1.DescribeWorkflowExecutionResponse.pending_activities": "activity_id",
}
TOKENS = {"task_token", "next_page_token", "data_token"}


class Names:
    """The stand-ins given out so far. One a case and server."""

    def __init__(self, literals=(), start_time=None):
        self._ids = {}
        self._literals = list(literals)
        self._start_time = start_time

    def text(self, value):
        for literal, name in self._literals:
            value = value.replace(literal, name)
        return UUID.sub(lambda m: self._id(m.group()), value)

    def plain(self, value):
        """The same for values that are no messages."""
        if isinstance(value, dict):
            return {self.plain(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def _id(self, uuid):
        return self._ids.setdefault(uuid, f"<id {len(self._ids) + 1}>")

    def time(self, stamp):
        if stamp.seconds == 0 and stamp.nanos == 0:
            return "<zero time>"
        if stamp.seconds < 0:
            return "<time before 1970>"
        if self._start_time is None:
            return "<time>"
        return f"<{stamp.seconds + stamp.nanos / 1e9 - self._start_time:+.2f}s>"


def _duration(value):
    text = f"{value.seconds + value.nanos / 1e9:.9f}".rstrip("0").rstrip(".")
    return text + "s"


def _bytes(value):
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode("ascii")


def _scalar(field, value, names):
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if field.type == field.TYPE_BYTES:
        return "<token>" if field.name in TOKENS else names.text(_bytes(value))
    if field.type == field.TYPE_STRING:
        return names.text(value)
    if field.full_name in SIZES:
        return "<size>"
    return value


def _value(field, value, names):
    if field.full_name in ELAPSED:
        return "<elapsed>"
    if field.full_name in JITTERED and value.nanos:
        return "<with jitter>"
    if field.full_name in ROUNDED:
        return f"{value.ToNanoseconds() / 1e9:.2f}s"
    return message(value, names) if field.message_type is not None else _scalar(field, value, names)


def _map(field, value, names):
    value_field = field.message_type.fields_by_name["value"]

    def order(key):
        # A generated key says nothing about where its entry belongs; the value does.
        return ("", str(value[key])) if UUID.fullmatch(str(key)) else (str(key), "")

    return {names.text(str(key)): _value(value_field, value[key], names) for key in sorted(value, key=order)}


def _is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _any(value, names):
    from google.protobuf import symbol_database

    name = value.TypeName()
    try:
        inner = symbol_database.Default().GetSymbol(name)()
    except KeyError:
        return {"@type": name}
    value.Unpack(inner)
    return {"@type": name, **message(inner, names)}


def message(value, names):
    """The set fields of a message as a dict (or a string for times and durations)."""
    if isinstance(value, timestamp_pb2.Timestamp):
        return names.time(value)
    if isinstance(value, duration_pb2.Duration):
        return _duration(value)
    if value.DESCRIPTOR.full_name == "google.protobuf.Any":
        return _any(value, names)
    plain = {}
    for field, content in value.ListFields():
        if field.full_name in DROPPED:
            continue
        if field.full_name in REMAINDERS and content.nanos % 10_000_000:
            continue
        if _is_map(field):
            plain[field.name] = _map(field, content, names)
        elif field.full_name in SETS:
            members = sorted(content, key=lambda item: getattr(item, SETS[field.full_name]))
            plain[field.name] = [message(item, names) for item in members]
        elif field.is_repeated:
            plain[field.name] = [_value(field, item, names) for item in content]
        else:
            plain[field.name] = _value(field, content, names)
    return plain


def refusal(error, names):
    """An error as the client sees it: code, text and typed details."""
    return {
        "refused": error.code,
        "text": names.text(error.text),
        "details": [_any(detail, names) for detail in error.details],
    }
