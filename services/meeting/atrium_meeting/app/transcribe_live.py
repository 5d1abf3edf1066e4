"""Transcribe a meeting while people speak."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Final

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.live_ear import LiveEar, LiveEngines
from atrium_meeting.app.live_session import (
    LiveConfig,
    LiveEvent,
    LiveLimits,
    LivePart,
    LiveSession,
    LiveTools,
)
from atrium_meeting.app.ports import RecognitionHints
from atrium_meeting.app.stores import HotwordStore, LiveState
from atrium_meeting.domain.errors import LiveConfigMissing, LiveStalled, LiveTakenOver
from atrium_meeting.domain.meetings import Meeting, merge_hotwords
from atrium_meeting.domain.recordings import Origin
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.errors import AtriumError
from atrium_shared.principal import Principal
from atrium_shared.unbroken import Unbroken

_TOKEN_BYTES: Final = 24


class TranscribeLive:
    """Opens live streams and knows those of this process.

    Args:
        find: Finds meetings.
        hotwords: Of tenants.
        engines: What each stream opens for itself.
        tools: What they share.
        limits: How they are run.
        audit: Records calls.
    """

    def __init__(
        self,
        find: FindMeeting,
        hotwords: HotwordStore,
        engines: LiveEngines,
        tools: LiveTools,
        limits: LiveLimits,
        audit: AuditTrail,
    ) -> None:
        self._find = find
        self._hotwords = hotwords
        self._engines = engines
        self._tools = tools
        self._limits = limits
        self._audit = audit
        self._open: dict[str, LiveSession] = {}
        self._unbroken = Unbroken()

    @property
    def open_streams(self) -> int:
        """How many streams are open in this process."""
        return len(self._open)

    async def __call__(
        self, principal: Principal, parts: AsyncIterator[LivePart]
    ) -> AsyncGenerator[LiveEvent, None]:
        """Transcribe what comes; yield results until the meeting or the stream is over.

        Args:
            principal: Who speaks.
            parts: The config, then sound, at last the end.

        Raises:
            LiveConfigMissing: The first part is no config.
            MeetingNotFound: There is no such meeting that the caller may read.
            MeetingNotYours: They may not change it.
            MeetingHasTranscript: It has a transcript already.
            MeetingBusy: A recording of it is worked on.
            LiveBusy: Another stream is open for it.
            LiveResumeInvalid: The resume token is not of its stream.
            RecognitionUnavailable: There is no model to recognise speech with.
            LiveStalled: No config comes; and what `LiveSession.run` raises.
        """
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                config = await anext(parts, None)
        except TimeoutError:
            raise LiveStalled(self._limits.stall_seconds) from None
        resource = config.meeting if isinstance(config, LiveConfig) else "meetings/-"
        async with self._audit.call(principal, "TranscribeLive", resource):
            if not isinstance(config, LiveConfig):
                raise LiveConfigMissing
            async with aclosing(self._transcribe(principal, config, parts)) as events:
                async for event in events:
                    yield event

    async def close(self) -> None:
        """Wait for what goes on although its caller hung up."""
        await self._unbroken.close()

    async def _transcribe(
        self, principal: Principal, config: LiveConfig, parts: AsyncIterator[LivePart]
    ) -> AsyncGenerator[LiveEvent, None]:
        meeting = await self._find.changeable(principal, config.meeting)
        await asyncio.to_thread(self._tools.transcriber.check)
        hints = RecognitionHints(
            meeting.languages,
            merge_hotwords(meeting.hotwords, await self._hotwords.get(meeting.tenant)),
            meeting.chinese_script,
        )
        decoder = self._engines.open_decoder(config.encoding, config.rate)
        state = await self._opened(principal, meeting, config)
        session = LiveSession(
            self._tools,
            self._limits,
            state,
            LiveEar(
                decoder, self._engines.open_speech(), state.kept_until_ms, self._limits.limit_ms
            ),
            hints,
            partials=config.partial_results,
            still_allowed=lambda: self._find.changeable(principal, config.meeting),
        )
        before = self._open.get(meeting.uid)
        if before is not None:
            before.fail(LiveTakenOver(meeting.name))
        self._open[meeting.uid] = session
        try:
            async with aclosing(session.run(parts)) as events:
                async for event in events:
                    yield event
        finally:
            if self._open.get(meeting.uid) is session:
                del self._open[meeting.uid]
            await self._unbroken.run(self._tools.store.release(state))

    async def _opened(
        self, principal: Principal, meeting: Meeting, config: LiveConfig
    ) -> LiveState:
        tools = self._tools
        lacking = [] if tools.voices is not None else ["speakers are not told apart"]
        if tools.cleaner is None:
            lacking.append("disfluencies are not marked")
        opening = self._unbroken.start(
            tools.store.open(
                meeting.uid,
                secrets.token_urlsafe(_TOKEN_BYTES),
                config.resume_token,
                self._limits.lease,
                origin=Origin(
                    recognition_model=tools.transcriber.model,
                    diarization_model=tools.voices.model if tools.voices is not None else "",
                    cleanup_model=tools.cleaner.model if tools.cleaner is not None else "",
                    degraded=bool(lacking),
                    degraded_reason="; ".join(lacking),
                ),
                author=principal.subject,
            )
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await self._unbroken.run(self._release_opened(opening))
            raise

    async def _release_opened(self, opening: asyncio.Task[LiveState]) -> None:
        """Close what was opened for a client that has hung up meanwhile."""
        with suppress(AtriumError):
            await self._tools.store.release(await opening)
