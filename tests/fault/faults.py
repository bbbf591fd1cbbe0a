"""The faults: each kind as a function on the stage, and the schedule that a seed makes of them."""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from stage import in_thread

ROLES = ("history", "history", "history", "matching", "gateway", "frontend")  # who is hurt how often


@dataclass
class Fault:
    """One entry of the schedule; what follows `seconds` is known when it is over."""

    kind: str
    victims: tuple
    seconds: float  # how long it lasts, where that is to be chosen
    pause: float  # before it
    at: float = 0.0  # monotonic
    took: float = 0.0  # until everything was healthy again
    problem: str = ""

    @property
    def to(self):
        return " and ".join(self.victims) or "all"


# ---------------------------------------------------------------- processes


def send(pid, number):
    """False when the process is gone already."""
    try:
        os.kill(pid, number)
        return True
    except (ProcessLookupError, TypeError):
        return False


def family(pid):
    """A process and its children."""
    found = [pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


async def gone(daemon, seconds):
    until = time.monotonic() + seconds
    while daemon.alive:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.02)
    return True


async def kill(stage, f):
    """kill -9; the orchestrator starts it again."""
    send(stage.daemon(f.victims[0]).pid, signal.SIGKILL)


async def leave_dead(stage, f):
    """kill -9, and nobody starts it again for a while: the others must take over."""
    name = f.victims[0]
    stage.pause_keeper(name)
    send(stage.daemon(name).pid, signal.SIGKILL)
    await asyncio.sleep(f.seconds)
    await in_thread(stage.start, name)


async def drain(stage, f):
    """SIGTERM: it must end by itself."""
    daemon = stage.daemon(f.victims[0])
    stage.pause_keeper(daemon.name)
    send(daemon.pid, signal.SIGTERM)
    if not await gone(daemon, 45):
        f.problem = f"{daemon.name} did not end after SIGTERM"
        send(daemon.pid, signal.SIGKILL)
    await in_thread(stage.start, daemon.name)


async def freeze(stage, f):
    """SIGSTOP for longer than the lease, so that it comes back as a zombie: a history node has been declared dead by then,
    has to find that out by itself, and to begin anew."""
    daemon = stage.daemon(f.victims[0])
    pid = daemon.pid
    send(pid, signal.SIGSTOP)
    await asyncio.sleep(f.seconds)
    send(pid, signal.SIGCONT)
    until = time.monotonic() + 10
    while daemon.role == "history" and stage.daemon(daemon.name).pid == pid:
        if time.monotonic() > until:
            f.problem = f"{daemon.name} goes on although it was declared dead"
            break
        await asyncio.sleep(0.1)


async def rolling_restart(stage, f):
    for name in [d.name for d in stage.cluster.daemons]:
        await in_thread(stage.restart, name)


async def join_and_leave(stage, f):
    role = f.victims[0].rpartition("-")[0]
    await in_thread(stage.resize, role, stage.shape[role] + 1)
    await asyncio.sleep(f.seconds)
    await in_thread(stage.resize, role, stage.shape[role])


# ---------------------------------------------------------------- PostgreSQL


async def kill_postgres(stage, f):
    """The postmaster dies; its backends notice, and nobody has shut anything down."""
    send(stage.cluster.postgres_pid, signal.SIGKILL)
    await asyncio.sleep(f.seconds)
    await in_thread(stage.start_postgres)


async def restart_postgres(stage, f):
    """An immediate shutdown."""
    send(stage.cluster.postgres_pid, signal.SIGQUIT)
    until = time.monotonic() + 20
    while stage.cluster.postgres_alive and time.monotonic() < until:
        await asyncio.sleep(0.02)
    await asyncio.sleep(f.seconds)
    await in_thread(stage.start_postgres)


async def stall_postgres(stage, f):
    """Nobody may be declared dead because the database stands still."""
    before = await in_thread(stage.incarnations)
    ended = dict(stage.ended)
    processes = family(stage.cluster.postgres_pid)
    for pid in processes:
        send(pid, signal.SIGSTOP)
    await asyncio.sleep(f.seconds)
    for pid in processes:
        send(pid, signal.SIGCONT)
    await asyncio.sleep(1)
    await in_thread(stage.wait_ready)
    after = await in_thread(stage.incarnations)
    if before != after or ended != stage.ended:
        f.problem = f"the stall of the database killed somebody: {before} became {after}"


# ---------------------------------------------------------------- the network


def cutting(how):
    async def cut(stage, f):
        await in_thread(stage.net.change, *f.victims, how)
        await asyncio.sleep(f.seconds)
        await in_thread(stage.net.change, *f.victims, "heal")

    return cut


