"""Processes by pid: start them, see whether they still are the ones we started, stop them, ask their HTTP port."""

import http.client
import os
import signal
import subprocess
import time
from pathlib import Path

STOP_GRACE_S = 40  # longer than the daemons' own grace (node.drain_grace)
POLL_S = 0.02


def start_ticks(pid):
    """When the process started, in ticks since boot: with the pid it names a process for good. None: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def alive(pid, ticks):
    return pid is not None and ticks is not None and start_ticks(pid) == ticks


def spawn(command, log, **options):
    """Starts a program in a session of its own (Ctrl-C here doesn't reach it); answers (pid, start ticks)."""
    with open(log, "ab") as out:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **options
        )
    return child.pid, start_ticks(child.pid)


ended = {}  # of our own children: pid → how it ended


def reap():
    """Collects our children that ended, so that they don't stay zombies while we supervise."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            ended[pid] = f"exit code {code}" if code >= 0 else f"signal {-code}"
    except ChildProcessError:
        pass


def stop(processes, signum=signal.SIGTERM, grace_s=STOP_GRACE_S):
    """Signals all of [(name, pid, ticks)], waits until they are gone, kills what outstays the grace; answers its names."""
    for _, pid, ticks in processes:
        if alive(pid, ticks):
            os.kill(pid, signum)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        reap()
        if not any(alive(pid, ticks) for _, pid, ticks in processes):
            return []
        time.sleep(POLL_S)
    late = [(name, pid, ticks) for name, pid, ticks in processes if alive(pid, ticks)]
    for _, pid, ticks in late:
        os.kill(pid, signal.SIGKILL)
    while any(alive(pid, ticks) for _, pid, ticks in late):
        reap()
        time.sleep(POLL_S)
    return [name for name, _, _ in late]


def http_get(address, path, timeout=1.0):
    """(status, text), or (None, why) when nobody answers."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return None, str(error)
    finally:
        connection.close()


def tail(log, lines=15):
    try:
        return "".join(Path(log).read_text(errors="replace").splitlines(keepends=True)[-lines:])
    except FileNotFoundError:
        return ""
