"""Recordings on their way to a transcript."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Stage(StrEnum):
    """What is being done with a recording."""

    DECODING = "decoding"
    RECOGNIZING = "recognizing"
    DIARIZING = "diarizing"
    CLEANING = "cleaning"
    WRITING = "writing"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class RecordingProgress:
    """How far a recording is.

    Args:
        stage: What is being done.
        pieces_done: Pieces that are through this stage.
        pieces_total: Pieces in all; 0 until they are known.
        duration_ms: Length of the recording; 0 until it is known.
        speech_ms: Of it, speech.
        stage_seconds: What each stage took so far.
        minutes: Name of the minutes, once they are written; empty without.
    """

    stage: Stage = Stage.DECODING
    pieces_done: int = 0
    pieces_total: int = 0
    duration_ms: int = 0
    speech_ms: int = 0
    stage_seconds: Mapping[Stage, float] = field(default_factory=dict)
    minutes: str = ""

    def plus(self, stage: Stage, seconds: float) -> RecordingProgress:
        """Return the same with more time spent on a stage."""
        spent = {**self.stage_seconds, stage: self.stage_seconds.get(stage, 0.0) + seconds}
        return replace(self, stage_seconds=spent)


class RecordingState(StrEnum):
    """Whether a recording is still worked on."""

    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was received whole.

    Args:
        uid: Identifier that is never used again.
        tenant: Whose.
        meeting_uid: Of which meeting.
        meeting: Resource name of the meeting, "meetings/m1".
        folder: Where its files lie in the file store.
        state: Whether it is still worked on.
        actor: Who called.
        on_behalf_of: The end user for whom; ``None``: nobody.
        operation_id: Identifier of its operation.
        write_minutes: Whether minutes are wanted.
    """

    uid: str
    tenant: str
    meeting_uid: str
    meeting: str
    folder: str
    state: RecordingState
    actor: str
    on_behalf_of: str | None
    operation_id: str
    write_minutes: bool

    @property
    def author(self) -> str:
        """Who made it: the end user, or without one the actor."""
        return self.on_behalf_of or self.actor

    @property
    def original_key(self) -> str:
        """Where the file lies as it came."""
        return f"{self.folder}/original"

    @property
    def pieces_folder(self) -> str:
        """Where what is worked out of it lies until its transcript is there."""
        return f"{self.folder}/pieces"

    def piece_key(self, number: int, kind: str) -> str:
        """Return where something of a piece lies.

        Args:
            number: The piece, from 0.
            kind: "sound", "speech", "words" or "speakers".
        """
        return f"{self.pieces_folder}/{number:04}/{kind}"

    @property
    def turns_key(self) -> str:
        """Where it lies who spoke when."""
        return f"{self.pieces_folder}/turns"


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a transcript.

    Args:
        recognition_model: What recognised the words; empty: imported.
        diarization_model: What told speakers apart; empty: nothing did.
        cleanup_model: What marked disfluencies; empty: nothing did.
        degraded: Something better was not available.
        degraded_reason: Why, in plain words.
    """

    recognition_model: str = ""
    diarization_model: str = ""
    cleanup_model: str = ""
    degraded: bool = False
    degraded_reason: str = ""
