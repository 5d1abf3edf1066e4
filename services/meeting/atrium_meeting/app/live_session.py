"""One live stream: frames in, partial and final results out.

Three tasks: one hears what comes, one recognises what was said, one keeps the stream's place in the
store. Recognition is what takes time; so at most one stretch of a stream is being recognised at any
time, results that are final go before those that are not, and what waits to be recognised is
bounded: beyond that nothing more is read, and the sender's transport slows it down.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import structlog

from atrium_meeting.app.live_ear import Encoding, Heard, LiveEar, LiveFrame
from atrium_meeting.app.mark_disfluencies import mark_disfluencies
from atrium_meeting.app.ports import (
    Cleaner,
    RecognitionHints,
    RecognizedSegment,
    SpeakerEncoder,
    Transcriber,
)
from atrium_meeting.app.stores import LiveState, LiveStore
from atrium_meeting.app.turns import Turns
from atrium_meeting.app.workers import Workers
from atrium_meeting.domain.activity import SpeechStarted
from atrium_meeting.domain.audio import SAMPLE_RATE, Region, Samples
from atrium_meeting.domain.errors import LiveConfigRepeated, LiveStalled, LiveTooLong
from atrium_meeting.domain.local_agreement import LocalAgreement
from atrium_meeting.domain.meetings import Meeting
from atrium_meeting.domain.sound_tape import SoundTape, quietest_ms
from atrium_meeting.domain.transcript import Utterance, Word
from atrium_meeting.domain.voices import voices_from_bytes, voices_to_bytes
from atrium_shared.unbroken import unbroken

_log = structlog.get_logger(__name__)

_PREROLL_MS: Final = 2_000
"""Speech is told from noise only once it has gone on for a while."""
_PAUSE_MS: Final = 200
"""After so much quiet the speech is recognised in advance: it may have ended."""
_VOICE_MS: Final = 8_000
"""So much speech tells a voice; more would only take longer."""
_LOOK_BACK_MS: Final = 3_000
_SENTENCE_ENDS: Final = ".!?。！？"
_WAITING_RESULTS: Final = 64
_LEASE_SECONDS: Final = 30.0
_SMALL_BYTES: Final = 8_000
"""So little sound is heard in less time than it takes to a thread and back."""


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """What comes before sound.

    Args:
        meeting: Resource name, "meetings/m1".
        encoding: How sound is written.
        rate: Samples a second of PCM, in Hz.
        resume_token: To go on after a broken stream; empty: from the beginning.
        partial_results: Whether partial results are wanted.
    """

    meeting: str
    encoding: Encoding
    rate: int
    resume_token: str
    partial_results: bool


@dataclass(frozen=True, slots=True)
class LiveEnd:
    """The meeting is over."""


LivePart = LiveConfig | LiveFrame | LiveEnd


@dataclass(frozen=True, slots=True)
class LiveStarted:
    """The stream is open.

    Args:
        expected_offset_ms: From where sound is expected.
    """

    expected_offset_ms: int


@dataclass(frozen=True, slots=True)
class PartialResult:
    """Words that may still change.

    Args:
        utterance: Without speaker.
        stable_words: How many of its words, from the first, will not change.
    """

    utterance: Utterance
    stable_words: int


@dataclass(frozen=True, slots=True)
class FinalResult:
    """Words that do not change any more; they are stored."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class LiveKept:
    """Nothing new; it tells how far the stream is."""


@dataclass(frozen=True, slots=True)
class LiveFinished:
    """The meeting is over."""

    meeting: Meeting


