"""A case: a client script that runs against one server and leaves a transcript of everything that it saw.

The same script runs against the reference and against Perdure; the transcripts must be equal. So a case asserts
nothing itself: it drives, and whatever a helper here calls is written down.
"""

import asyncio
import base64
import contextvars
import json
import time
import uuid

from . import normalise
from .wire import Refused, as_message

POLL_S = 10.0  # how long a task that must come may take
POLL_S_MIN = 2.0  # the reference refuses polls that are shorter
RETRIES_MAX = 10  # of calls that collide with other cases
CLOSE_S = 10.0  # how long a run that must end may take

QUEUE = "@queue"  # stands for the case's task queue in a request
WORKFLOW = "@workflow"  # stands for the case's workflow id in a request

REGISTRY = {}


class Broken(Exception):
    """The script could not go on: what it waited for did not happen."""


def case(function):
    """Registers a coroutine function as a case, named after its module and itself."""
    name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
    REGISTRY[name] = function
    return function


def family(module, prefix, members, script):
    """Registers one case per member of a dict: `script(t, value)` under the name prefix + key."""
    for key, value in members.items():

        async def run(t, value=value):
            await script(t, value)

        run.__doc__ = script.__doc__
        REGISTRY[f"{module.rsplit('.', 1)[-1]}.{prefix}{key}"] = run


def payloads(*values):
    """Values as JSON payloads, in protobuf's JSON form."""
    encoding = base64.b64encode(b"json/plain").decode()
    return {
        "payloads": [
            {"metadata": {"encoding": encoding}, "data": base64.b64encode(json.dumps(value).encode()).decode()}
            for value in values
        ]
    }


def payload(value):
    """One value as a JSON payload."""
    return payloads(value)["payloads"][0]


_BACKGROUND = contextvars.ContextVar("the transcript of what runs in the background", default=None)


class _Background:
    """A running part of a script, with a transcript of its own until somebody awaits it."""

    def __init__(self, entries, coroutine):
        self._entries = entries
        self._own = []
        self._task = asyncio.create_task(self._run(coroutine))

    async def _run(self, coroutine):
        _BACKGROUND.set(self._own)
        return await coroutine

    def done(self):
        return self._task.done()

    def __await__(self):
        try:
            return (yield from self._task.__await__())
        finally:
            self._entries.extend(self._own)
            self._own.clear()


