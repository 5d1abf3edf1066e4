import asyncio

import pytest

from atrium_shared.unbroken import Unbroken, unbroken


class Work:
    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go, self.done = asyncio.Event(), asyncio.Event(), False
        self._error = error

    async def __call__(self) -> str:
        self.begun.set()
        await self.go.wait()
        if self._error is not None:
            raise self._error
        self.done = True
        return "done"


async def test_work_gives_what_it_returns_and_raises():
    work = Work()
    work.go.set()
    assert await unbroken(work()) == "done"
    failing = Work(ValueError("wrong"))
    failing.go.set()
    with pytest.raises(ValueError, match="wrong"):
        await unbroken(failing())


@pytest.mark.parametrize("error", [None, ValueError("wrong")])
async def test_whoever_is_cancelled_hears_of_it_after_the_work_has_ended(error):
    work = Work(error)
    task = asyncio.create_task(unbroken(work()))
    await work.begun.wait()
    for _ in range(3):  # however often
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    work.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.done == (error is None)


async def test_a_deadline_passes_after_the_work_has_ended():
    work = Work()
    asyncio.get_running_loop().call_later(0.05, work.go.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await unbroken(work())
    assert work.done


async def test_closing_waits_for_what_was_begun_and_for_what_that_begins():
    going_on, first, second = Unbroken(), Work(), Work()

    async def begin_another() -> None:
        await first()
        going_on.start(second())

    waiting = asyncio.create_task(going_on.run(begin_another()))
    await first.begun.wait()
    waiting.cancel()
    closing = asyncio.create_task(going_on.close())
    first.go.set()
    await second.begun.wait()
    assert not closing.done()
    second.go.set()
    await closing
    assert first.done
    assert second.done
