"""From a recording to its transcript, and to minutes when they are wanted. A durable job.

Each step is minutes of audio at most and may run twice without harm; what it works out is stored
before it ends, so a crash repeats one step.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry,
    retry_if_exception,
    stop_after_delay,
    wait_exponential_jitter,
)

from atrium_meeting.app.clean_up import CleanUp
from atrium_meeting.app.compose_minutes import ComposeMinutes
from atrium_meeting.app.find_meeting import MANAGE_MEETINGS, WRITE_MEETINGS, may_read
from atrium_meeting.app.live_ear import LiveEngines
from atrium_meeting.app.mark_disfluencies import mark_disfluencies
from atrium_meeting.app.piece_files import PieceFiles, RecordingGone
from atrium_meeting.app.ports import (
    Cleaner,
    Delegation,
    Diarizer,
    RecognitionHints,
    RecordingDecoder,
    Transcriber,
    VoiceActivityDetector,
)
from atrium_meeting.app.stores import HotwordStore, MeetingStore, RecordingStore
from atrium_meeting.app.workers import Workers
from atrium_meeting.app.write_minutes import MinutesWanted
from atrium_meeting.domain.alignment import SpokenWord, align
from atrium_meeting.domain.audio import AudioPiece
from atrium_meeting.domain.errors import (
    RecognitionUnavailable,
    TranscriptionFailed,
    UploadCancelled,
)
from atrium_meeting.domain.meetings import Meeting, merge_hotwords
from atrium_meeting.domain.recordings import (
    Origin,
    Recording,
    RecordingProgress,
    RecordingState,
    Stage,
)
from atrium_meeting.domain.speaker_names import suggest_names
from atrium_meeting.domain.transcript import SpeakerTurn
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Clock
from atrium_shared.database import DatabaseUnavailable
from atrium_shared.errors import AtriumError, Unavailable
from atrium_shared.job_gate import JobGate
from atrium_shared.jobs import JSON, JobContext
from atrium_shared.principal import PermissionDenied, Principal

_REPORT_SECONDS: Final = 1.0
_OVER: Final[JSON] = {"over": True}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Engines:
    """What turns sound into words with speakers.

    Args:
        decoder: Reads files.
        activity: Finds speech.
        transcriber: Recognises words.
        diarizer: Tells speakers apart; ``None``: nobody does.
        cleaner: Marks disfluencies; ``None``: nobody does.
        live: What live streams need beside.
        shortcomings: Why a lesser engine than was asked for stands here, in plain words.
    """

    decoder: RecordingDecoder
    activity: VoiceActivityDetector
    transcriber: Transcriber
    diarizer: Diarizer | None
    cleaner: Cleaner | None
    live: LiveEngines
    shortcomings: tuple[str, ...] = ()


def _log_failure(attempt: RetryCallState) -> None:
    error = attempt.outcome.exception() if attempt.outcome else None
    _log.error("failure not recorded yet", exc_info=error)


def _may_pass(error: BaseException) -> bool:
    # A model that is missing comes when somebody pulls it, and they should learn that now.
    return isinstance(error, Unavailable) and not isinstance(error, RecognitionUnavailable)


class TranscribeRecording:
    """Handles the job ``meeting.transcribe``.

    A recording that cannot be read fails for good: the meeting says why, and nothing of the file is
    kept. What is away for a time (file store, admin service) is waited for. Speakers that cannot be
    told apart and disfluencies that cannot be marked leave a transcript that says so.

    Args:
        meetings: Where meetings are stored.
        recordings: Where recordings are stored.
        hotwords: Names and terms of tenants.
        blobs: Where files are stored.
        files: Pieces in the file store.
        engines: What turns sound into words.
        workers: Threads of the engines.
        compose: Writes minutes.
        clean_up: Removes what is left over.
        delegation: Says who the uploader is and what they may do now.
        clock: Tells when to report progress again.
        patience_seconds: How long something that is away is waited for before the recording fails.
    """

    def __init__(
        self,
        meetings: MeetingStore,
        recordings: RecordingStore,
        hotwords: HotwordStore,
        blobs: BlobStore,
        files: PieceFiles,
        engines: Engines,
        workers: Workers,
        compose: ComposeMinutes,
        clean_up: CleanUp,
        delegation: Delegation,
        clock: Clock,
        *,
        patience_seconds: float = 6 * 3600.0,
    ) -> None:
        self._meetings = meetings
        self._recordings = recordings
        self._hotwords = hotwords
        self._blobs = blobs
        self._files = files
        self._engines = engines
        self._workers = workers
        self._compose = compose
        self._clean_up = clean_up
        self._delegation = delegation
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._reported_at: dict[str, float] = {}
        self.gate = JobGate()
        """Open while the service runs."""

    async def handle(self, job: JobContext, payload: JSON) -> JSON:
        """Run the job of one recording."""
        uid = str(payload["recording"])
        try:
            return await self._transcribe(_Run(job, uid, self._guard))
        finally:
            self._reported_at.pop(uid, None)

    async def _transcribe(self, run: _Run) -> JSON:
        decoded = await run.step("decode", self._decode)
        if decoded is None:
            return {}
        total = int(decoded["pieces"])
        progress = RecordingProgress(
            Stage.RECOGNIZING,
            pieces_total=total,
            duration_ms=decoded["duration_ms"],
            speech_ms=decoded["speech_ms"],
        ).plus(Stage.DECODING, decoded["seconds"])
        stages: list[tuple[Stage, str, Callable[[Recording, int], Awaitable[JSON]]]] = [
            (Stage.RECOGNIZING, "recognize", self._recognize)
        ]
        # Remembered with the first step: settings may be others after a restart.
        if decoded["diarize"]:
            stages.append((Stage.DIARIZING, "examine", self._examine))
        blurred = False
        for stage, name, work in stages:
            progress = replace(progress, stage=stage)
            for number in range(total):
                now = replace(progress, pieces_done=number)
                done = await run.piece(f"{name} {number}", work, number, now, self._report)
                if done is None:
                    return {}
                progress = progress.plus(stage, done["seconds"])
                blurred = blurred or done.get("failed", False)
        if decoded["diarize"] and not blurred:
            done = await run.step("tell speakers apart", lambda one: self._assign(one, total))
            if done is None:
                return {}
            progress = progress.plus(Stage.DIARIZING, done["seconds"])
            blurred = done.get("failed", False)
        progress = replace(progress, stage=Stage.CLEANING, pieces_done=0)
        done = await run.step(
            "publish", lambda one: self._publish(one, total, progress, blurred=blurred)
        )
        if done is None:
            return {}
        progress = progress.plus(Stage.CLEANING, done["seconds"])
        if done["write_minutes"]:
            progress = replace(progress, stage=Stage.WRITING)
            done = await run.step("write minutes", lambda one: self._write(one, progress))
            if done is None:
                return {}
            progress = replace(progress, minutes=done["minutes"])
            progress = progress.plus(Stage.WRITING, done["seconds"])
        progress = replace(progress, stage=Stage.DONE, pieces_done=total)
        await run.step("finish", lambda one: self._finish(one, progress))
        return {}

    async def cancel(self, operation_id: str) -> None:
        """End a recording whose operation was cancelled. One that is done is left alone."""
        recording = await self._recordings.of_operation(operation_id)
        if recording is not None:
            await self._clean_up.run(
                await self._recordings.fail(recording.uid, UploadCancelled(), end_operation=False)
            )

    async def _guard(self, uid: str, step: Callable[[Recording], Awaitable[JSON]]) -> JSON:
        """Run a step of a recording that is still wanted; a failure fails the meeting."""
        return await self.gate.run(lambda: self._run(uid, step))

    async def _run(self, uid: str, step: Callable[[Recording], Awaitable[JSON]]) -> JSON:
        recording = await self._recordings.get(uid)
        if recording is None or recording.state is not RecordingState.PROCESSING:
            return _OVER
        failure: AtriumError
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_may_pass),
                wait=wait_exponential_jitter(multiplier=0.2, max=15.0),
                stop=stop_after_delay(self._patience_seconds),
                reraise=True,
            ):
                with attempt:
                    began = time.perf_counter()
                    done = await step(recording)
                    return {**done, "seconds": time.perf_counter() - began}
        except RecordingGone:
            return _OVER
        except DatabaseUnavailable:
            raise  # no fault of the recording; the gate waits for it
        except AtriumError as error:
            failure = error
        except Exception:  # whatever it is, the operation must end and nothing half stay
            _log.exception("transcription failed", meeting=recording.meeting, recording=uid)
            failure = TranscriptionFailed(recording.meeting)
        await self._fail(uid, failure)
        return _OVER

    @retry(wait=wait_exponential_jitter(multiplier=0.2, max=15.0), before_sleep=_log_failure)
    async def _fail(self, uid: str, error: AtriumError) -> None:
        """Mark as failed, however long that takes: a full disk must not hide it."""
        await self._clean_up.run(await self._recordings.fail(uid, error))

    async def _decode(self, recording: Recording) -> JSON:
        await self._permitted(recording)
        number = duration_ms = speech_ms = 0
        async with self._original(recording) as path:
            pieces = self._engines.decoder.decode(path)
            try:
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    if await self._files.has_piece(recording, number):
                        info = await self._files.info(recording, number)
                    else:
                        speech = await self._workers.run(
                            self._engines.activity.find_speech, piece.samples
                        )
                        info = await self._files.store_piece(recording, number, piece, speech)
                    number += 1
                    duration_ms = info.offset_ms + info.length_ms
                    speech_ms += info.speech_ms
                    await self._report(
                        recording,
                        RecordingProgress(
                            pieces_done=number, duration_ms=duration_ms, speech_ms=speech_ms
                        ),
                    )
            finally:
                await asyncio.to_thread(_close, pieces)
        return {
            "pieces": number,
            "duration_ms": duration_ms,
            "speech_ms": speech_ms,
            "diarize": self._engines.diarizer is not None,
        }

    async def _recognize(self, recording: Recording, number: int) -> JSON:
        meeting = await self._permitted(recording)
        info = await self._files.info(recording, number)
        segments = []
        if info.speech:
            sound = await self._files.sound(recording, number)
            hints = RecognitionHints(
                meeting.languages,
                merge_hotwords(meeting.hotwords, await self._hotwords.get(meeting.tenant)),
                meeting.chinese_script,
            )
            segments = await self._workers.run(
                self._engines.transcriber.transcribe, sound, info.speech, hints
            )
        await self._files.store_words(recording, number, segments)
        return {}

    async def _examine(self, recording: Recording, number: int) -> JSON:
        await self._permitted(recording)
        if self._engines.diarizer is None:
            return {"failed": True}
        info = await self._files.info(recording, number)
        sound = await self._files.sound(recording, number)
        try:
            piece = await self._workers.run(
                self._engines.diarizer.examine, sound, info.speech, info.offset_ms
            )
        except Exception:  # whatever it is, words without speakers are better than none
            _log.exception("speakers not told apart", recording=recording.uid, piece=number)
            return {"failed": True}
        await self._files.store_speakers(recording, number, piece)
        return {}

    async def _assign(self, recording: Recording, total: int) -> JSON:
        meeting = await self._permitted(recording)
        if self._engines.diarizer is None:
            return {"failed": True}
        pieces = []
        for number in range(total):
            info = await self._files.info(recording, number)
            pieces.append(await self._files.speakers(recording, number, info.offset_ms))
        try:
            turns = await self._workers.run(
                self._engines.diarizer.assign, pieces, meeting.speaker_count
            )
        except Exception:  # as above
            _log.exception("speakers not told apart", recording=recording.uid)
            return {"failed": True}
        await self._files.store_turns(recording, turns)
        return {}

    async def _publish(
        self, recording: Recording, total: int, progress: RecordingProgress, *, blurred: bool
    ) -> JSON:
        await self._permitted(recording)
        await self._report(recording, progress)
        words: list[SpokenWord] = []
        truncated = False
        for number in range(total):
            info = await self._files.info(recording, number)
            words += await self._files.words(recording, number, info.offset_ms)
            truncated = truncated or info.truncated
        diarizer, cleaner = self._engines.diarizer, self._engines.cleaner
        lacking = list(self._engines.shortcomings)
        turns: list[SpeakerTurn] = []
        if diarizer is not None and not blurred:
            turns = await self._files.turns(recording)
        elif diarizer is not None:
            lacking.append("speakers could not be told apart")
        transcript = await asyncio.to_thread(align, words, turns)
        cleanup = ""
        if cleaner is not None:
            try:
                marked = await self._workers.run(mark_disfluencies, cleaner, transcript.utterances)
                transcript = replace(transcript, utterances=tuple(marked))
                cleanup = cleaner.model
            except Exception:  # whatever it is, raw words are better than none
                _log.exception("disfluencies not marked", recording=recording.uid)
                lacking.append("disfluencies could not be marked")
        transcript = await asyncio.to_thread(suggest_names, transcript)
        origin = Origin(
            recognition_model=self._engines.transcriber.model,
            diarization_model=diarizer.model if turns and diarizer is not None else "",
            cleanup_model=cleanup,
            degraded=bool(lacking),
            degraded_reason="; ".join(lacking),
        )
        if not await self._recordings.publish(
            recording.uid, transcript, origin, truncated=truncated
        ):
            raise RecordingGone
        return {"write_minutes": recording.write_minutes and bool(transcript.utterances)}

    async def _write(self, recording: Recording, progress: RecordingProgress) -> JSON:
        await self._permitted(recording)
        await self._report(recording, progress)
        written = await self._compose(
            await self._principal(recording),
            recording.meeting,
            MinutesWanted(),
            f"n{recording.uid}",
            check=lambda: self._wanted(recording),
        )
        return {"minutes": written.record.name}

    async def _wanted(self, recording: Recording) -> None:
        """Do nothing while a recording is wanted, and its uploader may have it worked on."""
        await self._permitted(recording)
        now = await self._recordings.get(recording.uid)
        if now is None or now.state is not RecordingState.PROCESSING:
            raise RecordingGone

    async def _finish(self, recording: Recording, progress: RecordingProgress) -> JSON:
        await self._clean_up.run(await self._recordings.finish(recording.uid, progress))
        return {}

    async def _report(self, recording: Recording, progress: RecordingProgress) -> None:
        """Tell how far it is, from time to time: every report is a write to disk."""
        now = self._clock.monotonic()
        last = self._reported_at.setdefault(recording.uid, now)
        if now - last >= _REPORT_SECONDS:
            self._reported_at[recording.uid] = now
            await self._recordings.report(recording, progress)

    async def _principal(self, recording: Recording) -> Principal:
        return await self._delegation.delegate(
            recording.tenant, recording.actor, recording.on_behalf_of
        )

    async def _permitted(self, recording: Recording) -> Meeting:
        """Return the meeting, provided that who uploaded still may.

        Raises:
            PermissionDenied: They may not change it any more.
            RecordingGone: The meeting is gone.
        """
        principal = await self._principal(recording)
        principal.require(WRITE_MEETINGS)
        meeting = await self._meetings.by_uid(recording.meeting_uid)
        if meeting is None:
            raise RecordingGone
        if principal.subject != meeting.creator:
            principal.require(MANAGE_MEETINGS)
        if not may_read(principal, meeting):
            raise PermissionDenied(principal.subject, "labels:read")
        return meeting

    @asynccontextmanager
    async def _original(self, recording: Recording) -> AsyncIterator[Path]:
        """Give the file as it came, fetched where the store is no folder."""
        path = self._blobs.open_path(recording.original_key)
        if path is not None:
            yield path
            return
        handle, name = tempfile.mkstemp(prefix="atrium-recording-")
        try:
            with os.fdopen(handle, "wb") as file:
                async for part in self._blobs.stream(recording.original_key):
                    await asyncio.to_thread(file.write, part)
            yield Path(name)
        finally:
            await asyncio.to_thread(os.unlink, name)


class _Run:
    """Steps of one job; ``None`` instead of a result when the recording is over."""

    def __init__(
        self,
        job: JobContext,
        uid: str,
        guard: Callable[[str, Callable[[Recording], Awaitable[JSON]]], Awaitable[JSON]],
    ) -> None:
        self._job = job
        self._uid = uid
        self._guard = guard

    async def step(
        self, name: str, work: Callable[[Recording], Awaitable[JSON]]
    ) -> Mapping[str, Any] | None:
        """Run a step."""
        done = await self._job.step(name, lambda: self._guard(self._uid, work))
        return None if "over" in done else done

    async def piece(
        self,
        name: str,
        work: Callable[[Recording, int], Awaitable[JSON]],
        number: int,
        progress: RecordingProgress,
        report: Callable[[Recording, RecordingProgress], Awaitable[None]],
    ) -> Mapping[str, Any] | None:
        """Run a step of a piece, and tell before how far it is."""

        async def reported(recording: Recording) -> JSON:
            await report(recording, progress)
            return await work(recording, number)

        return await self.step(name, reported)


def _close(pieces: Iterator[AudioPiece]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
