#!/usr/bin/env python3
"""Makes one FileDescriptorSet of the public API from the packages that api.lock pins.

    fetch_api.py --lock api.lock --out api.desc [--cache DIR]

pip downloads the wheels (hashes checked by pip, and again here), they stay in the cache, and the
serialized descriptors are read out of their generated *_pb2.py files without running them. The set
holds the API's own files, what they import, and the gRPC health and reflection services, each file
after its imports. Needs python3 and pip; without network it works from the cache, or from whatever
pip is configured to find.
"""

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

import descriptors

# What the server implements or sends; the rest of the set is what these import. Left out are other
# servers' services, and 'cluster' and 'interaction': leftovers in the wheel, whose imports are gone.
ROOTS = (
    r"temporal/api/(?!(?:cloud|testservice|dependencies|cluster|interaction)/).*",
    r"google/rpc/(status|code)\.proto",
    r"google/protobuf/(any|descriptor|duration|empty|field_mask|struct|timestamp|wrappers)\.proto",
    r"grpc/health/v1/health\.proto",
    r"grpc/reflection/(v1|v1alpha)/reflection\.proto",
)
# The Python packages move these files; clients know them under the names of the gRPC project.
RENAMED = {
    b"grpc_health/v1/health.proto": b"grpc/health/v1/health.proto",
    b"grpc_reflection/v1alpha/reflection.proto": b"grpc/reflection/v1alpha/reflection.proto",
}
LOCK_LINE = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)\s+--hash=sha256:([0-9a-f]{64})$")


def default_cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("PERDURE_CACHE_DIR") or os.path.join(base, "perdure")


def read_lock(path):
    """[(name, version, sha256)]"""
    pins = []
    with open(path, encoding="utf-8") as lock:
        for number, line in enumerate(lock, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            match = LOCK_LINE.match(line)
            if not match:
                sys.exit(f"{path}:{number}: expected 'name==version --hash=sha256:…'")
            pins.append(match.groups())
    return pins


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def find_pip():
    for command in ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"], ["pip3"]):
        if not shutil.which(command[0]):
            continue
        if subprocess.run(command + ["--version"], capture_output=True, check=False).returncode == 0:
            return command
    sys.exit("fetch_api.py: needs pip (Debian: apt-get install python3-pip)")


def download(pin, folder):
    """Asks pip for the wheel of one pin; the platform is fixed because the hash names one file."""
    name, version, digest = pin
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        requirement = os.path.join(scratch, "requirement.txt")
        with open(requirement, "w", encoding="utf-8") as file:
            file.write(f"{name}=={version} --hash=sha256:{digest}\n")
        command = find_pip() + ["download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--platform", "manylinux2014_x86_64"]
        command += ["--implementation", "cp", "--abi", "abi3", "--python-version", "3.11"]
        command += ["--dest", scratch, "-r", requirement]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(f"fetch_api.py: pip could not get {name} {version}")
        wheels = [entry for entry in os.listdir(scratch) if entry.endswith(".whl")]
        found = os.path.join(scratch, wheels[0]) if wheels else None
        if not found or sha256(found) != digest:
            sys.exit(f"fetch_api.py: {name} {version} is not the file that the lock names")
        kept = os.path.join(folder, digest + ".whl")
        os.replace(found, kept)
    return kept


def wheel_of(pin, cache):
    folder = os.path.join(cache, "wheels")
    os.makedirs(folder, exist_ok=True)
    kept = os.path.join(folder, pin[2] + ".whl")
    if os.path.exists(kept) and sha256(kept) == pin[2]:
        return kept
    return download(pin, folder)


def serialized_file(source):
    """The descriptor that a generated Python module registers, or None."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            if node.args and isinstance(node.args[0], ast.Constant):
                return node.args[0].value
    return None


def files_of(wheel):
    """{file name: serialized FileDescriptorProto} of a wheel."""
    found = {}
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            if not entry.endswith("_pb2.py"):
                continue
            data = serialized_file(archive.read(entry))
            if data:
                data = descriptors.with_strings(data, lambda text: RENAMED.get(text, text))
                found[descriptors.text_of(data, 1)] = data
    return found


def reflection_v1(alpha):
    """grpc.reflection.v1 is v1alpha in another package, message for message; no wheel carries it."""
    return descriptors.with_strings(
        alpha,
        lambda text: text.replace(b"grpc.reflection.v1alpha", b"grpc.reflection.v1").replace(
            b"grpc/reflection/v1alpha", b"grpc/reflection/v1"
        ),
    )


def ordered(files):
    """The root files and what they import, each after its imports."""
    roots = re.compile("|".join(f"(?:{root})$" for root in ROOTS))
    order = []
    done = set()

    def visit(name, importer):
        if name in done:
            return
        done.add(name)
        if name not in files:
            sys.exit(f"fetch_api.py: {importer} imports {name}, which no pinned package has")
        for imported in descriptors.File(files[name]).imports:
            visit(imported, name)
        order.append(name)

    for name in sorted(files):
        if roots.match(name):
            visit(name, None)
    return order


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lock", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--cache", default=default_cache())
    options = parser.parse_args()

    files = {}
    for pin in read_lock(options.lock):
        for name, data in files_of(wheel_of(pin, options.cache)).items():
            files.setdefault(name, data)
    alpha = files["grpc/reflection/v1alpha/reflection.proto"]
    files["grpc/reflection/v1/reflection.proto"] = reflection_v1(alpha)
    data = b"".join(descriptors.encoded(1, files[name]) for name in ordered(files))
    with open(options.out + ".new", "wb") as out:
        out.write(data)
    os.replace(options.out + ".new", options.out)


if __name__ == "__main__":
    main()
