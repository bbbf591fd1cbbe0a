"""The image description holds what the manifests run, is built from what it copies, and its root file system has what the
programs need to run there: they do, in it, read-only, as its user."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from lib import manifests
from lib.pod import PROGRAMS, program

CONTAINERFILE = manifests.DEPLOY / "Containerfile"
# What the programs read besides their libraries, in the image.
FILES = ("etc/ssl/certs/ca-certificates.crt", "usr/share/zoneinfo/Europe/Berlin", "etc/passwd", "var/lib/perdure", "tmp")


def instructions():
    """[(stage number, instruction, arguments)], continued lines joined, comments gone."""
    text = re.sub(r"(?m)^\s*#.*\n", "", CONTAINERFILE.read_text())
    lines = [line.split(None, 1) for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    found, stage = [], -1
    for word, rest in lines:
        stage += word == "FROM"
        found.append((stage, word, rest))
    return found


def last(word):
    final = max(stage for stage, _, _ in instructions())
    return [rest for stage, found, rest in instructions() if stage == final and found == word]


def command(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def root_problem():
    """deploy/image-root lays out a file system in which every program runs, with nothing that it doesn't need."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        done = subprocess.run([manifests.DEPLOY / "image-root", root, *map(program, PROGRAMS)],
                              capture_output=True, text=True)  # fmt: skip
        if done.returncode:
            return done.stderr
        absent = [path for path in FILES if not (root / path).exists()]
        shells = [path.name for path in root.rglob("*") if path.is_file() and path.name in ("sh", "bash", "dpkg", "apt")]
        if absent or shells:
            return f"missing: {absent}, not needed: {shells}"
        return next((problem for name in PROGRAMS if (problem := run_problem(root, name))), None)


def run_problem(root, name):
    """A program in that root file system, read-only, as the image's user; where we may (as root)."""
    if os.geteuid():
        inside = ["env", f"LD_LIBRARY_PATH={root}/lib/{os.uname().machine}-linux-gnu", f"{root}/usr/local/bin/{name}"]
    else:
        user = last("USER")[-1]
        script = f'mount --bind "{root}" "{root}" && mount -o remount,bind,ro "{root}" && exec chroot --userspec={user} "$@"'
        inside = ["unshare", "--mount", "sh", "-c", script, "sh", str(root), f"/usr/local/bin/{name}"]
    done = subprocess.run([*inside, "--help"], capture_output=True, text=True)
    return f"{name}: {done.stderr}" if done.returncode or not done.stdout else None


def program_problem():
    """Every command of the manifests is in the image."""
    built = " ".join(rest for stage, word, rest in instructions() if stage == 0 and word == "RUN")
    absent = [name for name, path in PROGRAMS.items() if not re.search(rf"{path}(?=[\s;])", built)]
    run = {c["command"][0] for overlay in manifests.OVERLAYS for w in manifests.workloads(overlay)
           if manifests.ours(w) for c in manifests.containers(w)}  # fmt: skip
    strange = run - set(PROGRAMS)
    return f"not built: {absent}, not known: {strange}" if absent or strange else None


def user_problem():
    """The image's user is a number, not root, and the one that the manifests name."""
    user = last("USER")[-1]
    pods = {manifests.pod_of(w)["securityContext"]["runAsUser"] for o in manifests.OVERLAYS
            for w in manifests.workloads(o) if manifests.ours(w)}  # fmt: skip
    same = re.fullmatch(r"(\d+):\1", user) and pods == {int(user.split(":")[0])} and pods != {0}
    return None if same else f"image {user}, pods {pods}"


def hygiene():
    every = instructions()
    for _, word, rest in every:
        if word == "FROM" and rest != "scratch" and (":" not in rest.split()[0] or ":latest" in rest):
            yield f"FROM {rest} can change under its name"
        if word == "ADD":
            yield "ADD does more than COPY"
        if word == "RUN" and "apt-get install" in rest and "rm -rf /var/lib/apt/lists" not in rest:
            yield "package lists stay in a layer"
        if word == "RUN" and ("sudo " in rest or "curl " in rest or "wget " in rest):
            yield f"RUN {rest}"
    if any(word in ("CMD", "ENTRYPOINT") and not rest.startswith("[") for _, word, rest in every):
        yield "a shell would get the signals"
    if last("STOPSIGNAL") != ["SIGTERM"]:
        yield "it is stopped by something else than SIGTERM"
    if last("EXPOSE") != ["7233 7234"]:
        yield f"EXPOSE {last('EXPOSE')}"


def copied():
    """The paths that the build stage copies from the tree."""
    return [rest.split()[0] for stage, word, rest in instructions() if stage == 0 and word == "COPY"]


def source_problem():
    """What is copied is enough to configure the build, and for all programs; ignored files leave it alone."""
    ignored = (manifests.DEPLOY / "Containerfile.dockerignore").read_text().split()
    if "!deploy/schema" not in ignored or set(copied()) & set(ignored):
        return f"ignored although it is copied: {set(copied()) & set(ignored)}"
    with tempfile.TemporaryDirectory() as folder:
        tree, build = Path(folder) / "src", Path(folder) / "build"
        for path in copied():
            source = manifests.ROOT / path
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, tree / path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / path)
        done = subprocess.run(["meson", "setup", build, tree], capture_output=True, text=True)
        if done.returncode:
            return done.stdout[-1500:] + done.stderr[-500:]
        targets = json.loads(command("meson", "introspect", "--targets", str(build)))
        made = {str(Path(name).relative_to(build)) for target in targets for name in target["filename"]}
    absent = set(PROGRAMS.values()) - made
    return f"not built: {absent}" if absent else None


def cases():
    yield "root file system", root_problem()
    yield "programs", program_problem()
    yield "user", user_problem()
    yield "rules for image descriptions", "\n".join(hygiene())
    yield "sources", source_problem()
