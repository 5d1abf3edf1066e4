"""Meetings that are live, in the relational database."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_meeting.adapters import rows, tables
from atrium_meeting.app.stores import LiveState
from atrium_meeting.domain.errors import (
    LiveBusy,
    LiveResumeInvalid,
    LiveTakenOver,
    MeetingNotFound,
)
from atrium_meeting.domain.meetings import Meeting, MeetingState, SpeakerSummary
from atrium_meeting.domain.recordings import Origin
from atrium_meeting.domain.transcript import Utterance
from atrium_shared.clock import Clock
from atrium_shared.database import Database

_STREAMS: Final = tables.live_streams
_VERSIONS: Final = tables.transcript_versions


class SqlLive:
    """Implements ``stores.LiveStore``.

    Args:
        database: The service's database.
        clock: Tells the time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(
        self,
        meeting_uid: str,
        session: str,
        token: str,
        lease: timedelta,
        *,
        origin: Origin,
        author: str,
    ) -> LiveState:
        """Make a meeting live, or take over its stream."""
        now = self._clock.now()
        async with self._database.write() as transaction:
            meeting = await rows.locked_meeting(transaction, meeting_uid)
            row = await _row(transaction, meeting_uid)
            if row is None:
                if token:
                    raise LiveResumeInvalid(meeting.name)
                meeting.check_free()
                await rows.add_version(
                    transaction,
                    meeting,
                    1,
                    (),
                    origin=origin,
                    author=author,
                    change="transcribed live",
                    now=now,
                    state=MeetingState.LIVE,
                    failure_reason="",
                    failure_message="",
                )
                await transaction.execute(
                    sa.insert(_STREAMS).values(
                        meeting_uid=meeting_uid,
                        session=session,
                        epoch=1,
                        kept_until_ms=0,
                        utterance_count=0,
                        voices=b"",
                        lease_time=now + lease,
                        seen_time=now,
                    )
                )
                live = replace(meeting, state=MeetingState.LIVE, transcript_version=1)
                return LiveState(live, session, 1, 0, 0, b"")
            if token and not hmac.compare_digest(token.encode(), row.session.encode()):
                raise LiveResumeInvalid(meeting.name)
            if not token and row.lease_time is not None and row.lease_time > now:
                raise LiveBusy(meeting.name)
            await _set(
                transaction,
                meeting_uid,
                epoch=row.epoch + 1,
                lease_time=now + lease,
                seen_time=now,
            )
            return LiveState(
                meeting,
                row.session,
                row.epoch + 1,
                row.kept_until_ms,
                row.utterance_count,
                row.voices,
            )

    async def append(
        self,
        state: LiveState,
        utterance: Utterance | None,
        kept_until_ms: int,
        voices: bytes,
        lease: timedelta,
    ) -> None:
        """Store how far a stream is."""
        uid, now = state.meeting.uid, self._clock.now()
        values: dict[str, Any] = {
            "kept_until_ms": kept_until_ms,
            "voices": voices,
            "lease_time": now + lease,
            "seen_time": now,
        }
        if utterance is not None:
            values["utterance_count"] = rows.utterance_number(utterance.id)
        async with self._database.write() as transaction:
            # All streams of the process take turns here: as few statements as can be.
            changed = await transaction.execute(
                sa.update(_STREAMS)
                .where(_STREAMS.c.meeting_uid == uid, _STREAMS.c.epoch == state.epoch)
                .values(**values)
                .returning(_STREAMS.c.epoch)
            )
            if changed.first() is None:
                await _held(transaction, state)
            elif utterance is not None:
                meeting = await rows.locked_meeting(transaction, uid)
                await rows.insert_utterances(
                    transaction, uid, meeting.transcript_version, [utterance]
                )
                await _count(transaction, meeting, utterance)

    async def release(self, state: LiveState) -> None:
        """Let the next stream in."""
        async with self._database.write() as transaction:
            await transaction.execute(
                sa.update(_STREAMS)
                .where(_STREAMS.c.meeting_uid == state.meeting.uid, _STREAMS.c.epoch == state.epoch)
                .values(lease_time=None, seen_time=self._clock.now())
            )

    async def end(self, state: LiveState) -> Meeting:
        """Make a live meeting ready."""
        uid = state.meeting.uid
        async with self._database.write() as transaction:
            meeting = await _held(transaction, state)
            await rows.set_meeting(transaction, uid, state=MeetingState.READY)
            await transaction.execute(sa.delete(_STREAMS).where(_STREAMS.c.meeting_uid == uid))
            return replace(meeting, state=MeetingState.READY)

    async def end_abandoned(self, before: datetime) -> int:
        """Make live meetings ready to which nobody returned."""
        abandoned = _abandoned(before, self._clock.now())
        async with self._database.read() as session:
            found = (
                await session.execute(sa.select(_STREAMS.c.meeting_uid).where(abandoned))
            ).all()
        ended = 0
        for row in found:
            try:
                async with self._database.write() as transaction:
                    ended += await _end_abandoned(transaction, row.meeting_uid, abandoned)
            except MeetingNotFound:
                continue  # it was deleted meanwhile, and its stream with it
        return ended


