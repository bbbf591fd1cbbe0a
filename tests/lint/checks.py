"""The checks: each takes a source file (or all of them) and yields findings."""

import fnmatch
import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import rules

C_SUFFIXES = (".c", ".h")
ROLE_KEYS = ("http_port", "rpc_port")  # looked up by role (common/daemon/identity.c)


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    text: str
    warning: bool = False

    def __str__(self):
        return f"{self.path}:{self.line}: {'warning: ' if self.warning else ''}{self.text}"


class Source:
    """A file of the repository: its path from the top, its text, and for C its text without comments and strings."""

    def __init__(self, root, path):
        self.path = path
        self.suffix = PurePosixPath(path).suffix
        self.text = (Path(root) / path).read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.splitlines()

    @cached_property
    def code(self):
        """Comments, strings and characters blanked out; lines keep their numbers."""

        def blank(match):
            return re.sub(r"[^\n]", " ", match.group())

        pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
        return re.sub(pattern, blank, self.text, flags=re.S)

    @property
    def is_c(self):
        return self.suffix in C_SUFFIXES

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1


def in_folder(path, folder):
    return path.startswith(folder + "/")


def service_of(path):
    """services/history/core/run.c → services/history"""
    return "/".join(path.split("/")[:2]) if in_folder(path, "services") else None


