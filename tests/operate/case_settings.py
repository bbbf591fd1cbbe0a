"""Settings that change on a cluster that serves: at once, everywhere, kept over restarts, with a history."""

import json

from world import eventually, expect, unique


async def refused(wire, world, workflow_id):
    """Whether the server finds the id too long."""
    from lib.wire import Refused

    try:
        await world.start(wire, workflow_id)
    except Refused as error:
        expect(error.code == "INVALID_ARGUMENT", f"{error}")
        return True
    await world.terminate(wire, workflow_id)
    return False


async def takes_effect(world):
    """An edge's limit: lowered, kept over restarts, taken back; each at once."""
    wire = world.wire()
    long_id = unique("x" * 500)
    expect(not await refused(wire, world, long_id), "an id of 500 bytes is refused at first")
    world.ctl("config", "set", "limits.id_bytes", "300", status=1)
    expect("--yes" in world.said, f"lowering a limit doesn't ask: {world.said}")
    answer = world.json("config", "set", "limits.id_bytes", "300", "--yes", "--why", "a test")
    expect(answer["everywhere"] and len(answer["nodes"]) == len(world.cluster.daemons), f"{answer}")
    expect(await refused(wire, world, long_id), "the new limit is not in force")
    for role in ("frontend", "history"):
        await world.restart(world.daemon(role).name)
    await wire.close()
    wire = world.wire()
    expect(await refused(wire, world, long_id), "the limit is lost with a restart")
    shown = world.json("config", "show", "limits.id_bytes")
    for node, (setting,) in shown.items():
        expect((setting["value"], setting["source"]) == ("300", "cluster"), f"{node}: {setting}")
        expect((setting["own"], setting["own_source"]) == ("1000", "default"), f"{node}: {setting}")
    world.ctl("config", "unset", "limits.id_bytes")
    expect(not await refused(wire, world, long_id), "the limit is still in force after unset")
    await wire.close()
    world.ctl("config", "unset", "limits.id_bytes", status=1)


async def task_of(wire, queue):
    request = {"namespace": "default", "task_queue": {"name": queue}, "identity": "test"}
    task = await wire.call("PollWorkflowTaskQueue", request, timeout_s=20)
    expect(task.task_token, f"no workflow task on {queue}")
    return task


def activities(count, queue):
    attributes = lambda i: {
        "activity_id": str(i),
        "activity_type": {"name": "a"},
        "task_queue": {"name": queue},
        "start_to_close_timeout": "60s",
    }
    return [
        {"command_type": "COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK", "schedule_activity_task_command_attributes": attributes(i)}
        for i in range(count)
    ]


async def schedules(world, count):
    """Whether a new workflow may schedule so many activities at once."""
    import base64

    from lib.wire import Refused

    wire, queue, workflow_id = world.wire(), unique("queue"), unique("activities")
    await world.start(wire, workflow_id, queue)
    task = await task_of(wire, queue)
    token = base64.b64encode(task.task_token).decode()
    request = {"namespace": "default", "task_token": token, "commands": activities(count, queue), "identity": "test"}
    try:
        await wire.call("RespondWorkflowTaskCompleted", request)
    except Refused as error:
        expect(error.code == "INVALID_ARGUMENT", f"{error}")
    execution = {"workflow_id": workflow_id}
    run = await wire.call("DescribeWorkflowExecution", {"namespace": "default", "execution": execution})
    await world.terminate(wire, workflow_id)
    await wire.close()
    return len(run.pending_activities) == count


async def reaches_history(world):
    """A limit of the core of history, which has a configuration of its own."""
    expect(await schedules(world, 4), "four activities can't be scheduled at first")
    world.ctl("config", "set", "limits.pending_activities", "3", "--yes")
    expect(not await schedules(world, 4), "four activities though the limit is three")
    world.ctl("config", "set", "limits.pending_activities", "5")
    expect(await schedules(world, 4), "the limit was raised and isn't")
    world.ctl("config", "unset", "limits.pending_activities")


async def refuses(world):
    """What can't be set is refused, with the reason, and leaves no trace."""
    before = world.json("config", "history")
    cases = {
        ("history.http_port", "1"): "put it into the file and restart",
        ("limits.id_bites", "1"): "there is no setting",
        ("limits.id_bytes", "0"): "expected 1 to 2500",
        ("limits.id_bytes", "many"): "expected a number",
        ("log.level", "loud"): "expected one of",
        ("workflow.task_timeout", "10m"): "expected 1s to 2m",
    }
    for (name, value), reason in cases.items():
        world.ctl("config", "set", name, value, "--yes", status=2 if reason.startswith("expected") else 1)
        expect(reason in world.said, f"{name} {value}: {world.said}")
    world.ctl("config", "set", "workflow.task_timeout", "1m")
    world.ctl("config", "set", "workflow.task_timeout_max", "30s", "--yes", status=1)
    expect("expected at most workflow.task_timeout_max" in world.said, f"a rule between settings: {world.said}")
    world.ctl("config", "unset", "workflow.task_timeout")
    expect(len(world.json("config", "history")) == len(before) + 2, "what was refused is in the history")
    world.ctl("config", "show", "limits.id_bites", status=1)


async def history(world):
    """Every change is told: from what to what, by whom, why."""
    for value in ("2s", "3s"):
        world.ctl("config", "set", "log.slow_operation", value, "--why", f"because of {value}")
    world.ctl("config", "unset", "log.slow_operation")
    changes = world.json("config", "history", "log.slow_operation")[-3:]
    told = [(change["old"], change["new"], change["why"]) for change in changes]
    expect(told == [(None, "2s", "because of 2s"), ("2s", "3s", "because of 3s"), ("3s", None, "")], f"{told}")
    expect(all(change["changed_by"] and change["changed_ns"] > 0 for change in changes), f"{changes}")
    expect("because of 3s" in world.ctl("config", "history"), "the table lacks the reason")


async def of_another_version(world):
    """What this version doesn't know, or finds out of bounds, is left out and named; the rest counts."""
    rows = {"limits.next_year": "7", "limits.memo_bytes": "1TiB", "history.http_port": "1", "log.level": "debug"}
    for name, value in rows.items():
        world.sql(f"INSERT INTO cluster_setting (name, value, changed_ns, changed_by) VALUES ('{name}', '{value}', 1, 'later')")
    world.sql("NOTIFY perdure, 'settings'")

    async def applied():
        return all(s["source"] == "cluster" for (s,) in world.json("config", "show", "log.level").values())

    await eventually(applied, "the row that is good to be in force")
    lines = [json.loads(line) for line in world.log("history").splitlines() if '"a setting for the cluster is left out"' in line]
    named = {line["setting"] for line in lines}
    expect(named == set(rows) - {"log.level"}, f"left out: {named}")
    expect(len(lines) == 3, "told more than once")
    await world.restart(world.daemon("history").name)
    wire = world.wire()
    expect(not await refused(wire, world, unique("after")), "it doesn't serve with such rows")
    await wire.close()
    world.sql("DELETE FROM cluster_setting")
    world.sql("NOTIFY perdure, 'settings'")

    async def own_again():
        return all(s["source"] != "cluster" for (s,) in world.json("config", "show", "log.level").values())

    await eventually(own_again, "the rows that are gone to be out of force")


CASES = (takes_effect, reaches_history, refuses, history, of_another_version)
