"""Brings a version of an adapter to every server of its base model: a durable job."""

from __future__ import annotations

from typing import Final

import structlog

from atrium_gateway.app.adapter_fleet import AdapterFleet, RolloutRefused
from atrium_gateway.app.adapter_ports import AdapterStore, Rollout
from atrium_gateway.domain.adapter_errors import AdapterRolloutFailed
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.job_gate import JobGate
from atrium_shared.jobs import JSON, JobContext, JobRunner

ROLL_OUT_JOB: Final = "gateway.adapters"

_log = structlog.get_logger(__name__)


class RollOutAdapter:
    """The job of a roll-out: load everywhere, let it answer, end the Operation.

    Each step may run twice: loading what is loaded, and switching to what answers, change nothing.

    Args:
        store: Keeps adapters.
        fleet: The servers.
        jobs: Runs it.
    """

    def __init__(self, store: AdapterStore, fleet: AdapterFleet, jobs: JobRunner) -> None:
        self._store = store
        self._fleet = fleet
        self._jobs = jobs
        self.gate = JobGate()

    async def submit(self, rollout: Rollout) -> None:
        """Have a roll-out run; the same again changes nothing."""
        await self._jobs.submit(ROLL_OUT_JOB, rollout.id, {"rollout": rollout.id})

    async def resume(self) -> None:
        """Submit the roll-outs again that a crash kept from being submitted."""
        for rollout in await self._store.unfinished():
            await self.submit(rollout)

    async def cancel(self, rollout_id: str) -> None:
        """End a roll-out whose Operation was cancelled; one that is over is left alone."""
        rollout = await self._store.rollout(rollout_id)
        if rollout is not None:
            await self._fail(rollout, "It was cancelled.")

    async def handle(self, job: JobContext, payload: JSON) -> JSON:
        """Run the job of one roll-out."""
        id_ = str(payload["rollout"])
        return await job.step("roll out", lambda: self.gate.run(lambda: self._run(id_)))

    async def _run(self, rollout_id: str) -> JSON:
        rollout = await self._store.rollout(rollout_id)
        if rollout is None:
            return {}

        async def tell(ready: int, replicas: int) -> None:
            await self._store.progress(rollout, ready, replicas)

        try:
            await self._fleet.refresh()  # so that a check meanwhile knows what is being loaded
            await self._fleet.roll_out(rollout.version, tell)
            await self._store.switch(rollout)
            # Before the Operation ends: who waits for it may call the new version at once.
            await self._fleet.refresh()
            await self._store.finish(rollout)
        except DatabaseUnavailable:
            raise  # no fault of the adapter; the gate waits for it
        except RolloutRefused as error:
            await self._fail(rollout, error.why)
        except Exception:  # whatever it is, the Operation must end
            _log.exception("roll-out failed", adapter=rollout.version.adapter)
            await self._fail(rollout, "The gateway failed; its log says why.")
        return {}

    async def _fail(self, rollout: Rollout, why: str) -> None:
        version = rollout.version
        error = AdapterRolloutFailed(f"adapters/{version.adapter}", version.number, why)
        await self._store.fail(rollout, error, why)
        await self._fleet.refresh()
        self._fleet.check_now()  # unloads it where it arrived
