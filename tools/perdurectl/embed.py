"""Writes the schema's files as C: embed.py OUT.c SERVES FILE.sql..."""

import hashlib
import re
import sys
from pathlib import Path

LINE = 100


def literal(text):
    """A C string literal, cut into lines."""
    parts = []
    for line in text.splitlines(keepends=True):
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t").replace("\n", "\\n")
        parts.append(f'\t"{escaped}"')
    return "\n".join(parts)


def serves(path):
    """version → the oldest program (by its schema version) that may work on it; what isn't named serves only its own."""
    lines = (line.partition("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines())
    found = {int(fields[0]): int(fields[1]) for fields in lines if fields}
    for version, oldest in found.items():
        if not 1 <= oldest <= version:
            sys.exit(f"{path}: version {version} cannot serve programs from {oldest} on")
    return found


def main():
    out, oldest, *files = sys.argv[1:]
    oldest = serves(Path(oldest))
    text = ['/* The files of deploy/schema; made by embed.py. */\n#include "tools/perdurectl/schema_files.h"\n']
    entries = []
    for number, path in enumerate(sorted(map(Path, files)), 1):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", path.name)
        if not match or int(match[1]) != number:
            sys.exit(f"{path}: expected a file named {number:04}_<name>.sql")
        sql = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(sql.encode()).hexdigest()
        text.append(f"static const char sql_{number}[] =\n{literal(sql)};\n")
        entries.append(f'\t{{{number}, {oldest.get(number, number)}, "{match[2]}", "{digest}", sql_{number}}},')
    text.append("const struct schema_file schema_files[] = {\n" + "\n".join(entries) + "\n};")
    text.append(f"const size_t schema_file_count = {len(entries)};\n")
    Path(out).write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
