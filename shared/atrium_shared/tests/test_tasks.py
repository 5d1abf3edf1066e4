from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from atrium_shared.errors import Unavailable
from atrium_shared.tasks import cancel_and_wait, repeat


async def begun(work) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


async def test_the_task_has_ended_when_it_returns():
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    task = await begun(work())
    await cancel_and_wait(task)
    assert task.cancelled()
    assert ended


async def test_a_task_that_ends_in_peace_when_cancelled_is_no_failure():
    async def work() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    task = await begun(work())
    await cancel_and_wait(task)
    assert task.done()
    assert not task.cancelled()


@pytest.mark.parametrize("before", [True, False])
async def test_what_the_task_failed_with_is_raised(before):
    async def work() -> None:
        if not before:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        raise ValueError("wrong")

    task = await begun(work())
    assert task.done() == before
    with pytest.raises(ValueError, match="wrong"):
        await cancel_and_wait(task)


async def test_whoever_is_cancelled_while_waiting_hears_of_it():
    go_on = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await go_on.wait()

    task = await begun(work())
    waiting = await begun(cancel_and_wait(task))
    waiting.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await task


async def told_of(*outcomes: Exception | None) -> list[tuple[str, str]]:
    """What the log says of upkeep that ends one time after the other like this."""
    left = list(outcomes)
    done = asyncio.Event()

    async def work() -> None:
        if not left:
            done.set()
            return
        outcome = left.pop(0)
        if outcome is not None:
            raise outcome

    with capture_logs() as logs:
        task = await begun(repeat(work, 0.001, failed="upkeep failed"))
        async with asyncio.timeout(10):
            await done.wait()
        await cancel_and_wait(task)
    return [(one["event"], one["log_level"]) for one in logs]


async def test_upkeep_goes_on_and_tells_the_first_failure_of_a_row():
    logs = await told_of(None, OSError("away"), OSError("away"), None, ValueError("odd"), None)
    assert logs == [("upkeep failed", "error")] * 2


async def test_what_is_away_is_told_when_it_still_is_the_next_time():
    away = [Unavailable("away") for _ in range(4)]
    logs = await told_of(away[0], None, *away[1:], ValueError("odd"), None)
    assert logs == [("upkeep failed", "warning")]


async def test_upkeep_that_is_woken_does_not_wait_for_its_time():
    wake, times = asyncio.Event(), []

    async def work() -> None:
        times.append(True)

    task = await begun(repeat(work, 3600.0, failed="upkeep failed", wake=wake))
    for _ in range(3):
        wake.set()
        await asyncio.sleep(0.01)
    await cancel_and_wait(task)
    assert len(times) == 4
    assert not wake.is_set()
