"""Have minutes written: a call that returns at once, and the durable job behind it."""

from __future__ import annotations

import time
from typing import Final

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from atrium_meeting.app.compose_minutes import ComposeMinutes
from atrium_meeting.app.find_meeting import READ_MEETINGS, FindMeeting
from atrium_meeting.app.ports import Delegation
from atrium_meeting.app.stores import MinutesRequest, MinutesRequestStore
from atrium_meeting.app.write_minutes import MinutesWanted
from atrium_meeting.domain.errors import MeetingHasNoTranscript, MinutesFailed
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Ids
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.errors import AtriumError, Unavailable
from atrium_shared.job_gate import JobGate
from atrium_shared.jobs import JSON, JobContext, JobRunner
from atrium_shared.operations import Operation
from atrium_shared.principal import Principal

MINUTES_JOB: Final = "meeting.minutes"
_REPORT_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


def _log_failure(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    _log.error("failure not recorded yet", exc_info=error)


class _Over(Exception):
    """The request was cancelled, or its meeting deleted."""


class RequestMinutes:
    """The use case, and the handler of the job ``meeting.minutes``.

    Args:
        find: Finds meetings.
        requests: Where requests are stored.
        compose: Writes.
        jobs: Runs the writing.
        delegation: Says who asked, and what they may do now.
        audit: Records calls.
        ids: Makes identifiers.
        patience_seconds: How long the admin service is waited for before a request fails.
    """

    def __init__(
        self,
        find: FindMeeting,
        requests: MinutesRequestStore,
        compose: ComposeMinutes,
        jobs: JobRunner,
        delegation: Delegation,
        audit: AuditTrail,
        ids: Ids,
        *,
        patience_seconds: float = 6 * 3600.0,
    ) -> None:
        self._find = find
        self._requests = requests
        self._compose = compose
        self._jobs = jobs
        self._delegation = delegation
        self._audit = audit
        self._ids = ids
        self._patience_seconds = patience_seconds
        self.gate = JobGate()
        """Open while the service runs."""

    async def __call__(
        self, principal: Principal, name: str, wanted: MinutesWanted, request_id: str
    ) -> Operation:
        """Have minutes written; returned means that they will be.

        Args:
            principal: Who asks.
            name: Of which meeting.
            wanted: What they shall be like.
            request_id: A repeated call with the same one returns the first one's operation.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingHasNoTranscript: Nothing was said or recognised yet.
        """
        async with self._audit.call(principal, "WriteMinutes", name):
            meeting = await self._find.readable(principal, name)
            request_key = f"{principal.subject}/{request_id}" if request_id else None
            if request_key is not None:
                earlier = await self._requests.of_request(meeting.uid, request_key)
                if earlier is not None:
                    return earlier
            if not meeting.transcript_version:
                raise MeetingHasNoTranscript(name, meeting.state, meeting.failure_message)
            request = MinutesRequest(
                operation_id=self._ids.new("op"),
                tenant=meeting.tenant,
                meeting_uid=meeting.uid,
                meeting=meeting.name,
                minutes_id=self._ids.new("n"),
                actor=principal.actor,
                on_behalf_of=principal.on_behalf_of,
                wanted=wanted,
            )
            operation = await self._requests.begin(request, request_key)
            operation_id = operation.name.rpartition(".")[2]
            await self._jobs.submit(MINUTES_JOB, operation_id, {"operation": operation_id})
            return operation

    async def resume(self) -> None:
        """Submit what a crash kept from being submitted; what is there already changes nothing."""
        for request in await self._requests.unfinished():
            await self._jobs.submit(
                MINUTES_JOB, request.operation_id, {"operation": request.operation_id}
            )

    async def handle(self, job: JobContext, payload: JSON) -> JSON:
        """Run the job of one request: one step, which remembers its parts itself."""
        operation_id = str(payload["operation"])
        return await job.step("write", lambda: self.gate.run(lambda: self._run(operation_id)))

    async def cancel(self, operation_id: str) -> None:
        """End a request whose operation was cancelled; it stops before its next part."""
        request = await self._requests.get(operation_id)
        if request is not None and not request.done:
            await self._requests.fail(request, MinutesFailed(request.meeting), end_operation=False)

    async def _run(self, operation_id: str) -> JSON:
        request = await self._requests.get(operation_id)
        if request is None or request.done:
            return {}
        told = time.monotonic()

        async def check() -> None:
            now = await self._requests.get(operation_id)
            if now is None or now.done:
                raise _Over
            await self._principal(request)

        async def progress(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told >= _REPORT_SECONDS or done == total:
                told = time.monotonic()
                await self._requests.report(request, done, total)

        failure: AtriumError
        try:
            written = await self._compose(
                await self._principal(request),
                request.meeting,
                request.wanted,
                request.minutes_id,
                check=check,
                progress=progress,
            )
            await self._requests.finish(request, written)
        except _Over:
            return {}
        except DatabaseUnavailable:
            raise  # no fault of the meeting; the gate waits for it
        except AtriumError as error:
            failure = error
        except Exception:  # whatever it is, the operation must end
            _log.exception("minutes failed", meeting=request.meeting)
            failure = MinutesFailed(request.meeting)
        else:
            return {"minutes": written.record.name}
        await self._fail(request, failure)
        return {}

    @retry(wait=wait_exponential_jitter(multiplier=0.2, max=15.0), before_sleep=_log_failure)
    async def _fail(self, request: MinutesRequest, error: AtriumError) -> None:
        """Mark as failed, however long that takes: a full disk must not hide it."""
        await self._requests.fail(request, error)

    async def _principal(self, request: MinutesRequest) -> Principal:
        """Return who asked, provided that they still may."""
        principal = await self._delegated(request)
        principal.require(READ_MEETINGS)
        await self._find.readable(principal, request.meeting)
        return principal

    async def _delegated(self, request: MinutesRequest) -> Principal:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential_jitter(multiplier=0.2, max=15.0),
            stop=stop_after_delay(self._patience_seconds),
            reraise=True,
        ):
            with attempt:
                return await self._delegation.delegate(
                    request.tenant, request.actor, request.on_behalf_of
                )
        raise AssertionError("the last attempt raises")
