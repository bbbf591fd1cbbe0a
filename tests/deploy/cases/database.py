"""What the operator's guide promises of the database: a failover to a synchronous standby loses nothing, to an
asynchronous one loses what the standby had not got and nothing else, and a restored backup goes on where it was."""

import asyncio
import os
import signal

from lib.database import MANY, Perdure, Server, Starter, dsn_of, lost, place, until
from lib.hello import plain_hello

AWAY_S_MAX = 30  # a loaded machine; what is usual is in the guide


def pair(folder, keep):
    """A primary and its standby."""
    one = Server(folder / "one")
    one.create()
    keep(one).up()
    return one, keep(Server(folder / "two").copy_of(one, "-R")).up()


def fail_over(one, two):
    one.die()
    two.sql("SELECT pg_promote()")
    until(lambda: two.sql("SELECT pg_is_in_recovery()") == "f", "the standby is the primary")


def greeting(perdure):
    said = asyncio.run(asyncio.wait_for(plain_hello(perdure.address), 90))
    return None if said == "Hello, World!" else said


def synchronous():
    with place() as (folder, keep):
        one, two = pair(folder, keep)
        one.set("synchronous_standby_names", "*")
        perdure = keep(Perdure(folder / "perdure", dsn_of(one, two))).up()
        starter = Starter(perdure.address)
        asyncio.run(starter.run(lambda: fail_over(one, two)))
        gone = asyncio.run(lost(perdure.address, starter.acknowledged))
        count = len(starter.acknowledged)
        print(f"     synchronous standby: {count} starts acknowledged, {len(gone)} lost, away {starter.away_s:.2f} s")
        yield "synchronous failover: nothing is lost", f"{len(gone)} of {count}" if gone else None
        yield "synchronous failover: back soon", None if starter.away_s < AWAY_S_MAX else f"{starter.away_s:.0f} s"
        yield "synchronous failover: workflows run", greeting(perdure)


def asynchronous():
    """The standby's feed is held a while before the primary dies."""
    with place() as (folder, keep):
        one, two = pair(folder, keep)
        perdure = keep(Perdure(folder / "perdure", dsn_of(one, two))).up()
        starter = Starter(perdure.address)
        held = []

        def lag_and_fail():
            os.kill(int(one.sql("SELECT pid FROM pg_stat_replication")), signal.SIGSTOP)
            held.append(len(starter.acknowledged))
            starter.wait_for_more(MANY)
            held.append(len(starter.acknowledged))
            fail_over(one, two)

        asyncio.run(starter.run(lag_and_fail))
        gone = set(asyncio.run(lost(perdure.address, starter.acknowledged)))
        where = [i for i, name in enumerate(starter.acknowledged) if name in gone]
        print(f"     asynchronous standby, {held[1] - held[0]} starts behind: {len(starter.acknowledged)} starts acknowledged, "
              f"{len(gone)} lost")  # fmt: skip
        # What was acknowledged before the lag began had been sent, what came after the failover is in the new primary.
        early = [i for i in where if i < held[0] - 50]
        late = [i for i in where if i > held[1] + 50]
        yield "asynchronous failover: only the lag is lost", f"before it: {early}, after it: {late}" if early or late else None
        yield "asynchronous failover: workflows run", greeting(perdure)


def restored():
    """A base backup and the WAL archive, brought to a moment; the guide's steps."""
    with place() as (folder, keep):
        one = Server(folder / "one")
        one.create()
        archive = one.owned(folder / "archive")
        keep(one).up(archive_mode="on", archive_command=f"cp %p {archive}/%f")
        perdure = keep(Perdure(folder / "perdure", one.dsn)).up()
        starter = Starter(perdure.address)
        two = Server(folder / "two")
        asyncio.run(starter.run(lambda: two.copy_of(one)))
        then = one.sql("SELECT now()")
        until(lambda: one.sql("SELECT now()") > then, "a moment has passed")
        before = len(starter.acknowledged)
        later = Starter(perdure.address)
        asyncio.run(later.run(lambda: None))
        perdure.down()
        one.sql("SELECT pg_switch_wal()")
        until(lambda: one.sql("SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) FROM pg_stat_archiver") == "t",
              "the WAL is archived")  # fmt: skip
        one.stop()
        settings = {"restore_command": f"cp {archive}/%f %p", "recovery_target_time": then,
                    "recovery_target_action": "promote"}  # fmt: skip
        (two.folder / "cluster" / "recovery.signal").touch()
        two._own(two.folder / "cluster" / "recovery.signal")
        keep(two).up(**settings)
        until(lambda: two.sql("SELECT pg_is_in_recovery()") == "f", "recovery is done")
        two.sql("DELETE FROM node")
        again = keep(Perdure(folder / "again", two.dsn)).up()
        gone = asyncio.run(lost(again.address, starter.acknowledged))
        yield "restore: what came before the moment is there", f"{len(gone)} of {before} are not" if gone else None
        gone = asyncio.run(lost(again.address, later.acknowledged))
        held = len(later.acknowledged) - len(gone)
        yield "restore: what came after it is not", f"{held} of {len(later.acknowledged)} are" if held else None
        yield "restore: workflows run", greeting(again)


def cases():
    yield from synchronous()
    yield from asynchronous()
    yield from restored()
