"""The overlays as kubectl renders them, and ways to look at the objects."""

import base64
import functools
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
OVERLAYS = sorted(path.name for path in (DEPLOY / "overlays").iterdir() if path.is_dir())
WORKLOADS = ("Deployment", "StatefulSet", "Job")
DAEMONS = ("frontend", "worker-gateway", "history", "matching")

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"


@functools.cache
def rendered(overlay):
    """(objects, None), or ([], what kubectl says)."""
    kubectl = Path(sys.executable).parent / "kubectl"
    done = subprocess.run([kubectl, "kustomize", DEPLOY / "overlays" / overlay], capture_output=True, text=True)
    if done.returncode:
        return [], done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found], None


def objects(overlay, *kinds):
    return [o for o in rendered(overlay)[0] if not kinds or o["kind"] in kinds]


def find(overlay, kind, name):
    found = [o for o in objects(overlay, kind) if o["metadata"]["name"] == name]
    return found[0] if found else None


def title(o):
    return f"{o['kind']} {o['metadata']['name']}"


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def labels_of(workload):
    """Of its pods."""
    return workload["spec"]["template"]["metadata"].get("labels", {})


def workloads(overlay):
    return objects(overlay, *WORKLOADS)


def daemons(overlay):
    """component → its Deployment or StatefulSet, of the daemons only."""
    found = {labels_of(w).get(COMPONENT): w for w in objects(overlay, "Deployment", "StatefulSet")
             if labels_of(w).get(NAME) == "perdure"}  # fmt: skip
    return {component: found[component] for component in DAEMONS if component in found}


def container(workload):
    """The one that is not an init container."""
    return pod_of(workload)["containers"][0]


def containers(workload):
    pod = pod_of(workload)
    return pod.get("initContainers", []) + pod["containers"]


def ours(workload):
    return labels_of(workload).get(NAME) == "perdure"


def ports(workload):
    """Named ports of its pods."""
    return {p["name"]: p["containerPort"] for c in containers(workload) for p in c.get("ports", [])}


def selects(selector, labels):
    """Whether a label selector chooses an object with these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", []):
        value, wanted = labels.get(rule["key"]), rule.get("values", [])
        holds = {
            "In": value in wanted,
            "NotIn": value not in wanted,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[rule["operator"]]
        if not holds:
            return False
    return True


def example_secrets():
    """The Secrets that the production overlay leaves to its operator."""
    text = (DEPLOY / "overlays" / "production" / "secrets.example.yaml").read_text()
    return [found for found in yaml.safe_load_all(text) if found]


def configs(overlay, kind):
    """name → keys with their contents, of the ConfigMaps or Secrets that a cluster would have."""
    found = objects(overlay, kind)
    if kind == "Secret" and overlay == "production":
        found = found + example_secrets()
    plain = (lambda text: base64.b64decode(text).decode()) if kind == "Secret" else str
    return {
        o["metadata"]["name"]: {k: plain(v) for k, v in o.get("data", {}).items()} | o.get("stringData", {})
        for o in found
    }