async def isolate(stage, f):
    """One daemon is cut off from everybody, without a word."""
    name = f.victims[0]
    others = [d.name for d in stage.cluster.daemons if d.name != name] + ["postgres"]
    for how, pause in (("silent", f.seconds), ("heal", 0)):
        for other in others:
            await in_thread(stage.net.change, name, other, how)
        await asyncio.sleep(pause)


# ---------------------------------------------------------------- the schedule


def one(choose, stage, role=None):
    return (choose.choice(stage.names(role or choose.choice(ROLES))),)


def pair(choose, stage):
    """Two daemons that talk with each other."""
    roles = choose.choice(
        [("history", "history"), ("gateway", "history"), ("frontend", "history"), ("matching", "history"),
         ("gateway", "matching")]
    )  # fmt: skip
    first = choose.choice(stage.names(roles[0]))
    second = choose.choice([n for n in stage.names(roles[1]) if n != first])
    return first, second


def edge_and_history(choose, stage):
    """An edge can't reach one history node, which the others can: those relay."""
    return *one(choose, stage, choose.choice(("frontend", "gateway"))), *one(choose, stage, "history")


def from_postgres(choose, stage):
    return (*one(choose, stage), "postgres")


def role_kill(role):
    return kill, lambda c, s: one(c, s, role), None


# kind → what to do, to whom, and how long at least and at most
KINDS = {
    "kill -9 history": role_kill("history"),
    "kill -9 matching": role_kill("matching"),
    "kill -9 gateway": role_kill("gateway"),
    "kill -9 frontend": role_kill("frontend"),
    "dead for 10 s": (leave_dead, lambda c, s: one(c, s, "history"), (10, 10)),
    "SIGTERM": (drain, one, None),
    "SIGSTOP 10 s": (freeze, lambda c, s: one(c, s, "history"), (10, 10)),
    "SIGSTOP 10 s, others": (freeze, lambda c, s: one(c, s, c.choice(("matching", "gateway", "frontend"))), (10, 10)),
    "rolling restart": (rolling_restart, lambda c, s: (), None),
    "join, leave": (join_and_leave, one, (2, 5)),
    "PostgreSQL kill -9": (kill_postgres, lambda c, s: ("postgres",), (0, 2)),
    "PostgreSQL immediate": (restart_postgres, lambda c, s: ("postgres",), (0, 3)),
    "PostgreSQL stalls": (stall_postgres, lambda c, s: ("postgres",), (1, 15)),
    "cut, silent": (cutting("silent"), pair, (1, 15)),
    "cut, reset": (cutting("reset"), pair, (1, 10)),
    "edge and owner, silent": (cutting("silent"), edge_and_history, (10, 10)),
    "cut, deaf": (cutting("deaf"), pair, (4, 4)),
    "no database, silent": (cutting("silent"), from_postgres, (1, 15)),
    "no database, reset": (cutting("reset"), from_postgres, (1, 15)),
    "no database, deaf": (cutting("deaf"), from_postgres, (6, 6)),
    "writer forgotten": (cutting("busiest"), lambda c, s: (*one(c, s, "history"), "postgres"), (9, 9)),
    "isolated": (isolate, one, (1, 15)),
}


def schedule(seed, stage, kinds, pause, rounds=None, longest=None):
    """Faults without end (or `rounds` times each kind), the same ones for the same seed and shape. `longest`: seconds of
    those whose length is open."""
    choose = random.Random(seed)
    done = 0
    while rounds is None or done < rounds:
        order = list(kinds)
        choose.shuffle(order)
        for kind in order:
            _, victims, seconds = KINDS[kind]
            named = victims(choose, stage)
            lasting = choose.uniform(*seconds) if seconds else 0.0
            if longest and seconds and seconds[0] < longest:
                lasting = min(lasting, longest)
            yield Fault(kind, named, lasting, choose.uniform(*pause))
        done += 1


async def rage(stage, faults, stop, say):
    """One fault after the other until there are no more, or `stop` is set; answers those that were done."""
    log = []
    for f in faults:
        try:
            await asyncio.wait_for(stop.wait(), f.pause)
        except asyncio.TimeoutError:
            pass
        if stop.is_set():
            break
        f.at = time.monotonic()
        try:
            await KINDS[f.kind][0](stage, f)
            await in_thread(stage.wait_ready)
        except Exception as e:  # a fault that can't be done is a finding
            f.problem = f.problem or f"{type(e).__name__}: {e}"
        f.took = time.monotonic() - f.at
        log.append(f)
        say(f"{f.kind:<22} {f.to:<28} {f.took:5.1f} s {f.problem}")
    return log
