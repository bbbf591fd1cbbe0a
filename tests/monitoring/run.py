#!/usr/bin/env python3
"""Does what deploy/monitoring shows and watches exist? Prints 'N passed, N failed'.

Starts a cluster of its own, with a sink for traces; needs the daemons built.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "oracle" / "lib"), str(ROOT / "tools" / "lib"), str(HERE)]

import bootstrap  # noqa: E402
import collector  # noqa: E402
import traces  # noqa: E402

WAIT_S = 20


@contextlib.contextmanager
def running(sink):
    """A cluster that traces everything and calls everything slow."""
    from cluster import Cluster, Options
    from test import free_port

    settings = {
        "PERDURE_TRACE_ENDPOINT": sink.url,
        "PERDURE_TRACE_HEADERS": f"authorization=Bearer%20{collector.KEY}",
        "PERDURE_TRACE_GZIP": "true",
        "PERDURE_TRACE_SAMPLE_RATIO": "1000000",
        "PERDURE_LOG_SLOW_OPERATION": "1us",
        "PERDURE_LOG_REPEATS_MAX": "100000",
        "PERDURE_HISTORY_CHECKPOINT_INTERVAL": "1s",
    }
    os.environ.update(settings)
    data = Path(tempfile.mkdtemp(prefix="perdure-monitoring-"))
    data.chmod(0o755)  # PostgreSQL's user has to get in
    cluster = Cluster(data)
    try:
        with cluster.locked():
            cluster.start(Options(port=free_port()), lambda text: None)
        yield cluster
    finally:
        cluster.reload()
        cluster.stop()
        shutil.rmtree(data, ignore_errors=True)


async def traffic(address, workflow_id):
    """Requests that succeed, one that fails; returns when they have."""
    from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    client = await Client.connect(address)
    handle = await client.start_workflow("Unknown", id=workflow_id, task_queue="nobody")
    await handle.signal("heard")
    await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace="default", execution={"workflow_id": workflow_id}, maximum_page_size=10
        )
    )
    with contextlib.suppress(RPCError):
        await client.get_workflow_handle("there is none").describe()


def one_workflow(address, workflow_id, *context):
    """A workflow with an activity, through a worker; with a trace context that all its requests bring, if given."""
    command = [sys.executable, str(HERE / "workflow.py"), address, workflow_id, *context]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{workflow_id}: ended with {done.returncode}:\n{done.stdout}")


def metrics_of(daemon):
    with urllib.request.urlopen(f"http://{daemon.http}/metrics", timeout=10) as answer:
        return answer.read().decode()


def scraped(cluster):
    """{metric: label names} of all daemons; histograms under their own name too."""
    found = {}
    for daemon in cluster.daemons:
        text = metrics_of(daemon)
        for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.M):
            keys = set(re.findall(r'(\w+)="', labels))
            found.setdefault(name, set()).update(keys)
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            if base != name and f"# TYPE {base} histogram" in text:
                found.setdefault(base, set()).update(keys - {"le"})
    return found


def check_expression(expression, found):
    import names

    if expression.count("(") != expression.count(")"):
        return "its brackets do not match"
    for metric, labels in names.used_by(expression).items():
        if metric not in found and names.described().get(metric):
            continue  # only under conditions that the table says
        if metric not in found:
            return f"no daemon exports {metric}"
        if labels - found[metric] and len(names.used_by(expression)) == 1:
            return f"{metric} has no label {', '.join(sorted(labels - found[metric]))}"
    return None if names.used_by(expression) else "it names no metric"


def metrics_cases(found):
    import names

    for title, expression in names.panels():
        yield f"panel {title}", check_expression(expression, found)
    for name, rule in names.alerts():
        yield f"alert {name}", check_expression(rule["expr"], found)
        missing = {"summary", "what"} - rule["annotations"].keys()
        good = rule["labels"]["severity"] in ("page", "ticket") and not missing
        yield f"alert {name} says how bad and what to do", None if good else "it does not"
    table = names.described()
    for name, conditional in table.items():
        yield f"table: {name}", None if conditional or name in found else "no daemon exports it"
    for theirs, ours in names.counterparts():
        yield f"counterpart of {theirs}", None if ours in found or table.get(ours) else f"no daemon exports {ours}"
    undescribed = found.keys() - table.keys() - {f"{n}_{part}" for n in table for part in ("bucket", "sum", "count")}
    print(f"exported, not in the table: {', '.join(sorted(undescribed)) or 'none'}", flush=True)


# What says, of each operation, where its time went; by role and method.
SLOW = {
    ("frontend", "StartWorkflowExecution"): {"took", "waited_for_owner", "history", "edge", "tries"},
    ("frontend", "SignalWorkflowExecution"): {"took", "waited_for_owner", "history", "edge", "tries"},
    ("frontend", "RespondWorkflowTaskCompleted"): {"took", "history", "edge"},
    ("frontend", "RespondActivityTaskCompleted"): {"took", "history", "edge"},
    ("frontend", "PollWorkflowTaskQueue"): {"took", "history", "tries", "task_queue"},
    ("history", "StartWorkflowExecution"): {"took", "load", "decide", "commit"},
    ("history", "SignalWorkflowExecution"): {"took", "load", "decide", "commit"},
    ("history", "RecordWorkflowTaskStarted"): {"took", "load", "decide", "read", "commit"},
    ("history", "RecordActivityTaskStarted"): {"took", "load", "decide", "read", "commit"},
    ("history", "RespondWorkflowTaskCompleted"): {"took", "load", "decide", "commit"},
    ("history", "GetWorkflowExecutionHistoryReverse"): {"took", "load", "decide", "read"},
    ("history", "Commit"): {"took", "database", "shards", "transitions", "bytes"},
    ("history", "Checkpoint"): {"took", "collect", "database", "runs", "bytes"},
    ("history", "AcquireShard"): {"took", "claim", "journal", "runs", "replayed"},
}


def lines_of(cluster, role):
    """The log lines of all daemons of that role."""
    logs = [cluster.log_of(daemon).read_text() for daemon in cluster.daemons if daemon.role == role]
    return [json.loads(line) for text in logs for line in text.splitlines() if line.startswith("{")]


def slow_problem(cluster, role, method):
    """None when such an operation was logged with where its time went."""
    said = [x for x in lines_of(cluster, role) if x["msg"] == "slow operation" and x.get("method") == method]
    fields = SLOW[role, method]
    if not said:
        return "nothing was said of it"
    return None if not fields - said[-1].keys() else f"it said {said[-1]}"


def until_none(look):
    """The last answer of look(), once it is None or time is up."""
    end = time.monotonic() + WAIT_S
    problem = look()
    while problem and time.monotonic() < end:
        time.sleep(0.1)
        problem = look()
    return problem


def gone_problem(address, cluster):
    """None when nothing but a metric and a log line tells that the collector is gone."""
    before = time.monotonic()
    one_workflow(address, "untraceable")
    took = time.monotonic() - before
    if took > 20:
        return f"a workflow took {took:.0f} s"

    def dropped():
        text = "".join(metrics_of(daemon) for daemon in cluster.daemons)
        found = re.findall(r'^perdure_trace_spans_total\{outcome="dropped".*\} (\d+)$', text, re.M)
        return None if any(int(count) for count in found) else "no span was counted as dropped"

    return until_none(dropped)


def cases():
    sink = collector.Sink()
    workflow_id = f"monitored-{uuid.uuid4()}"
    with running(sink) as cluster:
        edge = next(d for d in cluster.daemons if d.role == "frontend")
        asyncio.run(asyncio.wait_for(traffic(edge.grpc, workflow_id), 60))
        yield "a traced request", until_none(lambda: traces.request_problem(sink, workflow_id))
        one_workflow(edge.grpc, "traced")
        yield "a workflow is one trace", until_none(lambda: traces.workflow_problem(sink, "traced"))
        one_workflow(edge.grpc, "brings its own", traces.CONTEXT)
        yield "a worker with a context of its own", until_none(lambda: traces.link_problem(sink, "brings its own"))
        yield "the collector's key", None if sink.refused == 0 else f"{sink.refused} requests came without it"
        yield "compressed bodies", None if sink.packed == sink.requests else "some were not"
        for role, method in SLOW:
            yield f"{role}: a slow {method}", until_none(lambda: slow_problem(cluster, role, method))  # noqa: B023
        yield from metrics_cases(scraped(cluster))
        sink.stop()
        yield "a collector that is gone", gone_problem(edge.grpc, cluster)


def main():
    bootstrap.enter(HERE / "requirements.txt")
    passed = failed = 0
    for name, problem in cases():
        passed += not problem
        failed += bool(problem)
        if problem:
            print(f"FAIL {name}: {problem}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
