"""tools/status: the processes of a cluster that tools/up started. Exit code 0 if all are healthy."""

import argparse
import json
import shlex
import sys

from cluster import PERDURECTL, Cluster, build_dir


def table(status, private_postgres):
    rows = [("NAME", "PID", "GRPC", "HTTP", "NNG", "STATE")]
    for p in status["processes"]:
        state = "down" if p["pid"] is None else "sick" if not p["healthy"] else "serves" if p["ready"] else "not ready"
        rows.append((p["name"], str(p["pid"] or "-"), p["grpc"] or "-", p["http"], p["nng"], state))
    postgres = status["postgres"]
    if private_postgres:
        rows.append(("postgres", str(postgres["pid"] or "-"), "-", "-", "-", "serves" if postgres["pid"] else "down"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(f"database: {postgres['dsn']}")


def environment(cluster):
    """For eval in a shell: perdurectl on the PATH knows the database, SDKs and the temporal command line the address."""
    edge = next(daemon.grpc for daemon in cluster.daemons if daemon.role in ("frontend", "standalone"))
    tool = (build_dir() / PERDURECTL).parent
    lines = [f"export PERDURE_DATABASE_DSN={shlex.quote(cluster.dsn)}", f"export TEMPORAL_ADDRESS={shlex.quote(edge)}"]
    return "\n".join([*lines, f'export PATH={shlex.quote(str(tool))}:"$PATH"'])


def main():
    parser = argparse.ArgumentParser(prog="tools/status", description="Shows the processes of a cluster.")
    parser.add_argument("--data", default=".perdure", metavar="DIR", help="data directory (default .perdure)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--env", action="store_true", help="as shell variables for clients, workers and perdurectl")
    given = parser.parse_args()
    cluster = Cluster(given.data)
    if not cluster.known:
        sys.exit(f"tools/status: {cluster.data} is not the data directory of a cluster")
    if given.env:
        print(environment(cluster))
        return 0
    status = cluster.status()
    if given.json:
        print(json.dumps(status, indent=1))
    else:
        table(status, not cluster.options.pg)
    return 0 if all(p["healthy"] for p in status["processes"]) else 1


if __name__ == "__main__":
    sys.exit(main())
