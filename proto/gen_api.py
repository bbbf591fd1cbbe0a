#!/usr/bin/env python3
"""Generates the C code of the public API when the build is configured.

    gen_api.py --lock api.lock --protoc protoc-c --out DIR

Leaves in DIR: api.desc (the FileDescriptorSet), the *.pb-c.[ch] of every message file in it, and
api_tables.c / api_method_ids.h (see gen_methods.py). Prints the C files, one a line, for meson: which
files there are is known only after fetching. Does nothing when neither the lock, nor these scripts, nor
protoc have changed since the last run.
"""

import argparse
import glob
import hashlib
import os
import shutil
import subprocess
import sys

import descriptors
import gen_methods

HERE = os.path.dirname(os.path.abspath(__file__))


def stamp_of(lock, protoc):
    digest = hashlib.sha256()
    for path in [lock] + sorted(glob.glob(os.path.join(HERE, "*.py"))):
        with open(path, "rb") as file:
            digest.update(file.read())
    digest.update(subprocess.run([protoc, "--version"], capture_output=True, check=True).stdout)
    return digest.hexdigest()


def fetch(lock, desc):
    script = os.path.join(HERE, "fetch_api.py")
    command = [sys.executable, script, "--lock", lock, "--out", desc]
    # pip may talk on stdout, where meson expects the list of files.
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        sys.exit(1)


def generate(protoc, desc, out):
    """Generates the C code; returns the C files relative to out."""
    with open(desc, "rb") as file:
        data = file.read()
    files = descriptors.read_set(data)
    # Files of services alone (and of options alone) hold nothing that C code would use.
    needed = {file.name for file in files if file.messages or file.enums}
    for file in reversed(files):  # importers before what they import
        if file.name in needed:
            needed.update(file.imports)
    names = [file.name for file in files if file.name in needed]
    subprocess.run([protoc, f"--descriptor_set_in={desc}", f"--c_out={out}"] + names, check=True, stdout=sys.stderr)
    gen_methods.write(data, files, set(names), desc, out)
    return [name[: -len(".proto")] + ".pb-c.c" for name in names] + ["api_tables.c"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--lock", required=True)
    parser.add_argument("--protoc", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    out = os.path.abspath(options.out)
    stamp_file = os.path.join(out, "stamp")

    stamp = stamp_of(options.lock, options.protoc)
    try:
        with open(stamp_file, encoding="utf-8") as file:
            known, *sources = file.read().splitlines()
    except (OSError, ValueError):
        known, sources = None, []
    if known != stamp or not all(os.path.exists(os.path.join(out, source)) for source in sources):
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        desc = os.path.join(out, "api.desc")
        fetch(options.lock, desc)
        sources = generate(options.protoc, desc, out)
        with open(stamp_file, "w", encoding="utf-8") as file:
            file.write("\n".join([stamp] + sources) + "\n")
    print("\n".join(sources))


if __name__ == "__main__":
    main()
