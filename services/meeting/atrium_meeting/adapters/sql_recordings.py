"""Recordings and their operations in the relational database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_meeting.adapters import rows, tables
from atrium_meeting.app.stores import Purge, ReceivedRecording, RequestTaken
from atrium_meeting.domain.meetings import Meeting, MeetingState
from atrium_meeting.domain.recordings import (
    Origin,
    Recording,
    RecordingProgress,
    RecordingState,
)
from atrium_meeting.domain.transcript import Transcript
from atrium_shared.clock import Clock, Ids
from atrium_shared.database import Database
from atrium_shared.errors import AtriumError
from atrium_shared.operations import Operation, OperationStore

_MEETINGS: Final = tables.meetings
_RECORDINGS: Final = tables.recordings
_UPLOADS: Final = tables.uploads
_PURGES: Final = tables.purges
# A peer that has been receiving a file for so long has died.
_DEAD_UPLOAD: Final = timedelta(days=1)
_ROWS: Final = sa.select(
    _RECORDINGS, _MEETINGS.c.tenant.label("tenant"), _MEETINGS.c.id.label("meeting_id")
).join(_MEETINGS, _MEETINGS.c.uid == _RECORDINGS.c.meeting_uid)


class SqlRecordings:
    """Implements ``stores.RecordingStore``.

    Args:
        database: The service's database.
        operations: Operations of uploads, in the same database.
        progress_message: Makes an operation's metadata of a meeting's name and its progress.
        meeting_message: Makes an operation's response of a meeting.
        clock: Tells the time.
        ids: Makes identifiers.
        replica: Stable name of this process, unique among its peers.
    """

    def __init__(
        self,
        database: Database,
        operations: OperationStore,
        *,
        progress_message: Callable[[str, RecordingProgress], Message],
        meeting_message: Callable[[Meeting], Message],
        clock: Clock,
        ids: Ids,
        replica: str,
    ) -> None:
        self._database = database
        self._operations = operations
        self._progress_message = progress_message
        self._meeting_message = meeting_message
        self._clock = clock
        self._ids = ids
        self._replica = replica

    async def begin_upload(self, uid: str, folder: str) -> None:
        """Note that a file is being received."""
        async with self._database.write() as session:
            await session.execute(
                sa.insert(_UPLOADS).values(
                    recording_uid=uid,
                    folder=folder,
                    replica=self._replica,
                    start_time=self._clock.now(),
                )
            )

    async def end_upload(self, uid: str) -> None:
        """Forget the note."""
        async with self._database.write() as session:
            await _end_upload(session, uid)

    async def interrupted_uploads(self) -> Sequence[tuple[str, str]]:
        """Return files whose receiving process has died."""
        query = sa.select(_UPLOADS.c.recording_uid, _UPLOADS.c.folder).where(
            sa.or_(
                _UPLOADS.c.replica == self._replica,
                _UPLOADS.c.start_time < self._clock.now() - _DEAD_UPLOAD,
            )
        )
        async with self._database.read() as session:
            return [(row.recording_uid, row.folder) for row in await session.execute(query)]

    async def operation_of_request(self, meeting_uid: str, request_key: str) -> Operation | None:
        """Return the operation that an earlier upload with this request id got."""
        query = _ROWS.where(
            _RECORDINGS.c.meeting_uid == meeting_uid, _RECORDINGS.c.request_key == request_key
        )
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            return None
        forget = sa.update(_RECORDINGS).where(_RECORDINGS.c.uid == row.uid)
        return await self._operations.of_request(
            row.operation_id, tenant=row.tenant, forget=forget.values(request_key=None)
        )

    async def register(self, received: ReceivedRecording) -> tuple[Operation, Recording]:
        """Make an upload durable."""
        try:
            return await self._register(received)
        except IntegrityError:
            if received.request_key is not None:
                earlier = await self.operation_of_request(
                    received.meeting.uid, received.request_key
                )
                if earlier is not None:
                    raise RequestTaken(earlier) from None
            raise

    async def _register(self, received: ReceivedRecording) -> tuple[Operation, Recording]:
        async with self._database.write() as session:
            meeting = await rows.locked_meeting(session, received.meeting.uid)
            if received.request_key is not None:
                taken = await session.execute(
                    sa.select(_RECORDINGS.c.operation_id).where(
                        _RECORDINGS.c.meeting_uid == meeting.uid,
                        _RECORDINGS.c.request_key == received.request_key,
                    )
                )
                if (operation_id := taken.scalar_one_or_none()) is not None:
                    name = self._operations.name(operation_id)
                    raise RequestTaken(await self._operations.get(name, tenant=meeting.tenant))
            meeting.check_free()
            operation_id = self._ids.new("op")
            operation = await self._operations.create(
                session,
                op_id=operation_id,
                tenant=meeting.tenant,
                owner=received.on_behalf_of or received.actor,
                metadata=self._progress_message(meeting.name, RecordingProgress()),
            )
            await session.execute(
                sa.insert(_RECORDINGS).values(
                    uid=received.uid,
                    meeting_uid=meeting.uid,
                    filename=received.filename,
                    size_bytes=received.size_bytes,
                    content_hash=received.content_hash,
                    state=RecordingState.PROCESSING,
                    actor=received.actor,
                    on_behalf_of=received.on_behalf_of,
                    operation_id=operation_id,
                    write_minutes=received.write_minutes,
                    request_key=received.request_key,
                    create_time=self._clock.now(),
                )
            )
            await rows.set_meeting(
                session,
                meeting.uid,
                state=MeetingState.TRANSCRIBING,
                failure_reason="",
                failure_message="",
            )
            await _end_upload(session, received.uid)
            recording = await self._get(session, received.uid)
            assert recording is not None
        return operation, recording

    async def get(self, uid: str) -> Recording | None:
        """Return a recording."""
        async with self._database.read() as session:
            return await self._get(session, uid)

    async def of_operation(self, operation_id: str) -> Recording | None:
        """Return the recording that an operation works on."""
        query = _ROWS.where(_RECORDINGS.c.operation_id == operation_id)
        async with self._database.read() as session:
            row = (await session.execute(query)).one_or_none()
        return None if row is None else _to_recording(row)

    async def unfinished(self) -> Sequence[Recording]:
        """Return every recording that is being worked on."""
        query = _ROWS.where(_RECORDINGS.c.state == RecordingState.PROCESSING)
        async with self._database.read() as session:
            found = await session.execute(query.order_by(_RECORDINGS.c.create_time))
            return [_to_recording(row) for row in found]

    async def report(self, recording: Recording, progress: RecordingProgress) -> None:
        """Update the operation."""
        await self._operations.update(
            self._operations.name(recording.operation_id),
            self._progress_message(recording.meeting, progress),
        )

    async def publish(
        self, uid: str, transcript: Transcript, origin: Origin, *, truncated: bool
    ) -> bool:
        """Make a transcript the first version of its meeting."""
        async with self._database.write() as session:
            recording = await self._under_way(session, uid)
            if recording is None:
                return False
            meeting = await rows.locked_meeting(session, recording.meeting_uid)
            if meeting.transcript_version:
                return True
            await rows.insert_utterances(session, meeting.uid, 1, transcript.utterances)
            await rows.add_version(
                session,
                meeting,
                1,
                transcript.speakers,
                origin=origin,
                author=recording.author,
                change="transcribed",
                now=self._clock.now(),
                state=MeetingState.READY,
                truncated=truncated,
            )
        return True

    async def finish(self, uid: str, progress: RecordingProgress) -> Sequence[Purge]:
        """End the operation with the meeting."""
        async with self._database.write() as session:
            recording = await self._under_way(session, uid)
            if recording is None:
                return []
            await _set_state(session, uid, RecordingState.DONE)
            meeting = await rows.locked_meeting(session, recording.meeting_uid)
            name = self._operations.name(recording.operation_id)
            await self._operations.update(
                name, self._progress_message(meeting.name, progress), session=session
            )
            await self._operations.finish(name, self._meeting_message(meeting), session=session)
            return [await rows.insert_purge(session, recording.pieces_folder)]

    async def fail(
        self, uid: str, error: AtriumError, *, end_operation: bool = True
    ) -> Sequence[Purge]:
        """End a recording with an error."""
        async with self._database.write() as session:
            recording = await self._under_way(session, uid)
            if recording is None:
                return []
            await _set_state(session, uid, RecordingState.FAILED)
            meeting = await rows.locked_meeting(session, recording.meeting_uid)
            gone = recording.folder
            if meeting.transcript_version:
                gone = recording.pieces_folder
            else:
                await rows.set_meeting(
                    session,
                    meeting.uid,
                    state=MeetingState.FAILED,
                    failure_reason=error.reason,
                    failure_message=error.message,
                )
            if end_operation:
                name = self._operations.name(recording.operation_id)
                await self._operations.fail(name, error, session=session)
            return [await rows.insert_purge(session, gone)]

    async def purges(self) -> Sequence[Purge]:
        """Return what is left to do."""
        async with self._database.read() as session:
            found = await session.execute(sa.select(_PURGES).order_by(_PURGES.c.id))
            return [Purge(row.id, row.folder) for row in found]

    async def purged(self, purge: Purge) -> None:
        """Forget what has been done."""
        async with self._database.write() as session:
            await session.execute(sa.delete(_PURGES).where(_PURGES.c.id == purge.id))

    async def _get(self, session: AsyncSession, uid: str) -> Recording | None:
        row = (await session.execute(_ROWS.where(_RECORDINGS.c.uid == uid))).one_or_none()
        return None if row is None else _to_recording(row)

    async def _under_way(self, session: AsyncSession, uid: str) -> Recording | None:
        recording = await self._get(session, uid)
        if recording is None:
            return None
        # Whoever holds the meeting's row decides; what was read before may be overtaken.
        query = sa.select(_MEETINGS.c.uid).where(_MEETINGS.c.uid == recording.meeting_uid)
        if (await session.execute(query.with_for_update())).one_or_none() is None:
            return None
        recording = await self._get(session, uid)
        if recording is None or recording.state is not RecordingState.PROCESSING:
            return None
        return recording


async def _end_upload(session: AsyncSession, uid: str) -> None:
    await session.execute(sa.delete(_UPLOADS).where(_UPLOADS.c.recording_uid == uid))


async def _set_state(session: AsyncSession, uid: str, state: RecordingState) -> None:
    await session.execute(
        sa.update(_RECORDINGS).where(_RECORDINGS.c.uid == uid).values(state=state)
    )


def _to_recording(row: sa.Row[Any]) -> Recording:
    return Recording(
        uid=row.uid,
        tenant=row.tenant,
        meeting_uid=row.meeting_uid,
        meeting=f"meetings/{row.meeting_id}",
        folder=f"{row.tenant}/{row.meeting_uid}/{row.uid}",
        state=RecordingState(row.state),
        actor=row.actor,
        on_behalf_of=row.on_behalf_of,
        operation_id=row.operation_id,
        write_minutes=row.write_minutes,
    )
