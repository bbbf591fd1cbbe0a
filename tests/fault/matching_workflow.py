"""The workflow of the matching fault test: two activities, one after the other."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow


@activity.defn
async def step() -> None:
    await asyncio.sleep(0.01)


@workflow.defn
class Steps:
    @workflow.run
    async def run(self) -> None:
        for _ in range(2):
            await workflow.execute_activity(step, start_to_close_timeout=timedelta(seconds=5))
