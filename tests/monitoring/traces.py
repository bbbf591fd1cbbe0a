"""What the spans of a request and of a whole workflow must say, and how they hang together."""


# What a client's own tracing could have sent.
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = f"00-{TRACE_ID}-{SPAN_ID}-01"


def called(spans, service, name):
    return [s for s in spans if s["service"] == service and s["name"] == name]


def below(spans, span):
    return [s for s in spans if s.get("parentSpanId") == span["spanId"]]


def times_problem(spans):
    """None when each span ends after its beginning, and parts lie in what they are parts of."""
    by_id = {s["spanId"]: s for s in spans}
    for s in spans:
        begin, end = int(s["startTimeUnixNano"]), int(s["endTimeUnixNano"])
        if end < begin:
            return f"{s['name']} ends before it begins"
        whole = by_id.get(s.get("parentSpanId"))
        inside = s["kind"] == 1 and whole  # an internal part
        if inside and (begin < int(whole["startTimeUnixNano"]) or end > int(whole["endTimeUnixNano"])):
            return f"{s['name']} is longer than {whole['name']}, whose part it is"
    return None


def request_problem(sink, workflow_id):
    """None when the start of that workflow was traced from the edge into history's commit."""
    spans = list(sink.spans)
    starts = called(spans, "frontend", "StartWorkflowExecution")
    edge = next((s for s in starts if s["attributes"].get("workflow_id") == workflow_id), None)
    if not edge:
        return f"no span of the edge, of {len(spans)}"
    inner = next((s for s in below(spans, edge) if s["service"] == "history"), None)
    if not inner or inner["attributes"].get("workflow_id") != workflow_id:
        return "no span of history inside the edge's"
    parts = {s["name"] for s in below(spans, inner)}
    return times_problem(spans) if {"decide", "commit"} <= parts else f"history's span has the parts {parts}"


def task_problem(spans, scheduled_by, kind, poll, answer):
    """(the worker's answer, None) when a task can be followed from what scheduled it to that; else (None, why)."""
    task = next((s for s in below(spans, scheduled_by) if s["service"] == "matching" and s["name"] == kind), None)
    if not task:
        return None, f"no {kind} in matching below {scheduled_by['name']}"
    if task["attributes"].get("outcome") != "started" or not task["attributes"].get("task_queue"):
        return None, f"matching said of the {kind}: {task['attributes']}"
    parts = {s["name"] for s in below(spans, task) if s["service"] == "matching"}
    if not {"wait for a poll", "handed out"} <= parts:
        return None, f"matching's parts of the {kind} are {parts}"
    hand = next((s for s in below(spans, task) if s["name"] == poll), None)
    if not hand or hand["attributes"].get("outcome") != "started" or "poll_waited_ms" not in hand["attributes"]:
        return None, f"the {kind} was not seen to reach a poll"
    start = next((s for s in below(spans, hand) if s["service"] == "history"), None)
    if not start or "commit" not in {s["name"] for s in below(spans, start)}:
        return None, f"history was not seen to start the {kind}"
    said = next((s for s in below(spans, start) if s["name"] == answer), None)
    if not said:
        return None, f"no {answer} below the start of the {kind}"
    inner = next((s for s in below(spans, said) if s["service"] == "history"), None)
    return (inner, None) if inner else (None, f"no span of history inside {answer}")


def workflow_problem(sink, workflow_id):
    """None when a workflow with one activity is one trace, from its start to its last answer."""
    spans = list(sink.spans)
    starts = [s for s in called(spans, "frontend", "StartWorkflowExecution")
              if s["attributes"].get("workflow_id") == workflow_id]  # fmt: skip
    at = next((s for s in below(spans, starts[0]) if s["service"] == "history"), None) if starts else None
    if not at:
        return "its start was not traced"
    trace = [s for s in spans if s["traceId"] == at["traceId"]]
    for kind, poll, answer in (
        ("workflow task", "PollWorkflowTaskQueue", "RespondWorkflowTaskCompleted"),
        ("activity task", "PollActivityTaskQueue", "RespondActivityTaskCompleted"),
        ("workflow task", "PollWorkflowTaskQueue", "RespondWorkflowTaskCompleted"),
    ):
        at, problem = task_problem(trace, at, kind, poll, answer)
        if problem:
            return f"{problem}; the trace has {sorted((s['service'], s['name']) for s in trace)}"
    return times_problem(trace)


def link_problem(sink, workflow_id):
    """None when a worker's answer stays in the trace that the worker says, and links to the task's start."""
    spans = [s for s in sink.spans if s["traceId"] == TRACE_ID]
    answers = [s for s in spans if s["name"] == "RespondActivityTaskCompleted"
               and s["attributes"].get("workflow_id") == workflow_id]  # fmt: skip
    if not answers:
        return f"no answer in the worker's trace, of {len(spans)} spans"
    if answers[0].get("parentSpanId") != SPAN_ID:
        return "the answer is not below what the worker said"
    links = {link["spanId"] for link in answers[0].get("links", ())}
    starts = {s["spanId"] for s in called(spans, "history", "history")
              if s["attributes"].get("method") == "RecordActivityTaskStarted"}  # fmt: skip
    return None if links & starts else f"it links to {links}, the starts are {starts}"
