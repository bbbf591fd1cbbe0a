"""A container of the manifests as a process here: its command, environment and files, as Kubernetes would make them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml

from lib import manifests

ROOT = manifests.ROOT
PROGRAMS = {
    "perdure-frontend": "services/frontend/perdure-frontend",
    "perdure-worker-gateway": "services/worker_gateway/perdure-worker-gateway",
    "perdure-history": "services/history/perdure-history",
    "perdure-matching": "services/matching/perdure-matching",
    "perdure": "services/standalone/perdure",
    "perdurectl": "tools/perdurectl/perdurectl",
}


def program(name):
    """Where the build has a program that the image has in its PATH."""
    return ROOT / os.environ.get("PERDURE_BUILD_DIR", "build") / PROGRAMS[name]


class Pod:
    """A pod's files below `folder`, and how its containers are started.

    `facts` are the downward API's values by field path; `configs` and `secrets` are name → {key: text}.
    """

    def __init__(self, workload, folder, facts, configs, secrets):
        self.workload, self.folder = workload, Path(folder)
        self.facts, self.configs, self.secrets = facts, configs, secrets
        self.volumes = {}
        for volume in manifests.pod_of(workload).get("volumes", []):
            self.volumes[volume["name"]] = self._volume(volume)

    def _volume(self, volume):
        path = self.folder / "volumes" / volume["name"]
        path.mkdir(parents=True)
        source = volume.get("configMap") or volume.get("secret") or {}
        name = source.get("name") or source.get("secretName")
        held = (self.configs if "configMap" in volume else self.secrets).get(name, {}) if name else {}
        items = source.get("items") or [{"key": key, "path": key} for key in held]
        for item in items:
            if item["key"] in held or not source.get("optional"):
                (path / item["path"]).write_text(held[item["key"]])
        return path

    def files(self, container):
        """(path in the container, path here), the longest first."""
        found = []
        for mount in container.get("volumeMounts", []):
            here = self.volumes[mount["name"]] / mount.get("subPath", "")
            found.append((mount["mountPath"], str(here)))
        return sorted(found, key=lambda pair: -len(pair[0]))

    def here(self, container, text):
        """A text of the container with the paths in it as they are here."""
        places = dict(self.files(container))
        inside = "|".join(re.escape(path) for path in places)
        return re.sub(rf"(?<![\w/])({inside})(?![\w-])", lambda m: places[m[1]], text) if places else text

    def environment(self, container):
        """As the kubelet makes it: in order, $(NAME) being what came before. None of ours."""
        made = {}
        for variable in container.get("env", []):
            source = variable.get("valueFrom")
            if not source:
                value = re.sub(r"\$\((\w+)\)", lambda m: made.get(m[1], m[0]), variable.get("value", ""))
            elif "fieldRef" in source:
                value = self.facts[source["fieldRef"]["fieldPath"]]
            else:
                value = self.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
            made[variable["name"]] = value
        made = {name: self.here(container, value) for name, value in made.items()}
        return {"PATH": os.environ["PATH"], **made}

    def command(self, container, *more):
        words = [*container.get("command", []), *container.get("args", [])]
        return [str(program(words[0])), *(self.here(container, word) for word in words[1:]), *more]

    def run(self, container, *more, **changes):
        """To its end."""
        return subprocess.run(self.command(container, *more), env={**self.environment(container), **changes},
                              cwd=self.folder, capture_output=True, text=True, timeout=120)  # fmt: skip

    @staticmethod
    def run_program(name, *words):
        """A program by itself, without a pod."""
        return subprocess.run([program(name), *words], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True,
                              timeout=60)  # fmt: skip

    def settings(self, container):
        """(what the daemon makes of configuration, environment and flags, None), or (None, what it says)."""
        done = self.run(container, "--print-config")
        return (yaml.safe_load(done.stdout), None) if done.returncode == 0 else (None, done.stderr)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
