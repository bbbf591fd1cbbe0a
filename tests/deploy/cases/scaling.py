"""Budgets, autoscalers and spreading are for workloads that exist, and ask for metrics that the daemons export.

That the metrics themselves are there is seen on running daemons: cases/process.py.
"""

import re

import yaml

from lib import manifests


def budget_problem(overlay, budget):
    chosen = [w for w in manifests.workloads(overlay) if manifests.selects(budget["spec"]["selector"], manifests.labels_of(w))]
    if len(chosen) != 1:
        return f"it chooses the pods of {[manifests.title(w) for w in chosen]}"
    return None if budget["spec"].get("maxUnavailable") == 1 else "more than one pod may go at a time"


def scaler_problem(overlay, scaler):
    target = scaler["spec"]["scaleTargetRef"]
    workload = manifests.find(overlay, target["kind"], target["name"])
    if not workload:
        return f"no {target['kind']} {target['name']}"
    if "replicas" in workload["spec"]:
        return "the workload says its number of pods too: each apply would undo the autoscaler's"
    # With one pod, a budget of one unavailable pod would stop the service while a node is drained.
    return None if scaler["spec"]["minReplicas"] >= 2 else "fewer than two pods"


def scaled_by(overlay):
    """component → the metric that decides first."""
    found = {}
    for scaler in manifests.objects(overlay, "HorizontalPodAutoscaler"):
        metric = scaler["spec"]["metrics"][0]
        name = metric["resource"]["name"] if metric["type"] == "Resource" else metric["pods"]["metric"]["name"]
        found[scaler["metadata"]["labels"][manifests.COMPONENT]] = name
    return found


def adapter_metrics():
    """name that an autoscaler asks for → the series that it is made from."""
    path = manifests.DEPLOY / "components" / "monitoring" / "adapter-rules.yaml"
    made = {}
    for rule in yaml.safe_load(path.read_text())["rules"]["custom"]:
        series = re.match(r"\w+", rule["seriesQuery"])[0]
        name = rule.get("name", {"matches": ".*", "as": series})
        new = re.sub(name["matches"], re.sub(r"\$\{(\d+)\}", r"\\\1", name["as"]), series, count=1)
        made[new] = series
    return made


def metric_problem(name):
    return None if name == "cpu" or name in adapter_metrics() else f"the adapter's rules make no {name}"


def spread_problem(workload):
    """Over zones and over nodes, among its own kind."""
    labels = manifests.labels_of(workload)
    rules = manifests.pod_of(workload).get("topologySpreadConstraints", [])
    keys = [rule["topologyKey"] for rule in rules]
    if keys != ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]:
        return f"spread over {keys}"
    for rule in rules:
        if not manifests.selects(rule["labelSelector"], labels) or rule.get("matchLabelKeys") != [manifests.COMPONENT]:
            return "it is not counted with its own kind only"
    return None


def update_problem(workload):
    """No update takes a pod away before the next one serves, where there is no name to keep."""
    if workload["kind"] == "StatefulSet":
        return None if workload["spec"].get("minReadySeconds") else "the next pod goes before this one is known to stay"
    rolling = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
    return None if rolling == {"maxSurge": 1, "maxUnavailable": 0} else f"strategy {rolling}"


def identity_problem(overlay):
    """history's node ids survive its pods, and nobody else's need to."""
    kinds = {component: workload["kind"] for component, workload in manifests.daemons(overlay).items()}
    return None if kinds.pop("history") == "StatefulSet" and set(kinds.values()) == {"Deployment"} else str(kinds)


def cases():
    for overlay in manifests.OVERLAYS:
        yield f"{overlay}: who keeps its name", identity_problem(overlay)
        for budget in manifests.objects(overlay, "PodDisruptionBudget"):
            yield f"{overlay}: {manifests.title(budget)}", budget_problem(overlay, budget)
        for scaler in manifests.objects(overlay, "HorizontalPodAutoscaler"):
            yield f"{overlay}: {manifests.title(scaler)}", scaler_problem(overlay, scaler)
        for component, name in scaled_by(overlay).items():
            yield f"{overlay}: {component} by {name}", metric_problem(name)
        for component, workload in manifests.daemons(overlay).items():
            yield f"{overlay}: {component}: spreading", spread_problem(workload)
            yield f"{overlay}: {component}: updates", update_problem(workload)
    wanted = {"frontend": "cpu", "worker-gateway": "perdure_edge_polls", "history": "cpu",
              "matching": "perdure_matching_tasks_per_second"}  # fmt: skip
    got = scaled_by("production")
    yield "production: what each scales by", None if got == wanted else str(got)
    budgets = {b["metadata"]["labels"][manifests.COMPONENT] for b in manifests.objects("production", "PodDisruptionBudget")}
    yield "production: every daemon has a budget", None if budgets == set(manifests.DAEMONS) else str(budgets)
