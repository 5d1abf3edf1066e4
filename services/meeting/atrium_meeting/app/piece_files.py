"""What is worked out of a recording, piece by piece, until its transcript is there.

Each file appears whole or not at all, so a step that a crash interrupted finds what is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from atrium_meeting.app.locks import MeetingLocks
from atrium_meeting.app.ports import RecognizedSegment, SpeakerPiece
from atrium_meeting.app.stores import RecordingStore
from atrium_meeting.domain.alignment import SpokenWord, written_language
from atrium_meeting.domain.audio import AudioPiece, Region, Samples, from_pcm16, to_pcm16
from atrium_meeting.domain.recordings import Recording, RecordingState
from atrium_meeting.domain.transcript import SpeakerTurn
from atrium_meeting.domain.transcript_codec import words_from_json, words_to_json
from atrium_shared.blobs import BlobStore


class RecordingGone(Exception):
    """The recording was deleted or cancelled meanwhile: nothing more is to be stored of it."""


@dataclass(frozen=True, slots=True)
class PieceInfo:
    """What is known of a piece.

    Args:
        offset_ms: Where it begins in the recording.
        length_ms: How long it is.
        truncated: The recording breaks off at its end.
        speech: Where somebody speaks, from the beginning of the piece.
    """

    offset_ms: int
    length_ms: int
    truncated: bool
    speech: tuple[Region, ...]

    @property
    def speech_ms(self) -> int:
        """How much of it is speech."""
        return sum(region.length_ms for region in self.speech)


class PieceFiles:
    """Reads and writes them.

    Args:
        recordings: Asked whether a recording is still wanted.
        blobs: Where files are stored.
        locks: Keep writing and removal apart.
    """

    def __init__(self, recordings: RecordingStore, blobs: BlobStore, locks: MeetingLocks) -> None:
        self._recordings = recordings
        self._blobs = blobs
        self._locks = locks

    async def has_piece(self, recording: Recording, number: int) -> bool:
        """Tell whether a piece is stored with what is known of it."""
        return await self._blobs.exists(recording.piece_key(number, "speech"))

    async def store_piece(
        self, recording: Recording, number: int, piece: AudioPiece, speech: Sequence[Region]
    ) -> PieceInfo:
        """Store a piece.

        Raises:
            RecordingGone: It is not wanted any more.
        """
        info = PieceInfo(piece.offset_ms, len(piece.samples) // 16, piece.truncated, tuple(speech))
        await self._put(recording, recording.piece_key(number, "sound"), to_pcm16(piece.samples))
        data = {
            "offset_ms": info.offset_ms,
            "length_ms": info.length_ms,
            "truncated": info.truncated,
            "speech": [[region.start_ms, region.end_ms] for region in info.speech],
        }
        await self._put(recording, recording.piece_key(number, "speech"), _to_bytes(data))
        return info

    async def info(self, recording: Recording, number: int) -> PieceInfo:
        """Return what is known of a piece."""
        data = json.loads(await self._blobs.get(recording.piece_key(number, "speech")))
        return PieceInfo(
            data["offset_ms"],
            data["length_ms"],
            data["truncated"],
            tuple(Region(start, end) for start, end in data["speech"]),
        )

    async def sound(self, recording: Recording, number: int) -> Samples:
        """Return the sound of a piece."""
        return from_pcm16(await self._blobs.get(recording.piece_key(number, "sound")))

    async def store_words(
        self, recording: Recording, number: int, segments: Sequence[RecognizedSegment]
    ) -> None:
        """Store what was recognised in a piece.

        Raises:
            RecordingGone: It is not wanted any more.
        """
        data = [[one.language, words_to_json(one.words)] for one in segments]
        await self._put(recording, recording.piece_key(number, "words"), _to_bytes(data))

    async def words(self, recording: Recording, number: int, offset_ms: int) -> list[SpokenWord]:
        """Return what was recognised in a piece, with times of the whole recording."""
        data = json.loads(await self._blobs.get(recording.piece_key(number, "words")))
        spoken: list[SpokenWord] = []
        for language, written in data:
            words = words_from_json(written)
            chosen = written_language(language, words)
            spoken += [SpokenWord(word.moved(offset_ms), chosen) for word in words]
        return spoken

    async def store_speakers(self, recording: Recording, number: int, piece: SpeakerPiece) -> None:
        """Store what a piece tells of its speakers.

        Raises:
            RecordingGone: It is not wanted any more.
        """
        await self._put(recording, recording.piece_key(number, "speakers"), piece.data)

    async def speakers(self, recording: Recording, number: int, offset_ms: int) -> SpeakerPiece:
        """Return what a piece tells of its speakers."""
        key = recording.piece_key(number, "speakers")
        return SpeakerPiece(offset_ms, await self._blobs.get(key))

    async def store_turns(self, recording: Recording, turns: Sequence[SpeakerTurn]) -> None:
        """Store who spoke when.

        Raises:
            RecordingGone: It is not wanted any more.
        """
        data = [[turn.speaker, turn.start_ms, turn.end_ms] for turn in turns]
        await self._put(recording, recording.turns_key, _to_bytes(data))

    async def turns(self, recording: Recording) -> list[SpeakerTurn]:
        """Return who spoke when."""
        data = json.loads(await self._blobs.get(recording.turns_key))
        return [SpeakerTurn(*turn) for turn in data]

    async def _put(self, recording: Recording, key: str, data: bytes) -> None:
        # Under the lock a removal cannot come between the look and the file.
        async with self._locks.of(recording.folder):
            now = await self._recordings.get(recording.uid)
            if now is None or now.state is not RecordingState.PROCESSING:
                raise RecordingGone
            await self._blobs.put(key, data)


def _to_bytes(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
