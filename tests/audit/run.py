#!/usr/bin/env python3
"""What is wrong in a cluster's database is found and, where it can be, repaired; and why a run waits is said.

Prints 'N passed, N failed'.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / "oracle"), str(ROOT / "tests" / "fault"), str(ROOT / "tools" / "lib")]
from lib import bootstrap  # noqa: E402  (before anything that needs a package)

PATIENCE_S = 40
SETTINGS = {"history.checkpoint_interval": "300ms", "audit.repair": "false"}
HOUR = "3600s"


class Failed(Exception):
    """What should be true is not."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


async def eventually(look, text, seconds=PATIENCE_S):
    """Waits until look() is true; looks several times a second."""
    end = time.monotonic() + seconds
    while not await look():
        expect(time.monotonic() < end, f"waited in vain: {text}")
        await asyncio.sleep(0.2)  # the pace of looking


async def output_of(*command):
    done = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await done.communicate()
    return done.returncode, out.decode(), err.decode()


class World:
    """The cluster, a worker that does what a case says, perdurectl, and the database."""

    def __init__(self, cluster, perdurectl):
        from lib.wire import Wire

        self.cluster = cluster
        edges = [process for process in cluster.status()["processes"] if process.get("grpc")]
        self.wires = {edge["role"]: Wire(edge["grpc"]) for edge in edges}
        self.dsn = cluster.status()["postgres"]["dsn"]
        self.perdurectl = perdurectl

    async def close(self):
        for wire in self.wires.values():
            await wire.close()

    async def call(self, method, request, timeout_s=10):
        """A call, repeated while a node is away."""
        from lib.wire import Refused

        role = "worker_gateway" if method.startswith(("Poll", "Respond", "Record")) else "frontend"
        wire = self.wires.get(role) or self.wires["frontend"]
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await wire.call(method, {"namespace": "default", **request}, timeout_s=timeout_s)
            except Refused as error:
                if error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or time.monotonic() > end:
                    raise

    async def start(self, queue=None, **more):
        """(workflow id, run id) of a new workflow on a queue of its own, or on that one."""
        workflow_id = f"a-{uuid.uuid4().hex[:8]}"
        answer = await self.call(
            "StartWorkflowExecution",
            {
                "workflow_id": workflow_id,
                "workflow_type": {"name": "kind"},
                "task_queue": {"name": queue or workflow_id},
                "request_id": str(uuid.uuid4()),
                **more,
            },
        )
        return workflow_id, answer.run_id

    async def poll(self, queue, kind="Workflow"):
        request = {"task_queue": {"name": queue}, "identity": "the-worker"}
        while True:
            task = await self.call(f"Poll{kind}TaskQueue", request, timeout_s=20)
            if task.task_token:
                return task

    async def answer(self, task, *commands):
        import base64

        token = base64.b64encode(task.task_token).decode()
        await self.call("RespondWorkflowTaskCompleted", {"task_token": token, "commands": list(commands)})

    async def decided(self, *commands, **more):
        """A workflow whose first task was answered so."""
        workflow_id, run_id = await self.start(**more)
        await self.answer(await self.poll(workflow_id), *commands)
        return workflow_id, run_id

    async def ctl(self, *arguments, status=0):
        code, out, err = await output_of(self.perdurectl, "--dsn", self.dsn, "--json", *arguments)
        expect(code == status, f"perdurectl {' '.join(arguments)} ended with {code}: {out}{err}")
        return json.loads(out) if out.strip() else None

    async def why(self, workflow_id, reason, *words):
        said = await self.ctl("workflow", "why", "default", workflow_id)
        expect(said["reason"] == reason, f"{said} instead of {reason}")
        for word in words:
            expect(word in said["why"], f"{word!r} is not in {said['why']!r}")

    async def sql(self, statement):
        code, out, err = await output_of("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.dsn, "-c", statement)
        expect(code == 0, f"psql failed: {statement}: {err}")
        return out.strip()

    async def stored(self, workflow_id, run_id, table="run"):
        """Until the run's row is as new as the run."""

        async def there():
            return await self.sql(f"SELECT count(*) FROM {table} WHERE run_id = '{run_id}'") == "1"

        await eventually(there, f"a row of {run_id} in {table}")

        async def all_of_it():
            storage = (await self.ctl("workflow", "show", "default", workflow_id, run_id))["storage"]
            return storage["seq"] == storage["stored_seq"] and not storage["dirty_since"]

        await eventually(all_of_it, f"all of {run_id} to be stored")

    async def found(self, workflow_id, *options):
        """{kind: repaired} of what an audit of that workflow finds."""
        scope = ("--namespace", "default", "--workflow-id", workflow_id)
        for _ in range(20):
            code, out, err = await output_of(self.perdurectl, "--dsn", self.dsn, "--json", "audit", *scope, *options)
            expect(code in (0, 3), err)
            answer = json.loads(out)
            if not answer["shards_missed"]:
                break
        violations = [v for node in answer["nodes"] for v in node["violations"]]
        self.said = [v["what"] for v in violations]
        return {v["kind"]: v["repaired"] for v in violations}

    async def planted(self, workflow_id, *kinds):
        """These are found, no others but that memory differs from what was changed, and nothing is done about them."""
        found = await self.found(workflow_id)
        expect(set(found) - {"memory"} == set(kinds), f"{sorted(found)} instead of {sorted(kinds)}: {self.said}")
        expect(not any(found.values()), f"repaired though nobody asked: {found}")

    async def repaired(self, workflow_id, *kinds):
        found = await self.found(workflow_id, "--repair")
        expect(all(found.get(kind) for kind in kinds), f"not repaired: {found}")

        async def clean():
            return not await self.found(workflow_id)

        await eventually(clean, f"{workflow_id} to be without violations")

    async def cold(self, between):
        """Every history node dies; `between` happens; they come back with nothing in memory that isn't due."""
        for process in self.cluster.status()["processes"]:
            if process["role"] == "history" and process["pid"]:
                os.kill(process["pid"], signal.SIGKILL)
        await between()
        await asyncio.get_running_loop().run_in_executor(None, self.cluster.up)


# ---------------------------------------------------------------- why a run waits


def timer(seconds=3600):
    return {"command_type": "COMMAND_TYPE_START_TIMER",
            "start_timer_command_attributes": {"timer_id": "t1", "start_to_fire_timeout": f"{seconds}s"}}  # fmt: skip


def activity(queue, **more):
    attributes = {
        "activity_id": "a1",
        "activity_type": {"name": "work"},
        "task_queue": {"name": queue},
        "start_to_close_timeout": HOUR,
        "schedule_to_close_timeout": HOUR,
        **more,
    }
    return {"command_type": "COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK", "schedule_activity_task_command_attributes": attributes}


COMPLETE = {"command_type": "COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION",
            "complete_workflow_execution_command_attributes": {}}  # fmt: skip


async def why_workflow_tasks(world):
    """No poller, a worker that has it, a task that fails, one that is not due."""
    import base64

    workflow_id, _ = await world.start()
    await world.why(workflow_id, "workflow_task_waits", workflow_id, "no worker has polled it")
    task = await world.poll(workflow_id)
    await world.why(workflow_id, "workflow_task_started", "the-worker", "times out at")
    token = base64.b64encode(task.task_token).decode()
    failure = {"message": "nondeterminism!", "application_failure_info": {}}
    cause = "WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR"
    await world.call("RespondWorkflowTaskFailed", {"task_token": token, "cause": cause, "failure": failure})
    await world.why(workflow_id, "workflow_task_fails", "attempt 2", "NON_DETERMINISTIC_ERROR", "nondeterminism!")
    await world.poll(workflow_id)
    await world.call(
        "SignalWorkflowExecution", {"workflow_execution": {"workflow_id": workflow_id}, "signal_name": "s"}
    )
    await world.why(workflow_id, "workflow_task_fails", "started by worker the-worker", "1 events wait for it")
    workflow_id, _ = await world.start(workflow_start_delay=HOUR)
    await world.why(workflow_id, "start_delayed", "held back until", "delay")
    workflow_id, _ = await world.start(cron_schedule="0 0 1 1 *")
    await world.why(workflow_id, "start_delayed", "cron schedule")
    # Matching keeps who polled for some minutes, and says since when nobody does; gateways report it now and then.
    first, _ = await world.start()
    await world.answer(await world.poll(first), COMPLETE)
    workflow_id, _ = await world.start(queue=first)

    async def known():
        said = await world.ctl("workflow", "why", "default", workflow_id)
        return said["reason"] == "workflow_task_waits" and f"{first}: nobody has polled it since 20" in said["why"]

    await eventually(known, "matching to hear that nobody polls any more")


async def why_runs_after_others(world):
    """A retry and a run that follows another are held back."""
    fail = {"command_type": "COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION",
            "fail_workflow_execution_command_attributes": {
                "failure": {"message": "boom", "application_failure_info": {"type": "Boom"}}}}  # fmt: skip
    workflow_id, _ = await world.decided(fail, retry_policy={"initial_interval": HOUR, "maximum_attempts": 2})
    await world.why(workflow_id, "start_delayed", "held back until 20", "retry policy")
    again = {"workflow_type": {"name": "kind"}, "task_queue": {"name": "nobody"}, "backoff_start_interval": HOUR}
    workflow_id, _ = await world.decided(
        {"command_type": "COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION",
         "continue_as_new_workflow_execution_command_attributes": again}  # fmt: skip
    )
    await world.why(workflow_id, "start_delayed", "held back until 20", "backoff of the run before")


async def why_what_it_began(world):
    """Timers, activities in each of their states, nothing at all."""
    import base64

    workflow_id, _ = await world.decided(timer())
    await world.why(workflow_id, "timer", "timer t1 of 20")
    workflow_id, _ = await world.decided()
    await world.why(workflow_id, "signal", "waits for a signal")
    queue = f"q-{uuid.uuid4().hex[:8]}"
    retry = {"initial_interval": "600s"}
    workflow_id, _ = await world.decided(activity(queue, heartbeat_timeout="30s", retry_policy=retry))
    await world.why(workflow_id, "activity_waits", "a1", queue, "no worker has polled it")
    task = await world.poll(queue, "Activity")
    await world.why(workflow_id, "activity_started", "running on worker the-worker", "heartbeat")
    token = base64.b64encode(task.task_token).decode()
    failure = {"message": "boom", "application_failure_info": {"type": "Boom"}}
    await world.call("RespondActivityTaskFailed", {"task_token": token, "failure": failure})
    await world.why(workflow_id, "activity_backoff", "attempt 2", "backoff until", "boom")
    shown = await world.ctl("workflow", "show", "default", workflow_id, "--history")
    expect(shown["activities"][0]["attempt"] == 2 and shown["history"]["events"], "show lacks what is pending")
    expect("journal" in shown, "show lacks the journal")


async def why_it_is_over(world):
    """Closed, followed by another run, gone by retention, unknown, and a shard that nobody serves."""
    workflow_id, run_id = await world.decided(COMPLETE)
    await world.why(workflow_id, "closed", "Completed since")
    again = {"workflow_type": {"name": "kind"}, "task_queue": {"name": "nobody"}}
    following, first = await world.decided(
        {"command_type": "COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION",
         "continue_as_new_workflow_execution_command_attributes": again}  # fmt: skip
    )
    said = await world.ctl("workflow", "why", "default", following, first)
    expect("follows it" in said["why"], f"{said}")
    await world.ctl("workflow", "why", "default", "never-was", status=1)

    async def is_over():
        await world.sql(
            "UPDATE closed_run SET retention_end = (SELECT min(from_ns) FROM closed_partition)"
            f" WHERE run_id = '{run_id}'"
        )
        said = await world.ctl("workflow", "why", "default", following)
        expect(said["reason"] in ("owner_silent", "shard_moving"), f"{said}")

    await world.stored(workflow_id, run_id, "closed_run")
    await world.cold(is_over)

    async def gone():
        code, out, _ = await output_of(
            world.perdurectl, "--dsn", world.dsn, "--json", "workflow", "why", "default", workflow_id
        )
        return code == 0 and json.loads(out)["reason"] == "retention"

    await eventually(gone, "a run whose retention is over to be told as such")


# ---------------------------------------------------------------- what the auditor finds


async def rows(world):
    """A row that doesn't fit its snapshot; what can be derived from that is."""
    workflow_id, run_id = await world.decided(timer())
    await world.stored(workflow_id, run_id)
    expect(not await world.found(workflow_id), "a violation where there is none")
    was = await world.sql(f"SELECT wake_at FROM run WHERE run_id = '{run_id}'")
    await world.sql(f"UPDATE run SET wake_at = wake_at + 1000000000 WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "deadline")
    await world.repaired(workflow_id, "deadline")
    now = await world.sql(f"SELECT wake_at FROM run WHERE run_id = '{run_id}'")
    expect(now == was, f"wake_at is {now} instead of {was}")
    await world.sql(f"UPDATE run SET status = 2 WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "row")
    await world.sql(f"UPDATE run SET status = 1, start_seq = start_seq + 1 WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "row")
    await world.sql(f"UPDATE run SET snapshot = '\\xff' WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "unreadable")
    workflow_id, run_id = await world.start()
    await world.stored(workflow_id, run_id)
    await world.sql(f"UPDATE run SET outbound = false WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "outbound")
    await world.repaired(workflow_id, "outbound")
    await world.sql(
        "INSERT INTO run SELECT shard_id, namespace_id, workflow_id, 'another', start_seq, applied_seq, open, outbound,"
        f" status, wake_at, start_time, close_time, retention_end, snapshot FROM run WHERE run_id = '{run_id}'"
    )
    found = await world.found(workflow_id)
    expect("two_open" in found and "row" in found, f"{found}")


async def histories(world):
    """Chunks that are missing, causes that aren't there, things that the history leaves open and the run hasn't."""
    from temporalio.api.history.v1 import History

    async def chunk(run_id):
        text = await world.sql(f"SELECT events FROM history WHERE run_id = '{run_id}' ORDER BY first_event_id DESC LIMIT 1")
        return History.FromString(bytes.fromhex(text[2:]))

    async def put(run_id, history):
        await world.sql(
            f"UPDATE history SET events = '\\x{history.SerializeToString().hex()}' WHERE run_id = '{run_id}'"
            f" AND first_event_id = (SELECT max(first_event_id) FROM history WHERE run_id = '{run_id}')"
        )

    workflow_id, run_id = await world.decided(timer())
    await world.stored(workflow_id, run_id)
    good = await chunk(run_id)
    bad = History()
    bad.CopyFrom(good)
    bad.events[-1].timer_started_event_attributes.workflow_task_completed_event_id = 1
    await put(run_id, bad)
    await world.planted(workflow_id, "cause")
    bad.CopyFrom(good)
    bad.events[-1].event_id += 1
    await put(run_id, bad)
    await world.planted(workflow_id, "events")
    bad.CopyFrom(good)
    bad.events[-1].event_type = "EVENT_TYPE_MARKER_RECORDED"
    bad.events[-1].marker_recorded_event_attributes.workflow_task_completed_event_id = bad.events[-1].event_id - 1
    await put(run_id, bad)
    await world.planted(workflow_id, "pending")
    await put(run_id, good)
    await world.planted(workflow_id)
    await world.sql(f"DELETE FROM history WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "events")


async def closed(world):
    """A closed run that is not as it was left."""
    workflow_id, run_id = await world.start()
    await world.stored(workflow_id, run_id)
    await world.sql(f"CREATE TABLE before AS SELECT * FROM run WHERE run_id = '{run_id}'")
    await world.call("TerminateWorkflowExecution", {"workflow_execution": {"workflow_id": workflow_id}})
    await world.stored(workflow_id, run_id, "closed_run")
    expect(not await world.found(workflow_id), "a violation where there is none")
    await world.sql("INSERT INTO run SELECT * FROM before")
    await world.planted(workflow_id, "closed")
    await world.sql(f"DELETE FROM run WHERE run_id = '{run_id}'")
    await world.sql(f"UPDATE closed_run SET close_time = close_time + 1 WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "closed")
    await world.sql(f"UPDATE closed_run SET close_time = close_time - 1, status = 2 WHERE run_id = '{run_id}'")
    await world.planted(workflow_id, "row")


async def backlog(world):
    """A task of a run that isn't in memory, whose row is gone, is offered again."""
    workflow_id, run_id = await world.start()
    await world.stored(workflow_id, run_id)

    async def lose():
        lost = await world.sql(f"WITH gone AS (DELETE FROM backlog WHERE run_id = '{run_id}' RETURNING 1) SELECT count(*) FROM gone")
        expect(lost == "1", f"{lost} rows in the backlog instead of one")

    await world.cold(lose)

    async def is_found():
        return "not_offered" in await world.found(workflow_id)

    await eventually(is_found, "a task without row to be found")
    found = await world.found(workflow_id, "--repair")
    expect(found.get("not_offered"), f"not repaired: {found}")
    task = await world.poll(workflow_id)
    expect(task.workflow_execution.run_id == run_id, "no workflow task came")


async def refused(world):
    """A run that the database won't take is told of and keeps no other from its row; when it is taken, all is well."""
    workflow_id = f"refused-{uuid.uuid4().hex[:8]}"
    await world.sql(f"ALTER TABLE run ADD CONSTRAINT planted CHECK (workflow_id <> '{workflow_id}')")
    try:
        _, run_id = await world.start(workflow_id=workflow_id)
        for other in [await world.start() for _ in range(5)]:
            await world.stored(*other)

        async def is_found():
            return "fold" in await world.found(workflow_id)

        await eventually(is_found, "a run that is refused to be told of")
        await world.planted(workflow_id, "fold")
    finally:
        await world.sql("ALTER TABLE run DROP CONSTRAINT planted")

    async def nothing():
        pass

    await world.cold(nothing)  # rather than waiting until it is tried again
    await world.stored(workflow_id, run_id)
    expect(not await world.found(workflow_id), f"still told of: {world.said}")


def fields(data):
    """(number, bytes of the field with its tag, payload or None) of a protobuf message."""

    def varint(at):
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    at = 0
    while at < len(data):
        tag, value_at = varint(at)
        end = {0: lambda p: varint(p)[1], 1: lambda p: p + 8, 5: lambda p: p + 4}.get(tag & 7)
        if end:
            after, payload = end(value_at), None
        else:
            length, begin = varint(value_at)
            after, payload = begin + length, data[begin : begin + length]
        yield tag >> 3, data[at:after], payload
        at = after


def length_delimited(number, payload):
    size, length = len(payload), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


def without_task(snapshot):
    """The snapshot of a run that has forgotten its workflow task: RunSnapshot.exec.workflow_task."""
    out = b""
    for number, raw, payload in fields(snapshot):
        if number == 2:
            raw = length_delimited(2, b"".join(part for inner, part, _ in fields(payload) if inner != 4))
        out += raw
    return out


async def stuck(world):
    """A run that waits for nothing is found, and gets a workflow task when somebody asks for it."""
    workflow_id, run_id = await world.start()
    await world.stored(workflow_id, run_id)

    async def forget():
        text = await world.sql(f"SELECT snapshot FROM run WHERE run_id = '{run_id}'")
        snapshot = without_task(bytes.fromhex(text[2:]))
        await world.sql(f"UPDATE run SET outbound = false, snapshot = '\\x{snapshot.hex()}' WHERE run_id = '{run_id}'")

    await world.cold(forget)

    async def is_found():
        return "stuck" in await world.found(workflow_id)

    await eventually(is_found, "a run that waits for nothing to be found")
    found = await world.found(workflow_id, "--repair")
    expect(found.get("stuck"), f"not repaired: {found}")
    task = await world.poll(workflow_id)
    expect(task.workflow_execution.run_id == run_id, "no workflow task came")


CASES = {
    case.__name__: case
    for case in (
        why_workflow_tasks,
        why_runs_after_others,
        why_what_it_began,
        rows,
        histories,
        closed,
        stuck,
        backlog,
        refused,
        why_it_is_over,
    )
}


async def run(cluster, perdurectl, names):
    world = World(cluster, perdurectl)
    failed = 0
    for name in names:
        try:
            await CASES[name](world)
            print(f"ok   {name}", flush=True)
        except Exception as error:  # a case that fails in any way fails alone
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc(file=sys.stdout)
    await world.close()
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(CASES), help="one case")
    parser.add_argument("--keep", action="store_true", help="leave the cluster's data for a look")
    options = parser.parse_args()
    bootstrap.enter(ROOT / "tests" / "oracle" / "requirements.txt")
    from chaos import Cluster
    from cluster import build_dir
    from test import free_port

    data = tempfile.mkdtemp(prefix="perdure-audit-")
    os.chmod(data, 0o755)  # PostgreSQL's user has to get in
    settings = [argument for key, value in SETTINGS.items() for argument in ("--set", f"{key}={value}")]
    cluster = Cluster(data, free_port(), ["--shards", "4", *settings])
    try:
        cluster.up()
        perdurectl = str(build_dir() / "tools" / "perdurectl" / "perdurectl")
        return asyncio.run(run(cluster, perdurectl, [options.only] if options.only else list(CASES)))
    finally:
        cluster.down()
        if not options.keep:
            shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
