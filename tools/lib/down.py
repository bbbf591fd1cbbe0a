"""tools/down: stops a cluster that tools/up started."""

import argparse
import sys

from cluster import Cluster


def main():
    parser = argparse.ArgumentParser(prog="tools/down", description="Stops a cluster; its data stays.")
    parser.add_argument("--data", default=".perdure", metavar="DIR", help="data directory (default .perdure)")
    given = parser.parse_args()
    cluster = Cluster(given.data)
    if not cluster.known:
        sys.exit(f"tools/down: {cluster.data} is not the data directory of a cluster")
    with cluster.locked():
        killed = cluster.stop()
    for name in killed:
        print(f"{name} did not stop and was killed")
    return 1 if killed else 0


if __name__ == "__main__":
    sys.exit(main())