def includes(source):
    for number, line in enumerate(source.lines, 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if match:
            yield number, match.group(1)


def layers(source):
    """Dependencies point one way."""
    if not source.is_c or not source.path.startswith(("common/", "services/")):
        return
    for line, target in includes(source):
        problem = layer_problem(source.path, target)
        if problem:
            yield Finding(source.path, line, f'includes "{target}": {problem}')


def layer_problem(path, target):
    if (path, target) in rules.LAYER_EXCEPTIONS:
        return None
    if in_folder(target, "tests"):
        return "the product doesn't know its tests"
    if in_folder(path, "common"):
        if in_folder(target, "services"):
            return "common/ doesn't know the services"
        return common_problem(path.split("/")[1], target)
    other = service_of(target)
    if other and other != service_of(path) and service_of(path) != rules.KNOWS_ALL_SERVICES:
        return "services don't include each other; what two need goes into common/"
    for pure, allowed in rules.PURE.items():
        if not in_folder(path, pure) or in_folder(target, pure):
            continue
        if other or (in_folder(target, "common") and target.split("/")[1] not in allowed):
            return f"{pure} decides and does nothing else: of common/ it sees {', '.join(sorted(allowed))}"
    return None


def common_problem(own, target):
    if not in_folder(target, "common"):
        return None
    used = target.split("/")[1]
    for folder in (own, used):
        if folder not in rules.LAYERS:
            return f"common/{folder} has no layer yet (tests/lint/rules.py)"
    if used != own and rules.LAYERS[used] >= rules.LAYERS[own]:
        return f"common/{used} is not below common/{own}"
    return None


def banned_calls(source):
    """Calls that belong to one module."""
    if not source.is_c:
        return
    if source.path.startswith(("common/", "services/")):
        for names, allowed, instead in rules.BANNED_CALLS:
            if any(in_folder(source.path, folder) for folder in allowed):
                continue
            yield from calls(source, names, instead)
    for name, instead in rules.BANNED_EVERYWHERE.items():
        yield from calls(source, name, instead)


def calls(source, names, instead):
    # Not x->time(…), not a declaration's or a macro's own name with a prefix.
    for match in re.finditer(rf"(?<![\w.>])(?<!\*)({names})\s*\(", source.code):
        yield Finding(source.path, source.line_of(match.start()), f"calls {match.group(1)}(): use {instead}")


def sizes(source):
    """A file has one subject, a function fits a screen."""
    if source.suffix not in (*C_SUFFIXES, ".py"):
        return
    yield from size("the file", source.path, 1, len(source.lines), rules.FILE_LINES_WARN, rules.FILE_LINES_MAX)
    if source.suffix != ".c":
        return
    start = 0
    for number, line in enumerate(source.lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            length = number - start - 1
            yield from size(
                "the function", source.path, start, length, rules.FUNCTION_LINES_WARN, rules.FUNCTION_LINES_MAX
            )
            start = 0


def size(what, path, line, length, warn, most):
    if length > most:
        yield Finding(path, line, f"{what} has {length} lines; at most {most}")
    elif length > warn:
        yield Finding(path, line, f"{what} has {length} lines; think at {warn}", warning=True)


def purpose(source):
    """A file begins with what it is for."""
    pattern = rules.PURPOSE.get(source.suffix)
    if pattern and source.text.strip() and not re.match(pattern, source.text):
        yield Finding(source.path, 1, "does not begin with a comment that states its purpose")


def header_guard(source):
    """COMMON_LOG_LOG_H in common/log/log.h."""
    if source.suffix != ".h":
        return
    guard = re.sub(r"[^A-Za-z0-9]", "_", source.path).upper()
    if not re.search(rf"^#ifndef (\w*{guard})\n#define \1$", source.text, re.M):
        yield Finding(source.path, 1, f"has no include guard that ends in {guard}")


def leftovers(source):
    """Marks of something unfinished. They warn: who leaves one should say so in an issue instead."""
    if not source.is_c:
        return
    for number, line in enumerate(source.lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
            yield Finding(source.path, number, "leaves something for later", warning=True)


def samples(root, readme="README.md"):
    """The README shows its samples as they are in the tree: a path in backticks, then the file as a code block."""
    text = (Path(root) / readme).read_text()
    for match in re.finditer(r"`([\w./-]+\.\w+)`[^`\n]*\n\n```\w+\n(.*?)```", text, re.S):
        path = Path(root) / match.group(1)
        if path.exists() and path.read_text() != match.group(2):
            yield Finding(readme, text.count("\n", 0, match.start()) + 1, f"shows {match.group(1)} as it is not")


def coverage(root, readme="README.md", routes="common/edge/route.c"):
    """The README's list of methods that are served says what the edge's table says."""
    text = (Path(root) / readme).read_text()
    begin = text.find("<!-- coverage:")
    listed = text[begin : text.find("<details>", begin)]
    named = {word.upper() for word in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", listed)}
    table = (Path(root) / routes).read_text()
    served = {name.replace("_", "") for name in re.findall(r"\[API_METHOD_[A-Z]+?_(\w+)\] =", table)}
    missing, surplus = served - named, {name for name in named - served if not name.endswith("SERVICE")}
    if missing or surplus:
        line = text.count("\n", 0, begin) + 1
        yield Finding(readme, line, f"tools/coverage --write: not listed {sorted(missing)}, not served {sorted(surplus)}")


def unread_settings(sources, table="common/config/settings.def"):
    """A setting that nothing reads promises what it does not keep."""
    definitions = next((source for source in sources if source.path == table), None)
    if definitions is None:
        return
    code = "".join(source.code for source in sources if source.is_c and source.path.startswith(("common/", "services/")))
    words = set(re.findall(r"\w+", code))
    for match in re.finditer(r"^SETTING_(?!SECTION)\w+\((\w+), (\w+),", definitions.text, re.M):
        section, key = match.groups()
        if f"{section}_{key}" not in words and key not in ROLE_KEYS:
            line = definitions.line_of(match.start())
            yield Finding(table, line, f"nothing reads {section}.{key}", warning=True)


def readmes(paths):
    """Each folder says what it is."""
    code = [path for path in paths if PurePosixPath(path).suffix in rules.PURPOSE]
    files = Counter(str(PurePosixPath(path).parent) for path in code)
    for folder, count in sorted(files.items()):
        always = any(fnmatch.fnmatch(folder, pattern) and folder.count("/") == pattern.count("/")
                     for pattern in rules.README_ALWAYS)  # fmt: skip
        top = folder.split("/")[0]
        covered = any(fnmatch.fnmatch(folder, pattern) for pattern in rules.README_ABOVE)
        if covered or top not in ("common", "services", "proto", "deploy", "tests", "tools"):
            continue
        if (always or count >= rules.README_FILES_MIN) and f"{folder}/README.md" not in paths:
            yield Finding(folder, 1, f"{count} source files and no README.md")


def clang_format(root, sources):
    """Formatted as .clang-format says."""
    names = [source.path for source in sources if source.is_c]
    batches = [names[i : i + 25] for i in range(0, len(names), 25)]

    def run(batch):
        command = ["clang-format", "--dry-run", "-Werror", "--ferror-limit=1", *batch]
        return subprocess.run(command, cwd=root, text=True, capture_output=True).stderr

    with ThreadPoolExecutor(2) as pool:
        for output in pool.map(run, batches):
            for match in re.finditer(r"^([^\n:]+):(\d+):\d+: error: code should be clang-formatted", output, re.M):
                yield Finding(match.group(1), int(match.group(2)), f"is not formatted: clang-format -i {match.group(1)}")


PER_FILE = [layers, banned_calls, sizes, purpose, header_guard, leftovers]
