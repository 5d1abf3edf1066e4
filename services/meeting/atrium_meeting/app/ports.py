"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.activity import SpeechEvent
from atrium_meeting.domain.audio import AudioPiece, RecordingInfo, Region, Samples
from atrium_meeting.domain.meetings import ChineseScript as ChineseScript
from atrium_meeting.domain.minutes_records import Feedback, MinutesRecord
from atrium_meeting.domain.transcript import Disfluency, SpeakerTurn, Transcript, Word
from atrium_shared.principal import Principal


@dataclass(frozen=True, slots=True)
class RecognitionHints:
    """What recognition may expect.

    Args:
        languages: "zh", "en"; empty: found out segment by segment.
        hotwords: Names and terms, spelled as they shall come out.
        script: How Chinese is written.
    """

    languages: tuple[str, ...] = ()
    hotwords: tuple[str, ...] = ()
    script: ChineseScript = ChineseScript.SIMPLIFIED


@dataclass(frozen=True, slots=True)
class RecognizedSegment:
    """Words that were recognised without a break, of one language.

    Args:
        language: "zh", "en", ...
        words: In order of time; milliseconds from the beginning of the samples that were given.
    """

    language: str
    words: tuple[Word, ...]


class RecordingDecoder(Protocol):
    """Files of any format to sound."""

    def examine(self, path: Path) -> RecordingInfo:
        """Read the header of a recording. Blocks for some 0.3 s; run in a thread.

        Raises:
            RecordingRefused: It cannot be used; the subclass and its ``reason`` say why.
            DecoderUnavailable: No process for decoding could be started.
        """

    def decode(self, path: Path) -> Iterator[AudioPiece]:
        """Yield the recording in pieces of some minutes, cut where it is quiet.

        Holds one piece in memory. Each step blocks; run it in a thread. Whoever stops before the
        end closes the iterator.

        Raises:
            RecordingRefused: As `examine`; or it turns out to be too long, or to have no sound.
            DecoderUnavailable: No process for decoding could be started.
        """


class FrameDecoder(Protocol):
    """Frames of one live stream to sound; keeps the state of its codec."""

    def decode(self, frame: bytes) -> Samples:
        """Return the samples that a frame adds; may be none at the beginning.

        Raises:
            FrameBroken: The frame is no valid one. The next ones can be decoded.
        """


class VoiceActivityDetector(Protocol):
    """Tells speech from everything else."""

    def find_speech(self, samples: Samples) -> list[Region]:
        """Return where somebody speaks, in order and without overlap. Blocks; run in a thread."""


class SpeechStream(Protocol):
    """Tells speech from everything else while it arrives; one for each live stream."""

    @property
    def speaking_since_ms(self) -> int | None:
        """Where the speech that goes on began; ``None`` while nobody speaks."""

    @property
    def quiet_since_ms(self) -> int | None:
        """Since when nothing is heard of the speech that goes on; it may be a pause, or the end."""

    def accept(self, samples: Samples) -> list[SpeechEvent]:
        """Take more sound, of any length; return what it decides. 1 s takes some 4 ms."""

    def finish(self) -> list[SpeechEvent]:
        """Return what is open at the end."""


