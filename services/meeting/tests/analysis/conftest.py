"""Transcripts from lines of talk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atrium_grounding.languages import detect_language
from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance, Word, split_words

Talk = Callable[..., Transcript]
_WORD_MS = 300
_GAP_MS = 400


def _transcript(*lines: str, language: str = "") -> Transcript:
    speakers: dict[str, str] = {}
    utterances = []
    now = 0
    for number, line in enumerate(lines, start=1):
        name, _, text = line.partition(": ")
        speaker = speakers.setdefault(name, f"S{len(speakers) + 1}")
        words = []
        for word in split_words(text):
            words.append(Word(word, now, now + _WORD_MS))
            now += _WORD_MS
        spoken = language or detect_language(text)
        utterances.append(Utterance(f"u{number}", speaker, spoken, tuple(words)))
        now += _GAP_MS
    people = tuple(Speaker(number, name) for name, number in speakers.items())
    return Transcript(1, people, tuple(utterances))


@pytest.fixture
def talk() -> Talk:
    """Return a transcript of lines such as "Anna: Let's start."."""
    return _transcript
