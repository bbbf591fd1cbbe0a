"""Finds the cases, runs them on the servers, compares and reports."""

import asyncio
import difflib
import importlib
import inspect
import time
import traceback

import json

from .case import REGISTRY, Broken, Case
from .show import lines as show_lines
from .wire import Refused, Wire

CASE_S_MAX = 60.0
READY_S_MAX = 30.0
ATTEMPTS_MAX = 3  # of a case whose script does not work on the reference


def load(folder):
    """Imports every module of the folder; answers the names of all cases."""
    for path in sorted(folder.glob("*.py")):
        if path.stem != "__init__":
            importlib.import_module(f"cases.{path.stem}")
    return list(REGISTRY)


async def _run(name, wire, **options):
    """Answers (transcript, trouble or None)."""
    run = Case(name, wire, **options)
    trouble = None
    try:
        await asyncio.wait_for(REGISTRY[name](run), CASE_S_MAX)
    except Broken as broken:
        trouble = str(broken)
    except Refused as refused:
        trouble = f"unexpected error: {run.names.text(str(refused))}"
    except asyncio.TimeoutError:
        trouble = f"not done after {CASE_S_MAX:.0f} s"
    except Exception as error:  # a case that fails in any other way fails alone
        where = traceback.extract_tb(error.__traceback__)[-1]
        trouble = f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
    return run.transcript(), trouble


def _lines(transcript):
    lines = []
    for number, entry in enumerate(transcript, 1):
        lines.append(f"# step {number}: {entry.get('call', 'note')}")
        lines += json.dumps(entry, indent=1, ensure_ascii=False).splitlines()
    return lines


def _difference(expected, actual):
    return list(difflib.unified_diff(_lines(expected), _lines(actual), "reference", "perdure", lineterm="", n=6))


def _verdict(expected, actual):
    """Answers the lines that explain a failure; none for a pass."""
    transcript, trouble = expected
    if trouble:
        return [f"the script does not work on the reference: {trouble}"]
    lines = []
    if actual[1]:
        lines.append(f"perdure: {actual[1]}")
    return lines + _difference(transcript, actual[0])


async def compare(names, reference, perdure, jobs):
    """Runs every case on both; prints one line each. Answers the exit code."""
    wires = [Wire(reference), Wire(perdure)]
    for name, wire in zip(("the reference", "perdure"), wires):
        try:
            await wire.ready(READY_S_MAX)
        except Refused as refused:
            print(f"{name} at {wire.address} does not answer: {refused}")
            return 2
    slots = asyncio.Semaphore(jobs)
    failed = []
    began = time.monotonic()

    async def one(name):
        for attempt in range(1, ATTEMPTS_MAX + 1):
            async with slots:
                expected, actual = await asyncio.gather(_run(name, wires[0]), _run(name, wires[1]))
            lines = _verdict(expected, actual)
            if not expected[1] or attempt == ATTEMPTS_MAX:
                break
            # Too busy a machine for the script's timeouts, most often: it says nothing about Perdure.
            print(f"again {name}: {lines[0]}", flush=True)
        if lines:
            failed.append(name)
        print(f"{'FAIL' if lines else 'ok  '} {name}", flush=True)
        for line in lines:
            print("     " + line)

    await asyncio.gather(*(one(name) for name in names))
    for wire in wires:
        await wire.close()
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed ({time.monotonic() - began:.0f} s)")
    return 1 if failed else 0


async def show(names, reference, jobs):
    """Prints what the reference does in each case, for people to read."""
    wire = Wire(reference)
    await wire.ready(READY_S_MAX)
    slots = asyncio.Semaphore(jobs)

    async def one(name):
        async with slots:
            return await _run(name, wire, relative_times=True, with_requests=True)

    results = await asyncio.gather(*(one(name) for name in names))
    await wire.close()
    for name, (transcript, trouble) in zip(names, results):
        print("\n".join(show_lines(name, inspect.getdoc(REGISTRY[name]) or "", transcript, trouble)))
    return 1 if any(trouble for _, trouble in results) else 0