LiveResult = LiveStarted | PartialResult | FinalResult | LiveKept | LiveFinished


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """What is told to the client.

    Args:
        result: What happened.
        resume_token: Goes on from here after a broken stream.
        received_until_ms: Up to where sound was received.
        kept_until_ms: Up to where it need not be sent again.
    """

    result: LiveResult
    resume_token: str
    received_until_ms: int
    kept_until_ms: int


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """How live streams are run.

    Args:
        partial_ms: How much new speech makes a partial result.
        cut_ms: Speech that goes on for longer is cut where that can be done well.
        longest_ms: Speech that goes on for longer is cut anyhow.
        buffer_ms: How much speech may wait to be recognised.
        stall_seconds: A client that sends nothing, or takes nothing, for longer has stalled.
        keep_seconds: How often the stream's place is stored while nobody speaks, and its right to
            go on is looked at.
        limit_ms: Longest meeting.
    """

    partial_ms: int = 1_000
    cut_ms: int = 15_000
    longest_ms: int = 20_000
    buffer_ms: int = 30_000
    stall_seconds: float = 60.0
    keep_seconds: float = 10.0
    limit_ms: int = 6 * 3_600_000

    @property
    def lease(self) -> timedelta:
        """How long a stream counts as open without a word from it."""
        return timedelta(seconds=max(_LEASE_SECONDS, 3 * self.keep_seconds))


@dataclass(frozen=True, slots=True)
class LiveTools:
    """What all live streams of the process share.

    Args:
        transcriber: Speech to words.
        cleaner: Marks disfluencies; ``None``: they are not marked.
        voices: Tells speakers apart; ``None``: they are not.
        store: Where streams are kept.
        turns: Who may recognise.
        recognition: Threads for it, as many as there are turns.
        hearing: Threads that decode, and tell speech from everything else.
    """

    transcriber: Transcriber
    cleaner: Cleaner | None
    voices: SpeakerEncoder | None
    store: LiveStore
    turns: Turns
    recognition: Workers
    hearing: Workers


@dataclass(slots=True)
class _Speech:
    """Speech that is not final yet.

    Args:
        start_ms: Where it begins.
        words: What is known of its words.
        end_ms: Where it ends; ``None``: it goes on.
        sound: All of it, once it has ended.
        heard_ms: Up to where it was recognised.
        language: Of its words.
        voice: Of its speaker, as far as it was recognised.
    """

    start_ms: int
    words: LocalAgreement = field(default_factory=LocalAgreement)
    end_ms: int | None = None
    sound: Samples | None = None
    heard_ms: int = 0
    language: str = ""
    voice: npt.NDArray[np.float32] | None = None
    voice_until_ms: int = -1


