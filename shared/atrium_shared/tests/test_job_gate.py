import asyncio

from atrium_shared.database import DatabaseUnavailable
from atrium_shared.job_gate import JobGate
from atrium_shared.jobs import JSON


async def test_a_gate_that_opens_and_closes_at_once_lets_no_step_begin():
    gate, begun = JobGate(), []

    async def step() -> JSON:
        begun.append("step")
        return {}

    running = asyncio.create_task(gate.run(step))
    await asyncio.sleep(0)
    gate.open()
    await gate.close()
    await asyncio.sleep(0.01)
    assert begun == []
    gate.open()
    assert await running == {}
    assert begun == ["step"]


async def test_a_step_waits_for_the_database_and_runs_again():
    gate, begun = JobGate(), []
    gate.open()

    async def step() -> JSON:
        begun.append("step")
        if len(begun) < 3:
            raise DatabaseUnavailable("notes")
        return {"done": True}

    assert await gate.run(step) == {"done": True}
    assert len(begun) == 3


async def test_a_service_that_stops_does_not_wait_for_the_database():
    gate, begun = JobGate(), asyncio.Event()
    gate.open()

    async def step() -> JSON:
        begun.set()
        raise DatabaseUnavailable("notes")

    running = asyncio.create_task(gate.run(step))
    await begun.wait()
    async with asyncio.timeout(1):
        await gate.close()
    assert not running.done()
    running.cancel()
