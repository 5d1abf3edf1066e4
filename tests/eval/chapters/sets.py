"""Meetings with known chapters, put together from public transcripts.

* `vcsum` (VCSum, short dev part, MIT, Wu et al.): 135 segments of 22 Chinese recordings, each
  segment about one subject. **joined**: segments are shuffled and five to eight put one after the
  other, neighbours never of one recording. In each segment the speakers are numbered anew in the
  order in which they speak, so that no number tells where a segment begins. **whole**: the segments
  of one recording in their order, which are on neighbouring subjects and so much harder to tell.
* `qmsum` (QMSum, MIT, Zhong et al.): English meetings of product teams, researchers and committees.
  Each start of a topic's stretch is a boundary, except within the first five utterances.

Half of the VCSum recordings are for tuning, the others for reporting; QMSum has its own parts.
The sets hold no times: words are laid out at an even pace, and pauses tell nothing.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atrium_meeting.domain.transcript import (
    Speaker,
    Transcript,
    Utterance,
    Word,
    is_unspaced,
    split_words,
)

_MARK = re.compile(r"\{\w+\}")
_SPACE_BEFORE_MARK = re.compile(r"\s+([,.?!;:'’])|(\w)\s+('(?:s|re|ve|ll|d|m|t)\b)")
_FIRST = 5
"""A topic that begins before this utterance begins the meeting."""
_SEGMENTS = (5, 8)


@dataclass(frozen=True)
class Meeting:
    """A transcript and where its chapters begin.

    Attributes:
        id: For logs.
        transcript: Its utterances are the units of the figures.
        starts: Numbers of the utterances that begin a chapter, without the first.
    """

    id: str
    transcript: Transcript
    starts: tuple[int, ...]


def load_vcsum(file: Path, part: str, construction: str, seed: int = 1) -> list[Meeting]:
    """Read VCSum.

    Args:
        file: `vcsum_short_dev.jsonl.gz`.
        part: `tune` or `report`.
        construction: `joined` or `whole`.
        seed: Shuffles.

    Raises:
        OSError: It is not there.
    """
    recordings: dict[int, list[dict[str, Any]]] = {}
    for row in _rows(file):
        recordings.setdefault(row["av_num"], []).append(row)
    chosen = [
        rows
        for i, (_, rows) in enumerate(sorted(recordings.items()))
        if (i % 2 == 0) == (part == "tune")
    ]
    if construction == "whole":
        return [
            _vcsum_meeting(f"vcsum-{rows[0]['av_num']}", rows, renumber=False)
            for rows in chosen
            if len(rows) > 2
        ]
    rng = random.Random(seed)
    pool = [row for rows in chosen for row in rows]
    meetings = []
    for round_number in range(4):
        rng.shuffle(pool)
        rest = list(pool)
        while len(rest) >= _SEGMENTS[0]:
            wanted = min(rng.randint(*_SEGMENTS), len(rest))
            rows = []
            for row in list(rest):
                if len(rows) < wanted and (not rows or rows[-1]["av_num"] != row["av_num"]):
                    rows.append(row)
                    rest.remove(row)
            if len(rows) < _SEGMENTS[0]:
                break
            name = f"vcsum-joined-{round_number}-{len(meetings)}"
            meetings.append(_vcsum_meeting(name, rows, renumber=True))
    return meetings


def load_qmsum(file: Path) -> list[Meeting]:
    """Read QMSum; `qmsum_train.jsonl.gz` is for tuning, `qmsum_val.jsonl.gz` for reporting.

    Raises:
        OSError: It is not there.
    """
    meetings = []
    for row in _rows(file):
        spoken: list[tuple[str, str, str]] = []
        numbers: list[int] = []  # number of each line, or of the next that says something
        for line in row["meeting_transcripts"]:
            numbers.append(len(spoken))
            text = _SPACE_BEFORE_MARK.sub(r"\1\2\3", _MARK.sub(" ", line["content"]))
            if any(character.isalnum() for character in text):
                spoken.append((line["speaker"], "en", text))
        numbers.append(len(spoken))
        starts = {
            numbers[min(int(begin), len(numbers) - 1)]
            for topic in row["topic_list"]
            for begin, _ in topic["relevant_text_span"]
        }
        inside = sorted(start for start in starts if _FIRST <= start < len(spoken))
        meetings.append(Meeting(row["id"], lay_out(spoken), tuple(inside)))
    return meetings


def lay_out(spoken: Sequence[tuple[str, str, str]]) -> Transcript:
    """Return a transcript of (speaker, language, text), at an even pace."""
    speakers: dict[str, str] = {}
    utterances = []
    now = 0
    for speaker, language, text in spoken:
        name = speakers.setdefault(speaker, f"S{len(speakers) + 1}")
        words = []
        for word in split_words(text):
            length = 240 if is_unspaced(word[0]) else 380
            words.append(Word(word, now, now + length))
            now += length
        if words:
            utterances.append(Utterance(f"u{len(utterances) + 1}", name, language, tuple(words)))
            now += 300
    people = tuple(Speaker(number, name) for name, number in speakers.items())
    return Transcript(1, people, tuple(utterances))


def _vcsum_meeting(name: str, rows: Sequence[dict[str, Any]], *, renumber: bool) -> Meeting:
    spoken: list[tuple[str, str, str]] = []
    starts = []
    for row in rows:
        if spoken:
            starts.append(len(spoken))
        numbers: dict[int, int] = {}
        for speaker, lines in zip(row["speaker"], row["context"], strict=True):
            number = numbers.setdefault(speaker, len(numbers) + 1) if renumber else speaker
            spoken.append((f"Speaker {number}", "zh", "".join(lines)))
    return Meeting(name, lay_out(spoken), tuple(starts))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
