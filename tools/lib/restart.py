"""tools/restart: a rolling restart. One daemon after the other is drained (SIGTERM) and started again with the binary
that is there now; the next one's turn comes when everything serves. Clients go on meanwhile."""

import argparse
import sys

from cluster import Cluster, ClusterError


def say(text):
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="tools/restart", description=__doc__)
    parser.add_argument("--data", default=".perdure", metavar="DIR", help="data directory (default .perdure)")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which daemons, as tools/status names them (all)")
    given = parser.parse_args()
    cluster = Cluster(given.data)
    if not cluster.known:
        sys.exit(f"tools/restart: {cluster.data} is not the data directory of a cluster")
    unknown = set(given.names) - {daemon.name for daemon in cluster.daemons}
    if unknown:
        sys.exit(f"tools/restart: no daemon is called {', '.join(sorted(unknown))}; see tools/status")
    with cluster.locked():
        for name in given.names or [daemon.name for daemon in cluster.daemons]:
            say(f"{name} drains")
            cluster.restart(name, say)


if __name__ == "__main__":
    try:
        main()
    except ClusterError as e:
        sys.exit(f"tools/restart: {e}")
