"""Imported first by a sample: where python3 has no Temporal SDK, installs it into a virtual environment in the cache
and runs the sample again with that.
"""

import atexit
import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

if importlib.util.find_spec("temporalio") is None:
    cache = os.environ.get("PERDURE_CACHE") or os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache") / Path("perdure")
    folder = Path(cache) / "samples"
    python = folder / "bin" / "python"
    if Path(sys.prefix) == folder:
        sys.exit(f"{folder} has no temporalio; delete it and try again")
    if not (folder / "complete").exists():
        print("installing the Temporal SDK for Python", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "temporalio"]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    os.execv(python, [str(python), *sys.argv])


def leave():
    """Ends without tearing the interpreter down: threads of the SDK may still be at work then, and it would abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if hasattr(sys, "last_value") else 0)  # set by an exception that nobody caught


atexit.register(leave)
