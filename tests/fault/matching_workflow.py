"""The workflow of the matching fault test: activities, some at once, twice."""

import asyncio
from collections import Counter
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

ROUNDS, AT_ONCE = 2, 3

# (workflow id, activity id, attempt) → how often it ran. More than once is a violation.
executions = Counter()


@activity.defn
async def step() -> None:
    info = activity.info()
    executions[(info.workflow_id, info.activity_id, info.attempt)] += 1
    await asyncio.sleep(0.01)


@workflow.defn
class Steps:
    @workflow.run
    async def run(self) -> None:
        for _ in range(ROUNDS):
            await asyncio.gather(
                *(
                    workflow.execute_activity(
                        step,
                        start_to_close_timeout=timedelta(seconds=5),
                        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1)),
                    )
                    for _ in range(AT_ONCE)
                )
            )
