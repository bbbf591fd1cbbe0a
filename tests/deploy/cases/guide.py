"""What the operator's guide names exists: settings, commands of perdurectl, files, pages and their headings.

The metrics that it names are looked for on running daemons: cases/process.py.
"""

import re

import yaml

from lib import manifests
from lib.pod import Pod

PAGES = sorted([manifests.DEPLOY / "README.md", *(manifests.DEPLOY / "guide").glob("*.md")])
# Sections of other things' settings and names that look like ours.
NOT_OURS = {"history.pb"}


def known_settings():
    printed = yaml.safe_load(Pod.run_program("perdure-frontend", "--print-config").stdout)
    return {f"{section}.{key}" for section, keys in printed.items() for key in keys}, set(printed)


def settings_problem(text, names, sections):
    """Of `section.key`, in backticks or in a formula."""
    used = set(re.findall(rf"(?<![\w./-])((?:{'|'.join(sections)})\.[a-z_]+)(?![\w.])", text)) - NOT_OURS
    files = {name for name in used if name.split(".")[1] in ("md", "yaml", "crt", "key", "csr")}
    return ", ".join(sorted(used - files - names))


def commands_problem(text):
    """Of perdurectl."""
    said = set(re.findall(r"perdurectl(?: --config \S+)? ((?:schema|namespace) [a-z]+|cluster)\b", text))
    return ", ".join(c for c in sorted(said) if Pod.run_program("perdurectl", *c.split(), "--help").returncode)


def anchors(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def links_problem(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            return f"no {target}"
        if anchor and anchor not in anchors(there):
            return f"no heading for {target}"
    return None


def paths_problem(text):
    """Of files in backticks, from deploy/ or from the top."""
    for name in set(re.findall(r"`((?:base|components|overlays|samples|guide|schema|tests|tools|common)/[\w./-]*)`", text)):
        if not (manifests.DEPLOY / name).exists() and not (manifests.ROOT / name).exists():
            return f"no {name}"
    return None


def metrics_named():
    """By the guide and the adapter's rules."""
    text = "".join(page.read_text() for page in PAGES)
    return sorted(set(re.findall(r"`[^`]*?\b((?:perdure|process|service|persistence)_[a-z_]+)", text)))


def cases():
    names, sections = known_settings()
    for page in PAGES:
        text, where = page.read_text(), page.relative_to(manifests.ROOT)
        yield f"{where}: settings", settings_problem(text, names, sections)
        yield f"{where}: commands", commands_problem(text)
        yield f"{where}: links", links_problem(page)
        yield f"{where}: files", paths_problem(text)