class LiveSession:
    """Runs one stream.

    Args:
        tools: What streams share.
        limits: How streams are run.
        state: As the store opened it.
        ear: Hears the stream.
        hints: What recognition may expect.
        partials: Whether partial results are wanted.
        still_allowed: Raises when the stream may not go on.
    """

    def __init__(
        self,
        tools: LiveTools,
        limits: LiveLimits,
        state: LiveState,
        ear: LiveEar,
        hints: RecognitionHints,
        *,
        partials: bool,
        still_allowed: Callable[[], Awaitable[object]],
    ) -> None:
        self._tools = tools
        self._limits = limits
        self._state = state
        self._ear = ear
        self._hints = hints
        self._partials = partials
        self._still_allowed = still_allowed
        self._speakers = voices_from_bytes(state.voices)
        self._voices = state.voices
        self._number = state.utterance_count
        self._kept_ms = state.kept_until_ms
        self._now_ms = state.kept_until_ms
        self._quiet_since_ms: int | None = None
        self._tape = SoundTape()
        self._waiting: deque[_Speech] = deque()
        self._over = False
        self._took_ms = 0.0
        self._storing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._all_final = asyncio.Event()
        self._spare = asyncio.Event()
        self._spare.set()
        self._results = _Results(limits.stall_seconds)

    def fail(self, error: Exception) -> None:
        """End the stream with an error."""
        self._results.fail(error)

    async def run(self, parts: AsyncIterator[LivePart]) -> AsyncGenerator[LiveEvent, None]:
        """Yield results until the stream is over. Closing it ends all that it does.

        Raises:
            LiveConfigRepeated: A second config came.
            LiveFrameInvalid: Sound came that has no place.
            FrameBroken: Sound came that cannot be decoded.
            LiveStalled: Nothing comes, or nothing is taken.
            LiveTooLong: It has reached the longest length.
            LiveTakenOver: Another stream goes on in its place.
            MeetingNotFound: It was deleted meanwhile, or may not be seen any more.
            RecognitionUnavailable: There is no model.
        """
        tasks = [
            asyncio.create_task(self._guarded(work), name=f"live {name}")
            for name, work in (
                ("hear", self._hear(parts)),
                ("recognize", self._recognize_all()),
                ("keep", self._keep_all()),
            )
        ]
        try:
            yield self._event(LiveStarted(self._kept_ms))
            while (result := await self._results.get()) is not None:
                yield self._event(result)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _event(self, result: LiveResult) -> LiveEvent:
        return LiveEvent(result, self._state.session, self._ear.received_ms, self._kept_ms)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # whatever it is, it ends the stream and is told by it
            self._results.fail(error)

    # What comes in

    async def _hear(self, parts: AsyncIterator[LivePart]) -> None:
        while True:
            await self._spare.wait()
            try:
                async with asyncio.timeout(self._limits.stall_seconds):
                    part = await anext(parts, None)
            except TimeoutError:
                raise LiveStalled(self._limits.stall_seconds) from None
            match part:
                case LiveFrame():
                    if len(part.audio) <= _SMALL_BYTES:
                        self._take(self._ear.hear(part))
                    else:
                        self._take(await self._tools.hearing.run(self._ear.hear, part))
                    if self._ear.received_ms > self._limits.limit_ms:
                        await self._end()
                        raise LiveTooLong(self._limits.limit_ms / 3_600_000)
                case LiveEnd():
                    await self._results.put(LiveFinished(await self._end()))
                    return self._results.close()
                case LiveConfig():
                    raise LiveConfigRepeated
                case None:
                    # It broke off: what is open is said again when the client goes on.
                    if self._waiting and self._waiting[-1].end_ms is None:
                        self._waiting.pop()
                    await self._finish_recognition()
                    return self._results.close()

    async def _end(self) -> Meeting:
        """End the meeting once all is final."""
        self._take(await self._tools.hearing.run(self._ear.finish))
        await self._finish_recognition()
        async with self._storing:
            return await unbroken(self._tools.store.end(self._state))

    async def _finish_recognition(self) -> None:
        self._over = True
        self._changed.set()
        await self._all_final.wait()

    def _take(self, heard: Sequence[Heard]) -> None:
        for one in heard:
            self._tape.append(one.start, one.sound)
            self._now_ms = one.end_ms
            for event in one.events:
                if isinstance(event, SpeechStarted):
                    self._waiting.append(_Speech(max(event.start_ms, self._kept_ms)))
                    continue
                speech = self._waiting[-1]
                end_ms = min(event.region.end_ms, self._now_ms)
                if end_ms <= speech.start_ms:
                    self._waiting.pop()  # it was cut where it ended
                    continue
                speech.sound = self._tape.between(speech.start_ms, end_ms)
                speech.end_ms = end_ms
            self._quiet_since_ms = one.quiet_since_ms
        speech_open = self._open
        self._tape.forget_before(
            speech_open.start_ms if speech_open is not None else self._now_ms - _PREROLL_MS
        )
        self._look_at_room()
        self._changed.set()

    @property
    def _open(self) -> _Speech | None:
        """The speech that goes on."""
        if self._waiting and self._waiting[-1].end_ms is None:
            return self._waiting[-1]
        return None

    def _look_at_room(self) -> None:
        waiting_ms = sum(
            (self._now_ms if one.end_ms is None else one.end_ms) - one.start_ms
            for one in self._waiting
        )
        if waiting_ms < self._limits.buffer_ms:
            self._spare.set()
        else:
            self._spare.clear()

    # What is said

    async def _recognize_all(self) -> None:
        while not (self._over and not self._waiting):
            speech = self._waiting[0] if self._waiting else None
            if speech is None or self._due_ms(speech) is None:
                self._changed.clear()
                await self._changed.wait()
            elif speech.end_ms is not None and speech.heard_ms == speech.end_ms:
                await self._finalize(speech, speech.words.words, speech.end_ms)
                self._waiting.popleft()  # not before: what waits is not stored yet
                self._look_at_room()
            else:
                await self._recognize(speech)
        self._all_final.set()

    def _due_ms(self, speech: _Speech) -> int | None:
        """Return up to where speech is to be recognised now; ``None``: wait for more of it."""
        if speech.end_ms is not None:
            return speech.end_ms
        length_ms, heard_ms = self._now_ms - speech.start_ms, max(speech.heard_ms, speech.start_ms)
        if length_ms >= self._limits.longest_ms:
            return self._now_ms
        if self._quiet_since_ms is not None and self._quiet_since_ms > speech.start_ms:
            end_ms = self._quiet_since_ms + _PAUSE_MS
            return end_ms if heard_ms < end_ms <= self._now_ms else None
        wanted = self._partials or length_ms >= self._limits.cut_ms
        # Where recognition is slow, partial results get rarer, so that it is free for the final.
        if wanted and self._now_ms - heard_ms >= max(self._limits.partial_ms, 2 * self._took_ms):
            return self._now_ms
        return None

    async def _recognize(self, speech: _Speech) -> None:
        async with self._tools.turns.take(lambda: speech.end_ms is not None):
            until_ms = self._due_ms(speech)  # while it waited, more was said
            if until_ms is None:
                return
            sound = speech.sound
            if sound is None:
                sound = self._tape.between(speech.start_ms, until_ms)
            last = speech.end_ms is not None or self._quiet_since_ms is not None
            begun = time.monotonic()
            segments = await self._tools.recognition.run(
                self._tools.transcriber.transcribe,
                sound,
                [Region(0, until_ms - speech.start_ms)],
                self._hints,
            )
            self._took_ms = 1000 * (time.monotonic() - begun)
            if last:
                await self._hear_voice(speech, sound, until_ms)
        words = [word.moved(speech.start_ms) for one in segments for word in one.words]
        speech.words.accept(words)
        speech.heard_ms = until_ms
        speech.language = _language(segments) or speech.language
        if speech.end_ms is not None:
            return
        if self._partials and speech.words.words:
            await self._results.put(
                PartialResult(
                    Utterance(self._next_id, "", speech.language, speech.words.words),
                    len(speech.words.stable),
                )
            )
        if speech.end_ms is None and until_ms - speech.start_ms >= self._limits.cut_ms:
            await self._cut(speech, sound)

    async def _cut(self, speech: _Speech, sound: Samples) -> None:
        """Make the first part of long speech final, and go on with the rest."""
        heard_ms = len(sound) * 1000 // SAMPLE_RATE
        known, stable = speech.words.words, len(speech.words.stable)
        count = _sentence_or_pause(known, stable, speech.start_ms + self._limits.cut_ms // 3)
        if count:
            # The times of words are rough: where it is quiet near by, no word is cut.
            first_ms, last_ms = (
                (word.start_ms + word.end_ms) // 2 - speech.start_ms
                for word in known[count - 1 : count + 1]
            )
            cut_ms = quietest_ms(sound[: last_ms * SAMPLE_RATE // 1000], first_ms)
        elif heard_ms >= self._limits.longest_ms:
            cut_ms = quietest_ms(sound, heard_ms - _LOOK_BACK_MS)
            middle_ms = speech.start_ms + cut_ms
            count = sum(word.start_ms + word.end_ms < 2 * middle_ms for word in known)
        else:
            return
        first = _Speech(speech.start_ms, language=speech.language)
        speech.words = speech.words.after(count)
        speech.start_ms += cut_ms
        end_ms = speech.start_ms
        async with self._tools.turns.take(lambda: True):
            await self._hear_voice(first, sound[: cut_ms * SAMPLE_RATE // 1000], end_ms)
        await self._finalize(first, known[:count], end_ms)

    async def _hear_voice(self, speech: _Speech, sound: Samples, until_ms: int) -> None:
        speech.voice_until_ms = until_ms
        if self._tools.voices is None:
            return
        middle = sound[max(0, len(sound) // 2 - _VOICE_MS * 8) :][: _VOICE_MS * 16]
        try:
            speech.voice = await self._tools.recognition.run(self._tools.voices.encode, middle)
        except Exception:  # whatever it is, words without speakers are better than none
            _log.exception("voice not told", meeting=self._state.meeting.uid)

    async def _finalize(self, speech: _Speech, words: Sequence[Word], end_ms: int) -> None:
        """Store speech that does not change any more, then tell it."""
        if not words:
            self._kept_ms = max(self._kept_ms, end_ms)
            return
        if speech.voice_until_ms != end_ms and speech.sound is not None:
            await self._hear_voice(speech, speech.sound, end_ms)
        speaker = self._speakers.assign(speech.voice, end_ms - speech.start_ms)
        utterance = Utterance(self._next_id, speaker, speech.language, tuple(words))
        if self._tools.cleaner is not None:
            try:
                [utterance] = await self._tools.hearing.run(
                    mark_disfluencies, self._tools.cleaner, [utterance]
                )
            except Exception:  # whatever it is, raw words are better than none
                _log.exception("disfluencies not marked", meeting=self._state.meeting.uid)
        self._voices = voices_to_bytes(self._speakers)
        await self._store(utterance, end_ms)
        await self._results.put(FinalResult(utterance))

    @property
    def _next_id(self) -> str:
        return f"u{self._number + 1}"

    # How far it is

    async def _keep_all(self) -> None:
        while True:
            await asyncio.sleep(self._limits.keep_seconds)
            await self._still_allowed()
            until_ms = self._kept_ms
            if not self._waiting:
                until_ms = max(until_ms, self._now_ms - _PREROLL_MS)
            await self._store(None, until_ms)
            await self._results.put(LiveKept())

    async def _store(self, utterance: Utterance | None, until_ms: int) -> None:
        async with self._storing:
            until_ms = max(until_ms, self._kept_ms)
            await unbroken(
                self._tools.store.append(
                    self._state, utterance, until_ms, self._voices, self._limits.lease
                )
            )
            self._kept_ms = until_ms
            self._number += utterance is not None


def _sentence_or_pause(words: Sequence[Word], stable: int, from_ms: int) -> int:
    """Return after how many of the stable words to cut; 0: nowhere.

    After the last sentence that ends after ``from_ms``, else at the longest pause since.
    """
    places = [
        place
        for place in range(1, min(stable + 1, len(words)))
        if words[place - 1].end_ms >= from_ms
    ]
    sentences = [place for place in places if words[place - 1].text[-1] in _SENTENCE_ENDS]
    if sentences:
        return sentences[-1]
    return max(
        places,
        key=lambda place: (words[place].start_ms - words[place - 1].end_ms, place),
        default=0,
    )


def _language(segments: Sequence[RecognizedSegment]) -> str:
    """Return the language of most words; empty without words."""
    counts: Counter[str] = Counter()
    for one in segments:
        counts[one.language] += len(one.words)
    return counts.most_common(1)[0][0] if counts else ""


class _Results:
    """Results on their way to the client, in order; of those that may change, only the newest.

    Args:
        patience_seconds: How long a result may wait for room.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._lasting: deque[LiveResult] = deque()
        self._newest: LiveResult | None = None
        self._failure: Exception | None = None
        self._closed = False
        self._ready = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, result: LiveResult) -> None:
        """Add a result.

        Raises:
            LiveStalled: Nothing is taken.
        """
        if isinstance(result, PartialResult):
            self._newest = result
        elif isinstance(result, LiveKept):
            self._newest = self._newest or result
        else:
            await self._wait_for_room()
            self._newest = None
            self._lasting.append(result)
        self._ready.set()

    def fail(self, error: Exception) -> None:
        """Let the results end with an error, the first one that is told."""
        self._failure = self._failure or error
        self._ready.set()

    def close(self) -> None:
        """Let them end."""
        self._closed = True
        self._ready.set()

    async def get(self) -> LiveResult | None:
        """Return the next result; ``None``: there are no more.

        Raises:
            Exception: What `fail` was told.
        """
        while True:
            if self._lasting:
                self._room.set()
                return self._lasting.popleft()
            if self._failure is not None:
                raise self._failure
            if self._newest is not None:
                newest, self._newest = self._newest, None
                return newest
            if self._closed:
                return None
            self._ready.clear()
            await self._ready.wait()

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self._patience_seconds):
                while len(self._lasting) >= _WAITING_RESULTS:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise LiveStalled(self._patience_seconds) from None