class Transcriber(Protocol):
    """Speech to words."""

    @property
    def model(self) -> str:
        """Name of the model, such as "whisper-base"."""

    def check(self) -> None:
        """Return when a recording can be recognised. Looks at files; run in a thread.

        Raises:
            RecognitionUnavailable: No model is there. It says what to do.
        """

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return the words of the regions with speech, in order. Blocks; run in a thread.

        What a model makes up over silence ("thanks for watching") is left out.

        Raises:
            RecognitionUnavailable: No model is there, or it cannot be loaded.
        """


@dataclass(frozen=True, slots=True)
class SpeakerPiece:
    """What diarization knows of one piece of a recording; it survives JSON.

    Args:
        offset_ms: Where the piece begins in the recording.
        data: What the diarizer needs of it later; its own affair.
    """

    offset_ms: int
    data: bytes


class Diarizer(Protocol):
    """Who spoke when. A recording is examined piece by piece, then speakers are told apart."""

    @property
    def model(self) -> str:
        """Name of the pipeline, such as "segmentation-3.0+campplus"."""

    def examine(self, samples: Samples, speech: Sequence[Region], offset_ms: int) -> SpeakerPiece:
        """Return what a piece tells of its speakers. Blocks; run in a thread."""

    def assign(self, pieces: Sequence[SpeakerPiece], speakers: int = 0) -> list[SpeakerTurn]:
        """Return who spoke when, over all pieces; "S1" is who spoke first. Blocks.

        Args:
            pieces: All pieces, in order.
            speakers: How many speakers there are; 0: found out.
        """


class SpeakerEncoder(Protocol):
    """A voice as a vector; for ``domain.online_speakers``, where speech is live."""

    @property
    def model(self) -> str:
        """Name of the model, such as "campplus"."""

    def encode(self, samples: Samples) -> npt.NDArray[np.float32] | None:
        """Return the embedding of one speaker's speech, or None when it is too short to tell.

        Blocks for some 20 ms a second of speech; run in a thread.
        """


class Cleaner(Protocol):
    """Marks what a reader does not want to read."""

    @property
    def model(self) -> str:
        """Name and version of the tagger."""

    def mark(
        self, language: str, utterances: Sequence[Sequence[str]]
    ) -> list[list[Disfluency | None]]:
        """Return a label for each word of each utterance (see ``domain.transcript``).

        Names, numbers and negations are never labelled; neither is a whole utterance that says
        something. Blocks; run in a thread.
        """


@dataclass(frozen=True, slots=True)
class ReadableMeeting:
    """A meeting that the caller may read, as minutes, catch-up and answers need it.

    Args:
        id: Identifier, "m1".
        title: For people; may be empty.
        agenda: Item by item; may be empty.
        day: When it was held, in the time zone in which dates are meant.
        transcript: What was said, as far as it is known.
        known_until_ms: Up to where it is known; earlier than the meeting's end while it is live.
    """

    id: str
    title: str
    agenda: tuple[str, ...]
    day: date
    transcript: Transcript
    known_until_ms: int


class MeetingReader(Protocol):
    """Reads meetings on somebody's behalf."""

    async def read(self, principal: Principal, meeting: str) -> ReadableMeeting:
        """Return the newest version of a meeting, of a live one as far as it is known.

        Args:
            principal: Who asks.
            meeting: Resource name, "meetings/m1".

        Raises:
            MeetingNotFound: There is none, or ``principal`` may not read it.
            MeetingHasNoTranscript: Nothing was said or recognised yet.
        """


class MinutesStore(Protocol):
    """Keeps minutes; they go with their meeting."""

    async def save(self, record: MinutesRecord) -> None:
        """Store minutes; the same again changes nothing.

        Raises:
            MeetingNotFound: The meeting was deleted meanwhile.
        """

    async def get(self, tenant: str, meeting: str, minutes: str) -> MinutesRecord:
        """Return minutes by their identifiers.

        Raises:
            MinutesNotFound: There are none.
        """

    async def list(
        self, tenant: str, meeting: str, *, before: str, limit: int
    ) -> Sequence[MinutesRecord]:
        """Return minutes of a meeting, newest first.

        Args:
            tenant: Whose.
            meeting: Identifier of the meeting.
            before: Identifier of the last one of the page before; empty: from the newest.
            limit: Most to return.
        """


class FeedbackStore(Protocol):
    """Keeps what users think of sentences; it goes with the minutes."""

    async def save(self, feedback: Feedback) -> Feedback:
        """Store feedback in place of the same user's on the same sentence; return what is kept.

        What is kept bears the identifier of the first.

        Raises:
            MinutesNotFound: The minutes were deleted meanwhile.
        """


class Delegation(Protocol):
    """Knows who somebody is now, for work that goes on after their call."""

    async def delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
        """Return the principal with the permissions of this moment.

        Raises:
            AtriumError: They are gone, or may not act for the user any more; or the admin service
                does not answer (``Unavailable``).
        """
