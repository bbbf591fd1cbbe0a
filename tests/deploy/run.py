#!/usr/bin/env python3
"""Tests the manifests and the image description in deploy/: one line a case that fails, then 'N passed, N failed'.

    python3 tests/deploy/run.py [CASES…]      e.g. render settings; without names all
    python3 tests/deploy/run.py --list

It needs the daemons built (tools/build). The tools it needs (kubectl, the Kubernetes schemas, the Python SDK) come as
packages into a virtual environment.
"""

import argparse
import importlib
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle" / "lib"))

import bootstrap  # noqa: E402

# Each module in cases/ has cases(): it yields (name, what is wrong or None).
CASES = {
    "render": "does every overlay render, into objects that Kubernetes accepts?",
    "settings": "do the binaries accept what the manifests give them, and listen where the manifests look?",
    "references": "does everything that is named exist?",
    "security": "does every pod keep the rules for pods?",
    "network": "may those talk who must, and nobody else?",
    "scaling": "do budgets, autoscalers and grace fit what they are for?",
    "image": "does the image hold what the manifests run, and what that is linked with?",
    "guide": "does what the operator's guide names exist?",
    "process": "do the production overlay's containers run, as processes, and serve?",
    "database": "does it follow a failover of PostgreSQL, and go on from a restored backup?",
}


def run(name):
    """(passed, failed) of one module's cases."""
    passed = failed = 0
    try:
        for case, problem in importlib.import_module(f"cases.{name}").cases():
            if problem:
                failed += 1
                print(f"FAIL {name}: {case}\n     {str(problem).strip()}".replace("\n", "\n     "), flush=True)
            else:
                passed += 1
    except Exception:
        failed += 1
        print(f"FAIL {name}: ended early\n     {traceback.format_exc().strip()}".replace("\n", "\n     "), flush=True)
    print(f"{name}: {passed} ok, {failed} not")
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASES")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    given = parser.parse_args()
    if given.list:
        for name, question in CASES.items():
            print(f"{name:12}{question}")
        return 0
    bootstrap.enter(HERE / "requirements.txt")
    results = [run(name) for name in given.cases or CASES]
    passed, failed = (sum(numbers) for numbers in zip(*results))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main())
