"""Namespaces: register, describe, update, deprecate, list, and what uses them."""

import base64

from lib import commands
from lib.case import case

LONG = "x" * 1001


def _name(t):
    return f"namespace-{t.nonce}"


async def _register(t, **fields):
    request = {"namespace": _name(t), "workflow_execution_retention_period": "86400s", **fields}
    return await t.attempt("RegisterNamespace", request)


async def _describe(t, **fields):
    return await t.attempt("DescribeNamespace", {"namespace": _name(t), **fields} if "id" not in fields else fields)


@case
async def register(t):
    """A namespace with everything that is not optional."""
    await _register(t)
    await _describe(t)


@case
async def register_full(t):
    """A namespace with what may be given."""
    await _register(
        t,
        description="what it is for",
        owner_email="owner@example.com",
        data={"key": "value"},
        workflow_execution_retention_period="259200s",
        history_archival_state="ARCHIVAL_STATE_DISABLED",
        visibility_archival_state="ARCHIVAL_STATE_DISABLED",
    )
    answer = await _describe(t)
    await t.attempt("DescribeNamespace", id=answer.namespace_info.id)


@case
async def register_twice(t):
    """A name that is taken."""
    await _register(t)
    await _register(t)


@case
async def register_bad(t):
    """What is refused."""
    retention = {"workflow_execution_retention_period": "86400s"}
    for request in (
        {},
        {"namespace": _name(t)},
        retention,
        {"namespace": LONG, **retention},
        {"namespace": f"white space {t.nonce}", **retention},
        {"namespace": f"-dash {t.nonce}", **retention},
        {"namespace": f"{_name(t)}.dot", "workflow_execution_retention_period": "-1s"},
        {"namespace": _name(t), "workflow_execution_retention_period": "0s"},
        {"namespace": _name(t), "workflow_execution_retention_period": "1s"},
        {"namespace": _name(t), "workflow_execution_retention_period": "3600s"},
        {"namespace": _name(t), **retention, "is_global_namespace": True},
        {"namespace": _name(t), **retention, "clusters": [{"cluster_name": "unknown"}]},
        {"namespace": _name(t), **retention, "active_cluster_name": "unknown"},
        {"namespace": "default", **retention},
        {"namespace": "temporal-system", **retention},
    ):
        await t.attempt("RegisterNamespace", request)


@case
async def describe_bad(t):
    """Namespaces that do not exist."""
    await t.attempt("DescribeNamespace", namespace=f"unknown-{t.nonce}")
    await t.attempt("DescribeNamespace", id="01234567-0123-0123-0123-0123456789ab")
    await t.attempt("DescribeNamespace")
    await t.attempt("DescribeNamespace", id="no uuid")


@case
async def describe_default(t):
    """The namespace that is there from the start."""
    answer = await t.call("DescribeNamespace", record=False, namespace="default")
    t.note("name", answer.namespace_info.name)
    t.note("state", answer.namespace_info.state)
    t.note("global", answer.is_global_namespace)


@case
async def update(t):
    """Change what can be changed, and only that."""
    await _register(t, data={"kept": "1", "changed": "1"}, description="old", owner_email="old@example.com")
    await t.attempt(
        "UpdateNamespace",
        namespace=_name(t),
        update_info={"description": "new", "data": {"changed": "2", "added": "3"}},
    )
    await t.attempt("UpdateNamespace", namespace=_name(t), config={"workflow_execution_retention_ttl": "172800s"})
    await t.attempt("UpdateNamespace", namespace=_name(t), update_info={"owner_email": "new@example.com"})
    await t.attempt("UpdateNamespace", namespace=_name(t))
    await _describe(t)


@case
async def update_bad(t):
    """Changes that are refused."""
    await _register(t)
    await t.attempt("UpdateNamespace", namespace="")
    await t.attempt("UpdateNamespace", namespace=f"unknown-{t.nonce}")
    for ttl in ("-1s", "1s", "0s"):
        await t.attempt("UpdateNamespace", namespace=_name(t), config={"workflow_execution_retention_ttl": ttl})
    await t.attempt("UpdateNamespace", namespace=_name(t), promote_namespace=True)
    await _describe(t)


@case
async def bad_binaries(t):
    """Binaries marked as bad. (The reference has forgotten the mark by the next request, so unmarking says nothing.)"""
    await _register(t)
    await t.attempt(
        "UpdateNamespace",
        namespace=_name(t),
        config={"bad_binaries": {"binaries": {"sum": {"reason": "broken", "operator": "me"}}}},
    )
    await t.attempt("UpdateNamespace", namespace=_name(t), delete_bad_binary="another")


@case
async def deprecate(t):
    """A deprecated namespace starts nothing new."""
    await _register(t)
    await t.attempt("DeprecateNamespace", namespace=_name(t))
    await _describe(t)
    await t.attempt("DeprecateNamespace", namespace=f"unknown-{t.nonce}")
    await t.attempt("DeprecateNamespace")


@case
async def listed(t):
    """It is in the list, with what was said when it was registered."""
    await _register(t, description="listed")
    seen = []
    request = {"page_size": 10}
    while True:
        answer = await t.call("ListNamespaces", request, record=False)
        seen += [entry.namespace_info.name for entry in answer.namespaces]
        if not answer.next_page_token:
            break
        request["next_page_token"] = base64.b64encode(answer.next_page_token).decode()
    t.note("listed", [name for name in seen if name in (_name(t), "default")].count(_name(t)))
    t.note("default listed", seen.count("default"))


@case
async def separate(t):
    """The same workflow id in two namespaces is two workflows."""
    await _register(t)

    await t.start()
    other = await t.eventually("StartWorkflowExecution", t.start_request(namespace=_name(t)))
    t.note("another run", other.run_id != t.run_id)
    await t.step(commands.done())
    t.namespace = _name(t)
    task = await t.poll(record=False)
    t.note("the other run", task.workflow_execution.run_id == other.run_id)
    await t.complete(task, commands.done())
    await t.history(other.run_id)
