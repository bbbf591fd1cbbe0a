"""The binaries take the configuration, environment and arguments of their containers, and listen where probes,
Services and policies look for them."""

import re
import tempfile

from lib import manifests
from lib.pod import PROGRAMS, Pod, program

POD_IP = "10.1.2.3"


def made(overlay, workload, folder):
    """The pod as Kubernetes would make it, with texts in place of certificates."""
    name = workload["metadata"]["name"] + ("-0" if workload["kind"] == "StatefulSet" else "-5d4f9-abcde")
    facts = {"metadata.name": name, "status.podIP": POD_IP}
    configs = {kind: manifests.configs(overlay, kind) for kind in ("ConfigMap", "Secret")}
    return Pod(workload, folder, facts, configs["ConfigMap"], configs["Secret"])


def listens(component, settings, workload):
    """What is wrong with where a daemon listens."""
    role = component.replace("-", "_")
    ports, mine = manifests.ports(workload), settings[role]
    wanted = {"http": mine["http_port"], "rpc": mine["rpc_port"]}
    if "grpc_port" in mine:
        wanted["grpc"] = mine["grpc_port"]
    if ports != wanted:
        return f"the manifest has the ports {ports}, the daemon {wanted}"
    hosts = {"http.listen": settings["http"]["listen"], "grpc_listen": mine.get("grpc_listen", "0.0.0.0")}
    near = {name: host for name, host in hosts.items() if host != "0.0.0.0"}
    return f"not reachable from outside the pod: {near}" if near else None


def inbox(component, settings, workload):
    """What is wrong with the inbox's addresses."""
    port = manifests.ports(workload)["rpc"]
    listen, advertise = settings["rpc"]["listen"], settings["rpc"]["advertise"]
    tls = any(settings["rpc"][f"tls_{what}_file"] for what in ("cert", "key", "ca"))
    scheme = "tls+tcp" if tls else "tcp"
    if listen != f"{scheme}://0.0.0.0:{port}":
        return f"rpc.listen is {listen}"
    if advertise != f"{scheme}://{POD_IP}:{port}":
        return f"rpc.advertise is {advertise}"
    return None


def probes(workload):
    c = manifests.container(workload)
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        if c.get(probe, {}).get("httpGet") != {"path": path, "port": "http"}:
            return f"{probe} does not ask {path} on the port http"
    return None


def seconds(duration):
    """Of a text as --print-config has it: 1m30s."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|[hms])", duration))


def grace(settings, workload):
    """SIGTERM comes after the preStop hook; a process that hangs after its drain ends itself ten seconds later."""
    stop = manifests.container(workload).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = seconds(settings["node"]["drain_grace"]) + stop + 10
    given = manifests.pod_of(workload).get("terminationGracePeriodSeconds", 30)
    return None if given >= needed else f"terminationGracePeriodSeconds is {given}, {needed:g} are needed"


def caches(component, settings, workload):
    """Memory that a daemon may take by its own settings, and half of that for all else, fits under the limit."""
    own = {"history": "cache_bytes", "matching": "memory_bytes"}.get(component)
    if not own:
        return None
    units = {"Mi": 1, "Gi": 1024, "MiB": 1, "GiB": 1024}
    number = lambda text: next(float(text[: -len(u)]) * f for u, f in sorted(units.items(), reverse=True) if text.endswith(u))
    limit = number(manifests.container(workload)["resources"]["limits"]["memory"])
    held = number(settings[component][own])
    return None if held * 1.5 <= limit else f"{component}.{own} is {held} MiB, the limit {limit} MiB"


def service_links(overlay, workload):
    """The variables that Kubernetes makes of Services look like settings: better without."""
    return None if manifests.pod_of(workload).get("enableServiceLinks") is False else "enableServiceLinks is not false"


def daemon_cases(overlay, component, workload):
    where = f"{overlay}: {component}"
    with tempfile.TemporaryDirectory() as folder:
        pod = made(overlay, workload, folder)
        c = manifests.container(workload)
        settings, why = pod.settings(c)
        yield f"{where}: its settings are accepted", why
        if why:
            return
        yield f"{where}: its name is the pod's", (
            None if settings["node"]["id"] == pod.facts["metadata.name"] else settings["node"]["id"]
        )
        yield f"{where}: ports", listens(component, settings, workload)
        yield f"{where}: inbox", inbox(component, settings, workload)
        yield f"{where}: probes", probes(workload)
        yield f"{where}: time to end", grace(settings, workload)
        yield f"{where}: memory", caches(component, settings, workload)
        yield f"{where}: the database is the Secret's", None if settings["database"]["dsn"] else "there is none"
        # Pods that somebody else makes may have them.
        done = pod.run(c, "--print-config", PERDURE_FRONTEND_SERVICE_HOST="10.0.0.1",
                       PERDURE_FRONTEND_PORT="tcp://10.0.0.1:7233")  # fmt: skip
        yield f"{where}: a Service's variables do not disturb it", done.stderr


def job_case(overlay, workload):
    """perdurectl knows the command, and reads the configuration before it looks for the database."""
    with tempfile.TemporaryDirectory() as folder:
        pod = made(overlay, workload, folder)
        done = pod.run(manifests.container(workload), PERDURE_DATABASE_DSN="host=/nonexistent dbname=x")
        if done.returncode != 1 or "/nonexistent" not in done.stderr:
            return f"status {done.returncode}: {done.stderr}"
    return None


def init_case(workload):
    """The waiting container calls perdurectl with a command that it has."""
    words = " ".join(word for c in manifests.pod_of(workload).get("initContainers", []) for word in c["command"])
    command = re.search(r"perdurectl ((?:[a-z]+ ?)+)", words)
    if not command:
        return "it waits for no schema"
    known = Pod.run_program("perdurectl", *command[1].split(), "--help")
    return None if known.returncode == 0 else known.stderr


def missing_programs():
    missing = [name for name in PROGRAMS if not program(name).exists()]
    return f"not built: {missing}; tools/build" if missing else None


def cases():
    yield "the programs are there", missing_programs()
    for overlay in manifests.OVERLAYS:
        found = manifests.daemons(overlay)
        yield f"{overlay}: all daemons", None if len(found) == len(manifests.DAEMONS) else f"only {list(found)}"
        for component, workload in found.items():
            yield from daemon_cases(overlay, component, workload)
            yield f"{overlay}: {component}: waits for the schema", init_case(workload)
        for workload in manifests.workloads(overlay):
            yield f"{overlay}: {manifests.title(workload)}: no service links", service_links(overlay, workload)
        for job in manifests.objects(overlay, "Job"):
            yield f"{overlay}: {manifests.title(job)}", job_case(overlay, job)
    sample = manifests.DEPLOY / "samples" / "perdure.yaml"
    for name in PROGRAMS:
        if name != "perdurectl":
            done = Pod.run_program(name, "--config", str(sample), "--print-config")
            yield f"{name} accepts {sample.name} of the samples", None if done.returncode == 0 else done.stderr
