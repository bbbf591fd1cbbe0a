"""The workflows and activities of the Python cases."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

SHORT = timedelta(seconds=30)


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@activity.defn
async def flaky() -> int:
    """Fails twice and answers with its attempt then."""
    attempt = activity.info().attempt
    if attempt < 3:
        raise RuntimeError(f"attempt {attempt}")
    return attempt


@activity.defn
async def until_canceled() -> None:
    """Heartbeats until it is told to stop."""
    while True:
        activity.heartbeat("alive")
        await asyncio.sleep(0.1)


class Handover:
    """An activity that leaves its task token to somebody else, who completes it."""

    def __init__(self) -> None:
        self.token: asyncio.Future = asyncio.get_running_loop().create_future()

    @activity.defn
    async def hand_over(self) -> str:
        self.token.set_result(activity.info().task_token)
        activity.raise_complete_async()


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(greet, name, start_to_close_timeout=SHORT)


@workflow.defn
class Retries:
    @workflow.run
    async def run(self) -> int:
        policy = RetryPolicy(initial_interval=timedelta(milliseconds=50), backoff_coefficient=1.0)
        return await workflow.execute_activity(flaky, start_to_close_timeout=SHORT, retry_policy=policy)


@workflow.defn
class SignalAndQuery:
    def __init__(self) -> None:
        self._seen: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: "end" in self._seen)
        return self._seen

    @workflow.signal
    def add(self, word: str) -> None:
        self._seen.append(word)

    @workflow.query
    def seen(self) -> list[str]:
        return self._seen


@workflow.defn
class Timer:
    @workflow.run
    async def run(self) -> float:
        began = workflow.now()
        await workflow.sleep(1)
        return (workflow.now() - began).total_seconds()


@workflow.defn
class Cancel:
    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(
            until_canceled,
            start_to_close_timeout=SHORT,
            heartbeat_timeout=timedelta(seconds=5),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return "not canceled"


@workflow.defn
class ContinueAsNew:
    @workflow.run
    async def run(self, left: int) -> str:
        if left > 0:
            workflow.continue_as_new(left - 1)
        return workflow.info().run_id


@workflow.defn
class AsyncCompletion:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity_method(Handover.hand_over, start_to_close_timeout=SHORT)


WORKFLOWS = [Hello, Retries, SignalAndQuery, Timer, Cancel, ContinueAsNew, AsyncCompletion]
ACTIVITIES = [greet, flaky, until_canceled]
