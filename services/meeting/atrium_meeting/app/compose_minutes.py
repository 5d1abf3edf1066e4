"""Write minutes part by part, so that a crash repeats one part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.ports import MinutesStore
from atrium_meeting.app.read_meeting import ReadMeeting
from atrium_meeting.app.stores import MinutesRequestStore, WrittenMinutes
from atrium_meeting.app.write_minutes import MinutesWanted, WriteMinutes
from atrium_meeting.domain.errors import MinutesNotFound
from atrium_shared.jobs import JSON
from atrium_shared.principal import Principal

Progress = Callable[[int, int], Awaitable[None]]
Check = Callable[[], Awaitable[object]]


async def _untold(done: int, total: int) -> None:
    return None


class ComposeMinutes:
    """Writes minutes and stores them.

    Args:
        find: Finds meetings.
        read: Reads their transcripts.
        write: Writes.
        minutes: Where minutes are stored.
        requests: Where parts are stored until all are there.
    """

    def __init__(
        self,
        find: FindMeeting,
        read: ReadMeeting,
        write: WriteMinutes,
        minutes: MinutesStore,
        requests: MinutesRequestStore,
    ) -> None:
        self._find = find
        self._read = read
        self._write = write
        self._minutes = minutes
        self._requests = requests

    async def __call__(
        self,
        principal: Principal,
        name: str,
        wanted: MinutesWanted,
        minutes_id: str,
        *,
        check: Check,
        progress: Progress = _untold,
    ) -> WrittenMinutes:
        """Write minutes of one version of the transcript, whatever is edited meanwhile.

        Args:
            principal: Who asked for them.
            name: Of which meeting.
            wanted: What they shall be like.
            minutes_id: Their identifier; with the same one again it goes on where it was.
            check: Called before each part; raises when it is not to be written any more.
            progress: Told how far it is.

        Raises:
            AtriumError: As `WriteMinutes`, or from ``check``.
        """
        meeting = await self._find.readable(principal, name)

        async def step(part: str, work: Callable[[], Awaitable[JSON]]) -> JSON:
            known = await self._requests.part(meeting.uid, minutes_id, part)
            if known is not None:
                return known
            await check()
            result = await work()
            await self._requests.save_part(meeting.uid, minutes_id, part, result)
            return result

        async def version() -> JSON:
            return {"version": meeting.transcript_version}

        chosen = (await step("version", version))["version"]
        readable = await self._read.read_version(principal, name, chosen)
        utterances = {one.id: one for one in readable.transcript.utterances}
        try:
            record = await self._minutes.get(meeting.tenant, meeting.id, minutes_id)
        except MinutesNotFound:
            record = await self._write.write(
                principal, readable, wanted, minutes_id, step=step, progress=progress
            )
            await self._minutes.save(record)
        await self._requests.forget_parts(meeting.uid, minutes_id)
        return WrittenMinutes(record, utterances)
