"""A first workflow: it asks an activity for a greeting and returns it."""

import asyncio
import os
import uuid
from datetime import timedelta

import with_sdk  # noqa: F401  installs the official SDK on the first run, where python3 doesn't have it
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=timedelta(seconds=10))


async def main():
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "127.0.0.1:7233"))
    async with Worker(client, task_queue="hello", workflows=[Hello], activities=[greet]):
        print(await client.execute_workflow(Hello.run, "World", id=f"hello-{uuid.uuid4()}", task_queue="hello"))


if __name__ == "__main__":
    asyncio.run(main())
