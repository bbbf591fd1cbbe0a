"""A deep backlog beside a small cache: memory, a takeover by kill -9, another queue's latency, and the drain.

    python3 tests/bench/backlog.py [--tasks 200000] [--cache 32MiB]
"""

import argparse
import json
import os
import signal
import tempfile
import time

import matching as bench


class Deep:
    def __init__(self, program, cluster):
        self.program, self.cluster = program, cluster
        self.histories = cluster.processes("history")

    def overviews(self):
        return [json.loads(bench.asked(p, "/admin/history/overview")) for p in self.histories]

    def memory(self, text):
        matching = sum(bench.resident_mb(p["pid"]) for p in self.cluster.processes("matching"))
        each = ", ".join(f"{bench.resident_mb(p['pid']):.1f}" for p in self.histories)
        seen = self.overviews()
        print(f"  {text:<22} matching {matching:5.1f} MB, history {each} MB; {sum(o['runs'] for o in seen)} runs in memory, "
              f"backlog {sum(o['backlog'] for o in seen)}", flush=True)

    def probe(self, text):
        found = bench.run(self.program, self.cluster, "-mode", "probe", "-total", 200)
        print(f"  {text:<22} another queue: p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms", flush=True)

    def serving(self):
        return sum(s["state"] == "serving" for o in self.overviews() for s in o["shards"])

    def takeover(self):
        victim = self.histories.pop()
        before = self.serving()
        shards = before + sum(s["state"] == "serving" for s in json.loads(bench.asked(victim, "/admin/history/overview"))["shards"])
        os.kill(victim["pid"], signal.SIGKILL)
        began, first = time.monotonic(), None
        while (now := self.serving()) < shards and time.monotonic() - began < 60:
            if first is None and now > before:
                first = time.monotonic() - began
            time.sleep(0.01)
        print(f"  kill -9 of one: {now - before} of its {shards - before} shards serve again, the first after {first or 0:.2f} s, "
              f"all after {time.monotonic() - began:.2f} s", flush=True)

    def drain(self, tasks):
        done = bench.run(self.program, self.cluster, "-mode", "drain", "-queue", "deep", "-total", tasks, "-pollers", 100)
        order = done["out_of_order"]
        print(f"  {done['finished']} done in {done['seconds']:.0f} s; behind a younger one by p99 {order['p99_ms']:.0f} ms, "
              f"at most {order['max_ms']:.0f} ms; {done['errors']} errors", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200_000)
    parser.add_argument("--cache", default="32MiB", help="history.cache_bytes of each of the two nodes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = bench.build(folder)
        data = tempfile.mkdtemp(prefix="perdure-bench-")
        with bench.Cluster(data, histories=2, settings=[f"history.cache_bytes={options.cache}"]) as cluster:
            deep = Deep(program, cluster)
            deep.memory("at first")
            deep.probe("at first")
            done = bench.run(program, cluster, "-mode", "start", "-queue", "deep", "-total", options.tasks, "-in-flight", 200)
            print(f"  {done['started']} started in {done['seconds']:.0f} s, nobody polls; {done['errors']} errors", flush=True)
            time.sleep(15)
            deep.memory("with the backlog")
            deep.probe("with the backlog")
            deep.takeover()
            deep.memory("after the takeover")
            deep.probe("after the takeover")
            deep.drain(options.tasks)
            deep.memory("after it")


if __name__ == "__main__":
    main()
