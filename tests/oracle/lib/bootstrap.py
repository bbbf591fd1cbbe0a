"""Gives a script the Python packages of a requirements file: a virtual environment in the cache, made once.

Only the standard library here: it runs before anything is installed.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path


def cache_dir():
    """Where tools may keep what they installed."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("PERDURE_CACHE") or os.path.join(home, "perdure"))


def environment(requirements):
    """Answers the path of a Python that has what `requirements` (a path) lists."""
    content = Path(requirements).read_bytes() + sys.version.encode()
    folder = cache_dir() / "venv" / hashlib.sha256(content).hexdigest()[:16]
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements],
                check=True,
                stdout=sys.stderr,
            )
            (folder / "complete").touch()
    return python


def enter(requirements):
    """Runs the current script again under that Python, unless it is the one already."""
    python = environment(requirements)
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])
