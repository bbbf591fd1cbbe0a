"""The production overlay's containers, run here as processes, make a cluster that serves over TLS, exports the metrics
that the autoscalers ask for, survives what a StatefulSet is for, and ends in good order."""

import asyncio
import json

from lib import manifests
from lib.cluster import ADDRESS, OVERLAY, cluster
from lib.hello import hello

# So long that no case would pass by waiting for it.
LEASE = "--membership.lease=60s"
COMEBACK_S = 30


def done(result):
    return None if result.returncode == 0 else f"status {result.returncode}: {result.stderr}{result.stdout}"


def migration(c):
    job = manifests.find(OVERLAY, "Job", "perdure-migrate")
    yield "the migration Job", done(c.once(job, manifests.container(job)))
    yield "the migration Job again", done(c.once(job, manifests.container(job)))
    for component, workload in manifests.daemons(OVERLAY).items():
        waiting = manifests.pod_of(workload)["initContainers"][0]
        yield f"{component}'s wait for the schema ends", done(c.once(workload, waiting))


def begin(c):
    """One of each, and a second history pod."""
    for name in ("history-0", "history-1", "matching-a", "worker-gateway-a", "frontend-a"):
        c.start(name.rpartition("-")[0], f"perdure-{name}", LEASE)
    for daemon in c.daemons:
        yield f"{daemon.name} gets ready", daemon.wait_ready()
        for probe in ("startupProbe", "livenessProbe"):
            status, text = daemon.probe(probe)
            yield f"{daemon.name}: {probe}", None if status == 200 else f"{status} {text}"
        strays = daemon.strays()
        yield f"{daemon.name} writes nowhere but in its volumes", "\n".join(strays)


def seen(c):
    """perdurectl in a history pod sees all daemons, and where their HTTP ports are."""
    workload = manifests.daemons(OVERLAY)["history"]
    container = {**manifests.container(workload), "command": ["perdurectl", "--json", "cluster"]}
    said = c.once(workload, container)
    yield "perdurectl in a pod", done(said)
    nodes = {node["node_id"]: node["http_address"] for node in json.loads(said.stdout)["nodes"]}
    for daemon in c.daemons:
        there = nodes.get(daemon.name)
        yield f"{daemon.name} is listed", None if there == f"{ADDRESS}:{daemon.port['http']}" else f"{there}"


def greeting(c):
    """None, or what went wrong with a workflow."""
    edges = {d.component: f"{ADDRESS}:{d.port['grpc']}" for d in c.daemons if "grpc" in d.port}
    authority = c.secrets["perdure-edge-tls"]["ca.crt"]
    names = ("perdure-frontend", "perdure-worker-gateway.perdure.svc")
    said = asyncio.run(asyncio.wait_for(hello(edges["frontend"], edges["worker-gateway"], authority, names), 90))
    return None if said == "Hello, World!" else said


def series(c):
    """Every metric that an autoscaler asks for is made from what its daemon exports."""
    from cases.scaling import adapter_metrics, scaled_by

    for component, name in scaled_by(OVERLAY).items():
        if name != "cpu":
            found = next(d for d in c.daemons if d.component == component).metrics()
            source = adapter_metrics()[name]
            yield f"{component} exports {source}", None if source in found else "it does not"
    matching = next(d for d in c.daemons if d.component == "matching").metrics()
    counted = matching.get("perdure_matching_tasks_total", 0)
    from cases.guide import metrics_named

    exported = {name for d in c.daemons for name in d.metrics()}
    for name in metrics_named():
        known = name in exported or f"{name}_bucket" in exported
        yield f"the guide's metric {name}", None if known else "no daemon exports it"
    yield "tasks were counted", None if counted >= 2 else f"{counted}"


def comeback(c):
    """A history pod that dies and comes back under its name has its shards at once: nobody waits for the lease."""
    one = next(d for d in c.daemons if d.name == "perdure-history-0")
    one.kill()
    one.start()
    yield "a killed history pod is ready again before its lease is out", one.wait_ready(COMEBACK_S)
    yield "a workflow after that", greeting(c)


def ends(c):
    for daemon in reversed(c.daemons):
        status, seconds = daemon.stop()
        what = "was killed" if status is None else f"ended with {status}"
        yield f"{daemon.name} ends in its time", None if status == 0 else f"it {what} after {seconds:.0f} s\n{daemon.tail()}"


def cases():
    with cluster() as c:
        yield from migration(c)
        yield from begin(c)
        yield from seen(c)
        yield "a workflow over TLS", greeting(c)
        yield from series(c)
        yield from comeback(c)
        yield from ends(c)
