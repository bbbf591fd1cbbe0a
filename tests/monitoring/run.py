#!/usr/bin/env python3
"""Does what deploy/monitoring shows and watches exist? Prints 'N passed, N failed'.

Starts a cluster of its own, with a sink for traces; needs the daemons built.
"""

import asyncio
import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent / "oracle" / "lib"), str(ROOT / "tools" / "lib"), str(HERE)]

import bootstrap  # noqa: E402

WAIT_S = 20


class Sink(http.server.ThreadingHTTPServer):
    """A collector: keeps the spans it gets, each with the service it comes from."""

    def __init__(self):
        self.spans = []
        super().__init__(("127.0.0.1", 0), SinkRequest)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class SinkRequest(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for resource in body["resourceSpans"]:
            about = {a["key"]: a["value"].get("stringValue") for a in resource["resource"]["attributes"]}
            for span in resource["scopeSpans"][0]["spans"]:
                self.server.spans.append({**span, "service": about["service.name"]})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running(sink):
    """A cluster that traces everything and calls everything slow."""
    from cluster import Cluster, Options
    from test import free_port

    os.environ["PERDURE_TRACE_ENDPOINT"] = f"http://127.0.0.1:{sink.server_port}"
    os.environ["PERDURE_TRACE_SAMPLE_RATIO"] = "1000000"
    os.environ["PERDURE_LOG_SLOW_OPERATION"] = "1us"
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
    """A request that succeeds, one that fails; returns when they have."""
    from temporalio.client import Client
    from temporalio.service import RPCError

    client = await Client.connect(address)
    await client.start_workflow("Unknown", id=workflow_id, task_queue="nobody")
    with contextlib.suppress(RPCError):
        await client.get_workflow_handle("there is none").describe()


def hello(address):
    """A workflow with an activity, so that tasks and polls have been."""
    subprocess.run(
        [sys.executable, "hello.py"],
        cwd=ROOT / "deploy" / "samples",
        env={**os.environ, "TEMPORAL_ADDRESS": address},
        check=True,
        capture_output=True,
        timeout=120,
    )


def scraped(cluster):
    """{metric: label names} of all daemons; histograms under their own name too."""
    found = {}
    for daemon in cluster.daemons:
        with urllib.request.urlopen(f"http://{daemon.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
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
    undescribed = found.keys() - table.keys() - {f"{n}_{part}" for n in table for part in ("bucket", "sum", "count")}
    print(f"exported, not in the table: {', '.join(sorted(undescribed)) or 'none'}", flush=True)


def trace_problem(sink, workflow_id):
    """None when the start of that workflow was traced from the edge into history's commit."""

    def attribute(span, key):
        return next((a["value"].get("stringValue") for a in span["attributes"] if a["key"] == key), None)

    spans = list(sink.spans)
    ours = [s for s in spans if attribute(s, "workflow_id") == workflow_id]
    edge = next((s for s in ours if s["name"] == "StartWorkflowExecution" and s["service"] == "frontend"), None)
    inner = next((s for s in ours if edge and s.get("parentSpanId") == edge["spanId"]), None)
    if not edge or not inner or inner["service"] != "history":
        return f"no span of history inside the edge's, of {len(spans)}"
    parts = {s["name"] for s in spans if s.get("parentSpanId") == inner["spanId"]}
    return None if {"decide", "commit"} <= parts else f"history's span has the parts {parts}"


def slow_problem(cluster, workflow_id):
    """None when both edge and history said where that start's time went."""
    wanted = {"frontend": {"took", "waited_for_owner", "history", "edge"}, "history": {"took", "load", "decide", "commit"}}
    for daemon in cluster.daemons:
        fields = wanted.get(daemon.role)
        if not fields:
            continue
        lines = [json.loads(line) for line in cluster.log_of(daemon).read_text().splitlines() if line.startswith("{")]
        said = [x for x in lines if x["msg"] == "slow operation" and x.get("workflow_id") == workflow_id]
        if not said or fields - said[0].keys():
            return f"{daemon.name} said {said[:1]}"
    return None


def until_none(look):
    """The last answer of look(), once it is None or time is up."""
    end = time.monotonic() + WAIT_S
    problem = look()
    while problem and time.monotonic() < end:
        time.sleep(0.1)
        problem = look()
    return problem


def cases():
    sink = Sink()
    workflow_id = f"monitored-{uuid.uuid4()}"
    with running(sink) as cluster:
        edge = next(d for d in cluster.daemons if d.role == "frontend")
        asyncio.run(asyncio.wait_for(traffic(edge.grpc, workflow_id), 60))
        yield "a traced request", until_none(lambda: trace_problem(sink, workflow_id))
        yield "a slow request", until_none(lambda: slow_problem(cluster, workflow_id))
        hello(edge.grpc)
        yield from metrics_cases(scraped(cluster))


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
