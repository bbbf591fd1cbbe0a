"""The metrics that dashboard, alert rules and table name, with the labels they use."""

import json
import re
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
# What is no metric in an expression: functions, aggregations, keywords.
WORDS = {
    "sum", "max", "min", "avg", "count", "by", "without", "on", "and", "or", "unless", "rate", "increase", "resets", "time",
    "histogram_quantile", "present_over_time", "last_over_time", "bool", "ignoring", "group_left", "group_right", "label_values",
}  # fmt: skip
PROMETHEUS_LABELS = {"job", "instance", "le"}


def used_by(expression):
    """{metric: labels used with it} of a PromQL expression."""
    used = {}
    grouped = set()
    text = re.sub(r'"[^"]*"', '""', expression)
    for names in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", text):
        grouped |= {name.strip() for name in names.split(",")}
    text = re.sub(r"\b(by|on|without)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?", text):
        if name in WORDS or not re.search(r"_", name):
            continue
        used.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
    # A label matcher's inside was taken with its metric; what it names is no metric.
    inside = set(re.findall(r"(\w+)\s*[=!]~?\s*\"\"", text))
    used = {name: labels for name, labels in used.items() if name not in inside}
    for labels in used.values():
        labels |= grouped
    return {name: labels - PROMETHEUS_LABELS for name, labels in used.items()}


def panels():
    """(title, expression) of the dashboard."""
    board = json.loads((FOLDER / "dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def alerts():
    """(name, rule) of the alert rules."""
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule


def counterparts():
    """(metric of the reference, ours) of the other table: what is named as ours must exist."""
    for line in (FOLDER / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            for ours in re.findall(r"`([a-z][a-z_]+)`", cells[1]):
                yield cells[0], ours


def described():
    """Metrics of the table in the README: `name` in its first column; True: only under conditions it says."""
    rows = {}
    for line in (FOLDER / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            rows[re.match(r"`(\w+)`", cells[0])[1]] = "(when" in cells[2]
    return rows
