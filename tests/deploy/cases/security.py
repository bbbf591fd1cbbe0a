"""Every pod keeps the rules of Kubernetes' restricted standard, and stricter ones of ours."""

from lib import manifests

# Volumes that hold nothing of the node's.
VOLUMES = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected"}
# The one place where passwords may stand in the tree: a database that is thrown away.
KNOWN_PASSWORDS = {"development"}


def pod_problems(workload):
    pod = manifests.pod_of(workload)
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False:
        yield "gets a token for Kubernetes"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"uses the node: {field}"
    for volume in pod.get("volumes", []):
        if not VOLUMES & set(volume):
            yield f"volume {volume['name']} is of the node"
        mode = volume.get("secret", {}).get("defaultMode", 0)
        if mode & 0o007:
            yield f"volume {volume['name']} is readable for everybody"


def container_problems(c):
    context = c.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield "may become more than it is"
    if not context.get("readOnlyRootFilesystem"):
        yield "its root file system is writable"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"capabilities {context.get('capabilities')}"
    resources = c.get("resources", {})
    for which, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if what not in resources.get(which, {}):
            yield f"no {which} of {what}"
    # A limit of CPU stops the loop for the rest of a period, in the middle of everything.
    if "cpu" in resources.get("limits", {}):
        yield "its CPU is throttled"
    name, _, tag = c["image"].rpartition(":")
    if not name or "/" in tag or tag in ("", "latest"):
        yield f"image {c['image']} can change under its name"


def example_problem():
    """What is in the tree as an example can't be mistaken for a secret."""
    for secret in manifests.example_secrets():
        text = str(secret.get("stringData"))
        if "PRIVATE KEY" in text or ("password=" in text and "CHANGE-ME" not in text):
            return f"{manifests.title(secret)} holds something real"
    return None


def production_problem():
    """No Secret is made from what stands in the tree."""
    made = [manifests.title(o) for o in manifests.objects("production", "Secret")]
    return f"made by the overlay: {made}" if made else None


def development_problem():
    held = manifests.configs("development", "Secret")
    words = " ".join(value for secret in held.values() for value in secret.values()).split()
    passwords = {word.partition("=")[2] for word in words if word.startswith("password=")}
    return None if passwords <= KNOWN_PASSWORDS else f"passwords {passwords}"


def namespace_problem(overlay):
    """The cluster enforces what is tested here."""
    found = manifests.objects(overlay, "Namespace")
    level = found and found[0]["metadata"]["labels"].get("pod-security.kubernetes.io/enforce")
    return None if level == "restricted" else f"pod security is {level}"


def cases():
    for overlay in manifests.OVERLAYS:
        yield f"{overlay}: namespace", namespace_problem(overlay)
        for workload in manifests.workloads(overlay):
            where = f"{overlay}: {manifests.title(workload)}"
            yield f"{where}: pod", "\n".join(pod_problems(workload))
            for c in manifests.containers(workload):
                yield f"{where}: {c['name']}", "\n".join(container_problems(c))
    yield "the example's Secrets", example_problem()
    yield "production makes no Secrets", production_problem()
    yield "development's passwords", development_problem()