def _abandoned(before: datetime, now: datetime) -> sa.ColumnElement[bool]:
    open_until = _STREAMS.c.lease_time
    return sa.and_(_STREAMS.c.seen_time <= before, sa.or_(open_until.is_(None), open_until <= now))


async def _end_abandoned(
    transaction: AsyncSession, meeting_uid: str, abandoned: sa.ColumnElement[bool]
) -> bool:
    # As for a stream that opens: who holds the meeting first is the one who decides.
    await rows.locked_meeting(transaction, meeting_uid)
    gone = await transaction.execute(
        sa.delete(_STREAMS)
        .where(_STREAMS.c.meeting_uid == meeting_uid, abandoned)
        .returning(_STREAMS.c.meeting_uid)
    )
    if gone.first() is None:
        return False
    await rows.set_meeting(transaction, meeting_uid, state=MeetingState.READY)
    return True


async def _row(transaction: AsyncSession, meeting_uid: str) -> sa.Row[Any] | None:
    query = sa.select(_STREAMS).where(_STREAMS.c.meeting_uid == meeting_uid)
    return (await transaction.execute(query)).one_or_none()


async def _held(transaction: AsyncSession, state: LiveState) -> Meeting:
    """Return the meeting, provided that the stream is still the newest."""
    meeting = await rows.locked_meeting(transaction, state.meeting.uid)
    row = await _row(transaction, state.meeting.uid)
    if row is None or row.epoch != state.epoch:
        raise LiveTakenOver(meeting.name)
    return meeting


async def _set(transaction: AsyncSession, meeting_uid: str, **values: Any) -> None:
    await transaction.execute(
        sa.update(_STREAMS).where(_STREAMS.c.meeting_uid == meeting_uid).values(**values)
    )


async def _count(transaction: AsyncSession, meeting: Meeting, utterance: Utterance) -> None:
    """Add an utterance to what the meeting says of its speakers.

    Counting anew, as an edit does, would take longer the longer the meeting is.
    """
    length_ms = utterance.end_ms - utterance.start_ms
    speakers = _plus(meeting.speakers, utterance.speaker, length_ms)
    if len(speakers) > len(meeting.speakers):
        await transaction.execute(
            sa.update(_VERSIONS)
            .where(
                _VERSIONS.c.meeting_uid == meeting.uid,
                _VERSIONS.c.version == meeting.transcript_version,
            )
            .values(speakers=[[one.id, one.display_name] for one in speakers])
        )
    await rows.set_meeting(
        transaction,
        meeting.uid,
        speakers=[[one.id, one.display_name, one.speaking_ms] for one in speakers],
        duration_ms=max(meeting.duration_ms, utterance.end_ms),
    )


def _plus(speakers: Sequence[SpeakerSummary], speaker: str, ms: int) -> list[SpeakerSummary]:
    known = [
        replace(one, speaking_ms=one.speaking_ms + ms) if one.id == speaker else one
        for one in speakers
    ]
    if all(one.id != speaker for one in speakers):
        known.append(SpeakerSummary(speaker, "", ms))
    return known
