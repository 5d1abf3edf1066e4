"""Transcripts as JSON: our own form, and the segments that speech recognisers write."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atrium_documents.cleaning import one_line
from atrium_meeting.domain.errors import (
    SpeakersTooMany,
    TranscriptBroken,
    TranscriptEmpty,
    TranscriptTimesReversed,
    TranscriptTooLong,
)
from atrium_meeting.domain.imported_transcript import (
    MAX_HOURS,
    MAX_SPEAKERS,
    MAX_WORDS,
    ImportedEntry,
    build_transcript,
    language_of,
    timed_words,
)
from atrium_meeting.domain.transcript import (
    Disfluency,
    Speaker,
    Transcript,
    Utterance,
    Word,
    split_words,
)

FORMAT = "atrium.meeting/1"
"""What our own form says of itself."""

_Time = Annotated[int, Field(ge=0, le=MAX_HOURS * 3_600_000)]
_Seconds = Annotated[float, Field(ge=0, le=MAX_HOURS * 3_600, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Word(_Model):
    text: Annotated[str, Field(min_length=1, max_length=400, pattern=r"^\S+$")]
    start_ms: _Time
    end_ms: _Time
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    disfluency: Disfluency | None = None


class _Utterance(_Model):
    speaker: Annotated[str, Field(max_length=200)] = ""
    language: Annotated[str, Field(max_length=35)] = ""
    start_ms: _Time
    end_ms: _Time
    text: str = ""
    words: tuple[_Word, ...] = ()


class _Speaker(_Model):
    id: Annotated[str, Field(min_length=1, max_length=200)]
    name: Annotated[str, Field(max_length=200)] = ""


class _OwnForm(_Model):
    speakers: tuple[_Speaker, ...] = ()
    utterances: tuple[_Utterance, ...]


class _Segment(_Model):
    start: _Seconds
    end: _Seconds
    text: str
    speaker: Annotated[str, Field(max_length=200)] = ""


class _Segments(_Model):
    segments: tuple[_Segment, ...]


def read_json(text: str) -> Transcript:
    """Return the transcript of a JSON file.

    Two forms are read: our own (``utterances``, as :func:`transcript_to_json` writes it; words
    keep their times and marks), and ``segments`` with ``start`` and ``end`` in seconds, as Whisper
    and its kin write them.

    Raises:
        TranscriptBroken: It is neither form, or no JSON.
        TranscriptEmpty: Nobody says anything in it.
        TranscriptTimesReversed: Something ends before it begins.
        TranscriptTooLong: It has more words or hours than a meeting may have.
        SpeakersTooMany: It has more speakers than a meeting may have.
    """
    form = _Segments if '"segments"' in text and '"utterances"' not in text else _OwnForm
    try:
        read = form.model_validate_json(text)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise TranscriptBroken("JSON", f"{place}: {first['msg']}") from exc
    if isinstance(read, _Segments):
        return build_transcript(
            ImportedEntry(
                round(segment.start * 1000),
                round(segment.end * 1000),
                segment.text,
                segment.speaker,
            )
            for segment in read.segments
        )
    assert isinstance(read, _OwnForm)
    return _own_form(read)


def _own_form(read: _OwnForm) -> Transcript:
    spoken = sorted(
        (
            (number, utterance, words)
            for number, utterance in enumerate(read.utterances, start=1)
            if (words := _words(number, utterance))
        ),
        key=lambda item: (item[2][0].start_ms, item[0]),
    )
    if not spoken:
        raise TranscriptEmpty
    count = sum(len(words) for _, _, words in spoken)
    if count > MAX_WORDS:
        raise TranscriptTooLong("words", count, MAX_WORDS)
    names = {speaker.id: one_line(speaker.name) for speaker in read.speakers}
    ids = list(dict.fromkeys(utterance.speaker for _, utterance, _ in spoken))
    if len(ids) > MAX_SPEAKERS:
        raise SpeakersTooMany(len(ids), MAX_SPEAKERS)
    renamed = {old: f"S{number}" for number, old in enumerate(ids, start=1)}
    return Transcript(
        version=1,
        speakers=tuple(Speaker(new, names.get(old, "")) for old, new in renamed.items()),
        utterances=tuple(
            Utterance(
                f"u{number}",
                renamed[utterance.speaker],
                utterance.language or language_of(word.text for word in words),
                words,
            )
            for number, (_, utterance, words) in enumerate(spoken, start=1)
        ),
    )


def _words(number: int, utterance: _Utterance) -> tuple[Word, ...]:
    """Return the words of an utterance: its own, or those of its text with shares of its time."""
    if utterance.end_ms < utterance.start_ms:
        raise TranscriptTimesReversed(number, utterance.start_ms, utterance.end_ms)
    words: list[Word] = []
    for word in utterance.words:
        if word.end_ms < word.start_ms or (words and word.start_ms < words[-1].start_ms):
            raise TranscriptTimesReversed(number, word.start_ms, word.end_ms)
        parts = split_words(word.text)
        if len(parts) == 1:
            words.append(
                Word(word.text, word.start_ms, word.end_ms, word.confidence, word.disfluency)
            )
        else:  # another program's words may be of several characters
            words.extend(timed_words(word.text, word.start_ms, word.end_ms))
    return tuple(words) or timed_words(utterance.text, utterance.start_ms, utterance.end_ms)


def transcript_to_json(transcript: Transcript, *, clean: bool) -> dict[str, Any]:
    """Return our own form of a transcript.

    Args:
        transcript: What was said.
        clean: Whether words that the clean view leaves out are left out here too.
    """
    return {
        "format": FORMAT,
        "transcript_version": transcript.version,
        "speakers": [
            {"id": speaker.id, "name": speaker.display_name} for speaker in transcript.speakers
        ],
        "utterances": [
            {
                "id": utterance.id,
                "speaker": utterance.speaker,
                "language": utterance.language,
                "start_ms": utterance.start_ms,
                "end_ms": utterance.end_ms,
                "text": utterance.clean_text if clean else utterance.text,
                "words": [
                    {
                        "text": word.text,
                        "start_ms": word.start_ms,
                        "end_ms": word.end_ms,
                        "confidence": round(word.confidence, 3),
                        "disfluency": word.disfluency.value if word.disfluency else None,
                    }
                    for word in (utterance.clean_words if clean else utterance.words)
                ],
            }
            for utterance in transcript.utterances
            if not clean or utterance.clean_words
        ],
    }
