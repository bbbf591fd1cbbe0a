"""tools/up: starts a cluster on this machine, or what is missing of it."""

import argparse
import signal
import sys
import time
from dataclasses import replace

import process
from cluster import Cluster, ClusterError

REVIVE_PAUSE_S = 1
REVIVE_PAUSE_MAX_S = 60
STEADY_S = 60  # who ran for so long has recovered

EPILOG = """\
Without --detach it stays in the foreground, starts again what dies, and Ctrl-C stops everything. Started again on the same data directory it
starts what is not running, with the options of the last time unless others are given; --histories 3 and the like
start more or stop some of a running cluster.
"""


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/up", description="Builds Perdure and starts a cluster with its own PostgreSQL.", epilog=EPILOG
    )
    parser.add_argument("--detach", action="store_true", help="return when the cluster serves")
    parser.add_argument("--data", default=".perdure", metavar="DIR", help="data directory (default .perdure)")
    parser.add_argument("--port", type=int, metavar="P", help="frontend gRPC; gateway P+1, HTTP P+10 (default 7233)")
    parser.add_argument("--host", metavar="ADDRESS", help="address for gRPC and HTTP (default 127.0.0.1)")
    for role in ("frontends", "histories", "matchings", "gateways"):
        parser.add_argument(f"--{role}", type=int, metavar="N", help=f"how many {role} (default 1)")
    parser.add_argument("--single", action="store_true", default=None, help="one process with all roles")
    parser.add_argument("--pg", metavar="DSN", help="use this PostgreSQL instead of a private one")
    parser.add_argument("--shards", type=int, metavar="N", help="history shards of a new cluster (default 64)")
    parser.add_argument(
        "--set", action="append", metavar="SECTION.KEY=VALUE", help="a setting for all daemons; see --print-config"
    )
    parser.add_argument("--no-build", action="store_true", help="neither install packages nor build")
    return parser.parse_args()


def options_of(given, before):
    """Those of the last time, with what was given now."""
    names = ("port", "host", "frontends", "histories", "matchings", "gateways", "single", "pg", "shards")
    changes = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if given.set is not None:
        pairs = [pair.partition("=") for pair in given.set]
        if any("." not in name or not equals for name, equals, _ in pairs):
            raise ClusterError("--set: expected SECTION.KEY=VALUE")
        changes["settings"] = {name: value for name, _, value in pairs}
    return replace(before, **changes)


def say(text):
    print(text, flush=True)


def summary(cluster):
    edge = [daemon.grpc for daemon in cluster.daemons if daemon.role in ("frontend", "standalone")]
    http = [daemon.http for daemon in cluster.daemons if daemon.role in ("frontend", "standalone")]
    say(f"Perdure serves gRPC on {', '.join(edge)} and HTTP on {', '.join(http)}.")
    say(f"Logs are in {cluster.data / 'logs'}; stop it with tools/down --data {cluster.data}")


def supervise(cluster):
    """Until Ctrl-C or SIGTERM. A process that ends is started again; one that keeps ending, after longer and longer."""
    ended = []
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: ended.append(True))
    again = {}  # name → (when it may start again, how long it waits the next time)
    while not ended:
        process.reap()
        cluster.reload()
        if cluster.stopped:
            return  # by tools/down
        now = time.monotonic()
        for name in cluster.dead:
            at, pause = again.get(name, (0, REVIVE_PAUSE_S))
            if now < at:
                continue
            pause = REVIVE_PAUSE_S if now > at + STEADY_S else min(2 * pause, REVIVE_PAUSE_MAX_S)
            again[name] = (now + pause, pause)
            with cluster.locked():
                if name in cluster.dead:
                    say(f"{name} ended; it is started again")
                    cluster.revive([name], say)
        time.sleep(0.2)


def main():
    given = arguments()
    cluster = Cluster(given.data)
    try:
        with cluster.locked():
            cluster.start(options_of(given, cluster.options), say)
        summary(cluster)
        if given.detach:
            return 0
        supervise(cluster)
    except KeyboardInterrupt:
        pass  # while starting
    say("stopping")
    with cluster.locked():
        killed = cluster.stop()
    for name in killed:
        say(f"{name} did not stop and was killed")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(f"tools/up: {error}")
