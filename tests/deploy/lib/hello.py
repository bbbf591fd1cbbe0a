"""A workflow with an activity, as a client and a worker of the cluster would run it."""

import uuid
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client, TLSConfig
from temporalio.worker import Worker

TIMEOUT = timedelta(seconds=60)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=10))


async def greeted(starter, polls):
    """The result of a workflow that one client starts and the other one's worker runs."""
    queue = f"hello-{uuid.uuid4()}"
    async with Worker(polls, task_queue=queue, workflows=[Hello], activities=[greet]):
        return await starter.execute_workflow(
            Hello.run, "World", id=queue, task_queue=queue, execution_timeout=TIMEOUT, run_timeout=TIMEOUT
        )


async def plain_hello(address):
    """Without TLS, all by one address."""
    client = await Client.connect(address)
    return await greeted(client, client)


async def hello(frontend, gateway, authority, names):
    """Over TLS; `names` are those in the certificates of the two addresses."""
    clients = []
    for address, name in zip((frontend, gateway), names):
        tls = TLSConfig(server_root_ca_cert=authority.encode(), domain=name)
        clients.append(await Client.connect(address, tls=tls))
    return await greeted(*clients)
