"""Everything that the objects name exists: configuration, secrets, accounts, volumes, workloads, Services, ports."""

from lib import manifests


def missing_keys(what, held, name, keys, optional=False):
    if name not in held:
        return None if optional else f"no {what} {name}"
    absent = [key for key in keys if key not in held[name]]
    return None if optional or not absent else f"{what} {name} has no {absent}"


def volume_problems(overlay, workload):
    """Of volumes and what they hold, and of mounts."""
    configs, secrets = manifests.configs(overlay, "ConfigMap"), manifests.configs(overlay, "Secret")
    pod = manifests.pod_of(workload)
    claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])]
    names = [volume["name"] for volume in pod.get("volumes", [])] + claims
    for volume in pod.get("volumes", []):
        for kind, key, held in (("configMap", "name", configs), ("secret", "secretName", secrets)):
            if kind in volume:
                source = volume[kind]
                keys = [item["key"] for item in source.get("items", [])]
                yield missing_keys(kind, held, source[key], keys, source.get("optional", False))
    for c in manifests.containers(workload):
        mounted = [mount["name"] for mount in c.get("volumeMounts", [])]
        yield from (f"{c['name']} mounts {name}, which is no volume" for name in mounted if name not in names)
        paths = [mount["mountPath"] for mount in c.get("volumeMounts", [])]
        yield from (f"{path} is mounted twice" for path in set(paths) if paths.count(path) > 1)
    used = {mount["name"] for c in manifests.containers(workload) for mount in c.get("volumeMounts", [])}
    yield from (f"nobody mounts {name}" for name in names if name not in used)


def environment_problems(overlay, workload):
    secrets = manifests.configs(overlay, "Secret")
    for c in manifests.containers(workload):
        names = [variable["name"] for variable in c.get("env", [])]
        yield from (f"{name} is set twice" for name in set(names) if names.count(name) > 1)
        for i, variable in enumerate(c.get("env", [])):
            source = variable.get("valueFrom", {}).get("secretKeyRef")
            if source:
                yield missing_keys("Secret", secrets, source["name"], [source["key"]])
            # Kubernetes knows only what came before, and leaves the rest as it is, in silence.
            value = variable.get("value", "")
            yield from (f"{variable['name']} uses {name} before it is set" for name in names[i:] if f"$({name})" in value)


def account_problem(overlay, workload):
    name = manifests.pod_of(workload).get("serviceAccountName")
    return None if not name or manifests.find(overlay, "ServiceAccount", name) else f"no ServiceAccount {name}"


def selector_problem(workload):
    """A workload finds its own pods."""
    selector = workload["spec"].get("selector")
    if selector and not manifests.selects(selector, manifests.labels_of(workload)):
        return "its selector does not choose its pods"
    return None


def overlaps(overlay):
    """No pod belongs to two workloads."""
    for one in manifests.workloads(overlay):
        for other in manifests.workloads(overlay):
            selector = one["spec"].get("selector")
            if selector and other is not one and manifests.selects(selector, manifests.labels_of(other)):
                return f"{manifests.title(one)} chooses the pods of {manifests.title(other)}"
    return None


def service_problem(overlay, service):
    """It has pods, of one workload, with the ports that it names."""
    selector = {"matchLabels": service["spec"]["selector"]}
    chosen = [w for w in manifests.workloads(overlay) if manifests.selects(selector, manifests.labels_of(w))]
    if len(chosen) != 1:
        return f"it chooses the pods of {[manifests.title(w) for w in chosen]}"
    ports = manifests.ports(chosen[0])
    for port in service["spec"]["ports"]:
        if ports.get(port["targetPort"]) != port["port"]:
            return f"port {port['name']} is {port['port']} here, {ports.get(port['targetPort'])} in the pods"
    return None


def stateful_problem(overlay, workload):
    service = manifests.find(overlay, "Service", workload["spec"]["serviceName"])
    if not service:
        return f"no Service {workload['spec']['serviceName']}"
    return None if service["spec"].get("clusterIP") == "None" else "its Service is not headless"


def address_problem(overlay):
    """Where the web UI looks for the frontend, and by which name the certificate must know it."""
    ui = manifests.find(overlay, "Deployment", "perdure-web-ui")
    environment = {v["name"]: v.get("value") for v in manifests.container(ui)["env"]}
    name, _, port = environment["TEMPORAL_ADDRESS"].partition(":")
    service = manifests.find(overlay, "Service", name)
    if not service or int(port) not in [p["port"] for p in service["spec"]["ports"]]:
        return f"no Service {name} with port {port}"
    tls = any(v["name"] == "PERDURE_GRPC_TLS_CERT_FILE" for v in
              manifests.container(manifests.daemons(overlay)["frontend"])["env"])  # fmt: skip
    if tls != ("TEMPORAL_TLS_CA" in environment):
        return "one of web UI and frontend speaks TLS, the other does not"
    return None


def monitor_problem(overlay, monitor):
    """Prometheus finds every daemon by it, on a port that its Service has."""
    scraped = set()
    for service in manifests.objects(overlay, "Service"):
        labels = service["metadata"].get("labels", {})
        if not manifests.selects(monitor["spec"]["selector"], labels):
            continue
        names = [port["name"] for port in service["spec"]["ports"]]
        absent = [e["port"] for e in monitor["spec"]["endpoints"] if e["port"] not in names]
        if absent:
            return f"{manifests.title(service)} has no port {absent}"
        scraped.add(labels.get(manifests.COMPONENT))
    lost = set(manifests.DAEMONS) - scraped
    return f"not scraped: {sorted(lost)}" if lost else None


def cases():
    for overlay in manifests.OVERLAYS:
        for workload in manifests.workloads(overlay):
            where = f"{overlay}: {manifests.title(workload)}"
            yield f"{where}: volumes", "\n".join(filter(None, volume_problems(overlay, workload)))
            yield f"{where}: environment", "\n".join(filter(None, environment_problems(overlay, workload)))
            yield f"{where}: account", account_problem(overlay, workload)
            yield f"{where}: selector", selector_problem(workload)
        yield f"{overlay}: no pod has two owners", overlaps(overlay)
        for service in manifests.objects(overlay, "Service"):
            yield f"{overlay}: {manifests.title(service)}", service_problem(overlay, service)
        for workload in manifests.objects(overlay, "StatefulSet"):
            yield f"{overlay}: {manifests.title(workload)}: Service", stateful_problem(overlay, workload)
        yield f"{overlay}: web UI → frontend", address_problem(overlay)
        for monitor in manifests.objects(overlay, "ServiceMonitor"):
            yield f"{overlay}: {manifests.title(monitor)}", monitor_problem(overlay, monitor)
