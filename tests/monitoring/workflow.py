"""Runs one workflow with one activity: workflow.py ADDRESS WORKFLOW_ID [TRACE_CONTEXT]."""

import asyncio
import os
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker


@activity.defn
async def double(number: int) -> int:
    return 2 * number


@workflow.defn
class Once:
    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(double, number, start_to_close_timeout=timedelta(seconds=10))


async def main(address, workflow_id, context=None):
    client = await Client.connect(address, rpc_metadata={"traceparent": context} if context else {})
    # Without eager activities: theirs would not pass matching.
    worker = Worker(client, task_queue="once", workflows=[Once], activities=[double], disable_eager_activity_execution=True)
    async with worker:
        assert await client.execute_workflow(Once.run, 21, id=workflow_id, task_queue="once") == 42


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 60))
    os._exit(0)  # the SDK's threads sometimes abort a process whose interpreter ends under them
