"""The workflow that the fault tests run: an activity, a timer, numbered signals; its result names them all."""

import asyncio
from collections import Counter
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

# (run id, attempt) → how often that attempt of the run's activity ran. More than once is a violation.
executions = Counter()


@activity.defn
async def work(fail_first: bool) -> str:
    info = activity.info()
    executions[(info.workflow_id, info.workflow_run_id, info.attempt)] += 1
    await asyncio.sleep(0.05)
    if fail_first and info.attempt == 1:
        raise ApplicationError("not this time")
    return "activity"


@workflow.defn
class Durable:
    def __init__(self):
        self.signals = []

    @workflow.signal
    def go(self, number: int):
        self.signals.append(number)

    @workflow.query
    def count(self) -> int:
        return len(self.signals)

    @workflow.run
    async def run(self, fail_first: bool, signals: int) -> list:
        done = await workflow.execute_activity(
            work,
            fail_first,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=1)),
        )
        await asyncio.sleep(2)
        await workflow.wait_condition(lambda: len(set(self.signals)) >= signals)
        return [done, sorted(self.signals)]
