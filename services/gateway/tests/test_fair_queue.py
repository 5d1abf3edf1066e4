from __future__ import annotations

import asyncio

import pytest

from atrium_gateway.app.fair_queue import FairQueue, QueueFull


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Line:
    """Calls that stand in a queue and note the order in which they are let in."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def _wait(self, tenant: str, name: str) -> None:
        await self.queue.acquire(tenant)
        self.order.append(name)

    async def join(self, *names: str) -> None:
        for name in names:
            self.tasks[name] = asyncio.create_task(self._wait(name[0], name))
        await settle()

    async def release(self, times: int = 1) -> None:
        for _ in range(times):
            self.queue.release()
            await settle()


async def test_tenants_take_turns() -> None:
    line = Line(FairQueue(1, 100))
    await line.join("a0", "a1", "a2", "a3", "b1", "c1", "b2")
    await line.release(6)
    assert line.order == ["a0", "a1", "b1", "c1", "a2", "b2", "a3"]


async def test_as_many_run_as_there_are_slots() -> None:
    line = Line(FairQueue(2, 100))
    await line.join("a1", "a2", "a3")
    assert line.order == ["a1", "a2"]
    assert line.queue.waiting == 1
    await line.release(3)
    await line.join("a4", "a5", "a6")
    assert line.order == ["a1", "a2", "a3", "a4", "a5"]
    line.tasks["a6"].cancel()


async def test_who_comes_to_a_full_queue_is_sent_away() -> None:
    queue = FairQueue(1, 2)
    line = Line(queue)
    await line.join("a0", "a1", "a2")
    with pytest.raises(QueueFull) as caught:
        await queue.acquire("a")
    assert caught.value.waiting == 2
    assert queue.waiting == 2
    await line.release(2)


async def test_the_longest_line_makes_room_for_another_tenant() -> None:
    line = Line(FairQueue(1, 3))
    await line.join("a0", "a1", "a2", "a3", "b1")
    with pytest.raises(QueueFull):
        await line.tasks["a3"]
    await line.release(3)
    assert line.order == ["a0", "a1", "b1", "a2"]


async def test_who_gives_up_leaves_no_gap() -> None:
    line = Line(FairQueue(1, 10))
    await line.join("a0", "a1", "b1", "a2")
    for name in ("a1", "b1"):
        line.tasks[name].cancel()
    await settle()
    assert line.queue.waiting == 1
    await line.release(2)
    assert line.order == ["a0", "a2"]
    await asyncio.wait_for(line.queue.acquire("c"), 1)


async def test_a_slot_given_to_one_who_gives_up_in_that_moment_is_passed_on() -> None:
    line = Line(FairQueue(1, 10))
    await line.join("a0", "a1", "b1", "c1")
    line.tasks["a1"].cancel()  # it has not run since, and still stands in the line
    line.queue.release()
    line.tasks["b1"].cancel()  # this one holds the slot and does not know yet
    await settle()
    assert line.order == ["a0", "c1"]


async def test_an_evicted_call_that_gives_up_in_that_moment_takes_no_slot() -> None:
    line = Line(FairQueue(1, 3))
    await line.join("a0", "a1", "a2", "a3")
    newcomer = asyncio.ensure_future(line.queue.acquire("b"))
    await asyncio.sleep(0)
    line.tasks["a3"].cancel()
    await settle()
    await line.release(3)
    assert line.order == ["a0", "a1", "a2"]
    assert newcomer.done()
    await line.release()
    await asyncio.wait_for(line.queue.acquire("c"), 1)


async def test_without_room_to_wait_only_the_slots_are_given() -> None:
    queue = FairQueue(1, 0)
    await queue.acquire("a")
    with pytest.raises(QueueFull):
        await queue.acquire("b")
