"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.audio import AudioPiece, RecordingInfo, Region, Samples
from atrium_meeting.domain.transcript import Disfluency, SpeakerTurn, Word


class ChineseScript(StrEnum):
    """How Chinese is written."""

    SIMPLIFIED = "simplified"
    TRADITIONAL = "traditional"


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


class Transcriber(Protocol):
    """Speech to words."""

    @property
    def model(self) -> str:
        """Name of the model, such as "whisper-base"."""

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
