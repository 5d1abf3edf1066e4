import asyncio

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
