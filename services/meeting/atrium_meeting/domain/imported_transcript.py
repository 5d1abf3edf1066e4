"""From the entries of a caption file to a transcript."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from atrium_documents.cleaning import one_line
from atrium_meeting.domain.errors import (
    SpeakersTooMany,
    TranscriptEmpty,
    TranscriptTimesReversed,
    TranscriptTooLong,
)
from atrium_meeting.domain.transcript import (
    Speaker,
    Transcript,
    Utterance,
    Word,
    is_unspaced,
    split_words,
)

MAX_SPEAKERS = 1_000
"""Different speakers of one meeting."""
MAX_WORDS = 500_000
"""Words of one meeting; six hours of fast Chinese have about 130,000 characters."""
MAX_HOURS = 48

# Captions break lines where the screen ends. One that breaks off inside a sentence is joined with
# what the same person goes on to say at once.
_JOIN_GAP_MS = 1_000
_JOIN_LENGTH_MS = 30_000
_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)\]）】」』]*$")

# "Lin Wei: ..." at the beginning of an entry, where the format has no field for who speaks.
_NAMED = re.compile(
    r"^\s*(?P<name>[^\W\d_][^\n:：<>]{0,39}?)\s*(?:：|:(?=\s))\s*(?P<text>\S.*)$", re.DOTALL
)

# What exports write for somebody without a name is none.
_UNNAMED = re.compile(r"S\d+")


@dataclass(frozen=True, slots=True)
class ImportedEntry:
    """One entry of a file.

    Args:
        start_ms: Where it begins, in milliseconds from the beginning.
        end_ms: Where it ends.
        text: What is said, white space as it comes.
        speaker: Name of who speaks; empty where the file does not say.
    """

    start_ms: int
    end_ms: int
    text: str
    speaker: str = ""


def build_transcript(entries: Iterable[ImportedEntry]) -> Transcript:
    """Return the transcript that a file's entries make.

    Entries may come in any order and may overlap, as people do. The times of words are shares of
    their entry's time by length, for the file does not tell them.

    Raises:
        TranscriptEmpty: No entry has words.
        TranscriptTimesReversed: An entry ends before it begins.
        TranscriptTooLong: More than :data:`MAX_WORDS` words or :data:`MAX_HOURS` hours.
        SpeakersTooMany: More than :data:`MAX_SPEAKERS` names.
    """
    checked = list(entries)
    for number, entry in enumerate(checked, start=1):
        if entry.end_ms < entry.start_ms or entry.start_ms < 0:
            raise TranscriptTimesReversed(number, entry.start_ms, entry.end_ms)
        if entry.end_ms > MAX_HOURS * 3_600_000:
            raise TranscriptTooLong("hours", round(entry.end_ms / 3_600_000, 1), MAX_HOURS)
    ordered = sorted(_with_names(checked), key=lambda entry: (entry.start_ms, entry.end_ms))
    whole = [
        Utterance("", one_line(entry.speaker), "", words)
        for entry in ordered
        if (words := timed_words(entry.text, entry.start_ms, entry.end_ms))
    ]
    if not whole:
        raise TranscriptEmpty
    count = sum(len(utterance.words) for utterance in whole)
    if count > MAX_WORDS:
        raise TranscriptTooLong("words", count, MAX_WORDS)
    names = list(dict.fromkeys(utterance.speaker for utterance in whole))
    if len(names) > MAX_SPEAKERS:
        raise SpeakersTooMany(len(names), MAX_SPEAKERS)
    ids = {name: f"S{number}" for number, name in enumerate(names, start=1)}
    return Transcript(
        version=1,
        speakers=tuple(
            Speaker(ids[name], "" if _UNNAMED.fullmatch(name) else name) for name in names
        ),
        utterances=tuple(
            replace(
                utterance,
                id=f"u{number}",
                speaker=ids[utterance.speaker],
                language=language_of(word.text for word in utterance.words),
            )
            for number, utterance in enumerate(_joined(whole), start=1)
        ),
    )


def timed_words(text: str, start_ms: int, end_ms: int) -> tuple[Word, ...]:
    """Return the words of a text; each has a share of the time by its length."""
    words = split_words(text)
    ends = list(accumulate(len(word) for word in words))
    length = end_ms - start_ms
    times = [start_ms, *(start_ms + length * end // ends[-1] for end in ends)]
    return tuple(
        Word(word, begin, end) for word, begin, end in zip(words, times, times[1:], strict=False)
    )


def language_of(words: Iterable[str]) -> str:
    """Return "zh" where at least a third of the words are Chinese characters, else "en"."""
    kinds = Counter(is_unspaced(word[0]) for word in words if word)
    return "zh" if kinds[True] * 2 >= kinds[False] and kinds[True] else "en"


def _with_names(entries: Sequence[ImportedEntry]) -> list[ImportedEntry]:
    """Return the entries with names that stand before the text moved to where they belong.

    A colon after the first words is a name when the same one begins several entries, or most
    entries begin so; otherwise it is a colon ("One thing: ...").
    """
    if any(entry.speaker for entry in entries):
        return list(entries)
    found = [_NAMED.match(entry.text) for entry in entries]
    counts = Counter(match["name"] for match in found if match)
    most = sum(counts.values()) * 2 > len(entries)
    return [
        replace(entry, speaker=match["name"], text=match["text"])
        if match and (most or counts[match["name"]] > 1)
        else entry
        for entry, match in zip(entries, found, strict=True)
    ]


def _joined(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Return the utterances with those joined that a caption broke inside a sentence."""
    joined: list[Utterance] = []
    for utterance in utterances:
        before = joined[-1] if joined else None
        if (
            before is not None
            and before.speaker == utterance.speaker
            and 0 <= utterance.start_ms - before.end_ms <= _JOIN_GAP_MS
            and utterance.end_ms - before.start_ms <= _JOIN_LENGTH_MS
            and not _SENTENCE_END.search(before.words[-1].text)
        ):
            joined[-1] = replace(before, words=before.words + utterance.words)
        else:
            joined.append(utterance)
    return joined