class Case:
    """What a script holds: ids of its own, the server, and the transcript."""

    def __init__(self, name, wire, relative_times=False, with_requests=False):
        self.name = name
        self.wire = wire
        self.namespace = "default"
        nonce = uuid.uuid4().hex[:12]
        self.nonce = nonce
        self.workflow_id = f"{name}-{nonce}"
        self.task_queue = f"queue-{nonce}"
        self.run_id = ""
        self._entries = []
        self._with_requests = with_requests
        self.names = normalise.Names([(nonce, "NONCE")], time.time() if relative_times else None)

    # Transcript

    def transcript(self):
        """What the script saw, in comparable form."""
        return [self._normalised(*entry) for entry in self._entries]

    def note(self, label, content):
        """Writes a plain value down."""
        self._current().append(("note", label, content))

    def _record(self, method, request, outcome):
        self._current().append((method, request, outcome))

    def _current(self):
        entries = _BACKGROUND.get()
        return self._entries if entries is None else entries

    def _normalised(self, method, request, outcome):
        if method == "note":
            return {"note": self.names.plain({request: outcome})}
        entry = {"call": method}
        if self._with_requests:
            entry["request"] = normalise.message(as_message(method, request), self.names)
        if isinstance(outcome, Refused):
            entry.update(normalise.refusal(outcome, self.names))
        else:
            entry["response"] = normalise.message(outcome, self.names)
        return entry

    def background(self, coroutine):
        """Runs something of the script beside the rest of it, now. What it saw is written down where it is awaited."""
        return _Background(self._current(), coroutine)

    # Calls

    def _fill(self, value):
        """Puts the case's own ids in the place of `QUEUE` and `WORKFLOW`, which tables of requests use."""
        if isinstance(value, dict):
            return {key: self._fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._fill(item) for item in value]
        return (
            {QUEUE: self.task_queue, WORKFLOW: self.workflow_id}.get(value, value) if isinstance(value, str) else value
        )

    async def call(self, method, request=None, record=True, timeout_s=20.0, metadata=None, **fields):
        """A call that is expected to succeed; an error is written down and ends the script."""
        if not hasattr(request, "DESCRIPTOR"):
            request = self._fill({**(request or {}), **fields})
        try:
            response = await self._retried(method, request, timeout_s=timeout_s, metadata=metadata)
        except Refused as error:
            self._record(method, request, error)
            raise
        if record:
            self._record(method, request, response)
        return response

    async def _retried(self, method, request, **options):
        """The reference lets concurrent changes of namespaces collide, and expects clients to try again."""
        for _ in range(RETRIES_MAX):
            try:
                return await self.wire.call(method, request, **options)
            except Refused as error:
                if error.code != "UNAVAILABLE" or not method.endswith("Namespace"):
                    raise
        return await self.wire.call(method, request, **options)

    async def attempt(self, method, request=None, **fields):
        """A call whose answer, error or not, is what the case is about. Answers None for an error."""
        try:
            return await self.call(method, request, **fields)
        except Refused:
            return None

    # Workflows

    def start_request(self, **fields):
        request = {
            "namespace": self.namespace,
            "workflow_id": self.workflow_id,
            "workflow_type": {"name": "kind"},
            "task_queue": {"name": self.task_queue},
            "identity": "starter",
            "request_id": str(uuid.uuid4()),
        }
        request.update(fields)
        return {key: value for key, value in request.items() if value is not None}

    async def start(self, **fields):
        """Starts the case's workflow; its run becomes the one that the other helpers mean."""
        response = await self.call("StartWorkflowExecution", self.start_request(**fields))
        self.run_id = response.run_id
        return response

    def execution(self, run_id=None, workflow_id=None):
        return {"workflow_id": workflow_id or self.workflow_id, "run_id": self.run_id if run_id is None else run_id}

    async def signal(self, name="signal", value=None, **fields):
        request = {
            "namespace": self.namespace,
            "workflow_execution": self.execution(),
            "signal_name": name,
            "identity": "signaller",
            "request_id": str(uuid.uuid4()),
        }
        if value is not None:
            request["input"] = payloads(value)
        return await self.call("SignalWorkflowExecution", {**request, **fields})

    async def cancel(self, **fields):
        request = {
            "namespace": self.namespace,
            "workflow_execution": self.execution(),
            "identity": "canceller",
            "request_id": str(uuid.uuid4()),
        }
        return await self.call("RequestCancelWorkflowExecution", {**request, **fields})

    async def terminate(self, **fields):
        request = {
            "namespace": self.namespace,
            "workflow_execution": self.execution(),
            "reason": "because",
            "identity": "terminator",
        }
        return await self.call("TerminateWorkflowExecution", {**request, **fields})

    async def describe(self, **fields):
        request = {"namespace": self.namespace, "execution": self.execution()}
        return await self.call("DescribeWorkflowExecution", {**request, **fields})

    async def history(self, run_id=None, **fields):
        """The whole history, written down."""
        request = {"namespace": self.namespace, "execution": self.execution(run_id), **fields}
        return await self.call("GetWorkflowExecutionHistory", request)

    async def wait_closed(self, run_id=None):
        """Waits until the run has closed, and answers its close event. Writes nothing down."""
        request = {
            "namespace": self.namespace,
            "execution": self.execution(run_id),
            "wait_new_event": True,
            "history_event_filter_type": "HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT",
        }
        end = time.monotonic() + CLOSE_S
        while time.monotonic() < end:
            response = await self.call("GetWorkflowExecutionHistory", request, record=False)
            if response.history.events:
                return response.history.events[-1]
            request["next_page_token"] = base64.b64encode(response.next_page_token).decode()
        raise Broken("the run did not close in time")

    async def wait_described(self, condition, what):
        """Describes the run until `condition` holds of the answer. Writes nothing down."""
        request = {"namespace": self.namespace, "execution": self.execution()}
        return await self.wait("DescribeWorkflowExecution", request, condition, what)

    async def wait_history(self, condition, what, run_id=None):
        """Reads the history until `condition` holds of its events. Writes nothing down."""
        request = {"namespace": self.namespace, "execution": self.execution(run_id)}
        return await self.wait(
            "GetWorkflowExecutionHistory", request, lambda response: condition(response.history.events), what
        )

    async def wait_event(self, event_type, run_id=None):
        """Waits until the history contains an event of that type, e.g. 'TIMER_FIRED'."""
        from temporalio.api.enums.v1 import EventType

        number = EventType.Value("EVENT_TYPE_" + event_type)
        return await self.wait_history(
            lambda events: any(event.event_type == number for event in events), f"an event {event_type}", run_id
        )

    async def wait(self, method, request, condition, what):
        """Repeats a call until `condition` holds of its answer. Writes nothing down."""
        end = time.monotonic() + POLL_S
        while time.monotonic() < end:
            response = await self.call(method, request, record=False)
            if condition(response):
                return response
            await asyncio.sleep(0.05)  # the pace of looking, not a wait for something to be done by then
        raise Broken(f"waited in vain for {what}")

    async def eventually(self, method, request):
        """Repeats a call until it is not answered with NOT_FOUND: what was made may take a moment to be known."""
        end = time.monotonic() + POLL_S
        while True:
            try:
                return await self.wire.call(method, request)
            except Refused as error:
                if error.code != "NOT_FOUND" or time.monotonic() > end:
                    raise
            await asyncio.sleep(0.1)

    # Workflow tasks

    async def poll(self, record=True, task_queue=None, identity="worker", **fields):
        """Polls until a workflow task comes."""
        request = {
            "namespace": self.namespace,
            "task_queue": task_queue or {"name": self.task_queue},
            "identity": identity,
            **fields,
        }
        return await self._poll("PollWorkflowTaskQueue", request, record)

    async def poll_activity(self, record=True, identity="worker", **fields):
        """Polls until an activity task comes."""
        request = {
            "namespace": self.namespace,
            "task_queue": {"name": self.task_queue},
            "identity": identity,
            **fields,
        }
        return await self._poll("PollActivityTaskQueue", request, record)

    async def _poll(self, method, request, record):
        end = time.monotonic() + POLL_S
        while time.monotonic() < end - POLL_S_MIN:
            try:
                response = await self.wire.call(method, request, timeout_s=end - time.monotonic())
            except Refused as error:
                if error.code in ("DEADLINE_EXCEEDED", "CANCELLED"):
                    break
                self._record(method, request, error)
                raise
            if response.task_token:
                if record:
                    self._record(method, request, response)
                return response
        raise Broken(f"{method}: no task came")

    async def complete(self, task, *commands, **fields):
        """Answers a workflow task."""
        request = {
            "namespace": self.namespace,
            "task_token": token(task),
            "identity": "worker",
            "commands": list(commands),
            **fields,
        }
        return await self.call("RespondWorkflowTaskCompleted", request)

    async def step(self, *commands, **fields):
        """Polls for a workflow task and answers it. Only the answer is written down."""
        task = await self.poll(record=False)
        await self.complete(task, *commands, **fields)
        return task

    async def fail_task(self, task, **fields):
        request = {
            "namespace": self.namespace,
            "task_token": token(task),
            "identity": "worker",
            "cause": "WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE",
            "failure": failure("task failed"),
            **fields,
        }
        return await self.call("RespondWorkflowTaskFailed", request)

    # Activities

    async def complete_activity(self, task, value="done", **fields):
        request = {
            "namespace": self.namespace,
            "task_token": token(task),
            "identity": "worker",
            "result": payloads(value),
        }
        return await self.call("RespondActivityTaskCompleted", {**request, **fields})

    async def fail_activity(self, task, message="broken", **fields):
        request = {
            "namespace": self.namespace,
            "task_token": token(task),
            "identity": "worker",
            "failure": failure(message),
        }
        return await self.call("RespondActivityTaskFailed", {**request, **fields})

    async def heartbeat(self, task, value="beat", **fields):
        request = {
            "namespace": self.namespace,
            "task_token": token(task),
            "identity": "worker",
            "details": payloads(value),
        }
        return await self.call("RecordActivityTaskHeartbeat", {**request, **fields})

    async def cancel_activity(self, task, value="stopped", **fields):
        request = {
            "namespace": self.namespace,
            "task_token": token(task),
            "identity": "worker",
            "details": payloads(value),
        }
        return await self.call("RespondActivityTaskCanceled", {**request, **fields})


def token(task):
    """A task's token in protobuf's JSON form."""
    return base64.b64encode(task.task_token).decode()


def failure(text, kind="Kind", non_retryable=False, next_retry_delay=None):
    """An application failure, as an SDK would send it."""
    info = {"type": kind, "non_retryable": non_retryable}
    if next_retry_delay:
        info["next_retry_delay"] = next_retry_delay
    return {"message": text, "source": "oracle", "stack_trace": "at here", "application_failure_info": info}
