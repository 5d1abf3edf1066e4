"""Captions: a transcript cut into pieces that a viewer can read while they are shown.

A line holds 42 Latin or 21 Chinese characters, a caption two lines and at most seven seconds, as
subtitlers are used to (BBC Subtitle Guidelines; Netflix Timed Text Style Guide).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from atrium_meeting.domain.transcript import Transcript, Utterance, Word, is_unspaced, join

_LINE_WIDTH = 42
_CAPTION_LINES = 2
_SHORT_WIDTH = 10
"""What is no wider is gone before it is read."""
_CAPTION_MS = 7_000
_SHORTEST_MS = 400
_PAUSE_MS = 1_200
_GOOD_END = tuple(".!?。！？;；,，、:：")


@dataclass(frozen=True, slots=True)
class Caption:
    """What is shown from here to there.

    Args:
        start_ms: When it appears, in milliseconds from the beginning.
        end_ms: When it goes; after ``start_ms``.
        speaker: Name of who speaks, or "S1" where it is not known.
        lines: One or two lines.
    """

    start_ms: int
    end_ms: int
    speaker: str
    lines: tuple[str, ...]


def cut_captions(transcript: Transcript, *, clean: bool) -> Iterator[Caption]:
    """Yield the captions of a transcript, in order of time.

    Args:
        transcript: What was said.
        clean: Whether fillers, repetitions, repairs and false starts are left out.
    """
    names = {speaker.id: speaker.display_name or speaker.id for speaker in transcript.speakers}
    for speaker, piece in _joined(transcript.utterances, clean=clean):
        start_ms, end_ms = piece[0].start_ms, piece[-1].end_ms
        yield Caption(
            start_ms,
            max(end_ms, start_ms + _SHORTEST_MS),
            names.get(speaker, speaker),
            _lines([word.text for word in piece]),
        )


def _joined(
    utterances: Iterable[Utterance], *, clean: bool
) -> Iterator[tuple[str, Sequence[Word]]]:
    """Yield who says the words of each caption; a word or two go with what they say beside it."""
    speaker, words = "", list[Word]()
    for utterance in utterances:
        for piece in _pieces(utterance.clean_words if clean else utterance.words):
            together = [*words, *piece]
            if (
                words
                and speaker == utterance.speaker
                and (_is_short(words) or _is_short(piece))
                and piece[-1].end_ms - words[0].start_ms <= _CAPTION_MS
                and _fits(together)
            ):
                words = together
                continue
            if words:
                yield speaker, words
            speaker, words = utterance.speaker, list(piece)
    if words:
        yield speaker, words


def _is_short(words: Sequence[Word]) -> bool:
    return _width(join(word.text for word in words)) <= _SHORT_WIDTH


def _width(text: str) -> int:
    """Return how wide a text is, in Latin characters; a Chinese one takes the room of two."""
    return sum(2 if is_unspaced(character) else 1 for character in text)


def _pieces(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Cut words where a caption is full or somebody pauses, after punctuation where it can be."""
    begin = 0
    for position in range(1, len(words) + 1):
        if position == len(words):
            yield words[begin:]
            return
        word = words[position]
        pause = word.start_ms - words[position - 1].end_ms > _PAUSE_MS
        full = word.end_ms - words[begin].start_ms > _CAPTION_MS or not _fits(
            words[begin : position + 1]
        )
        if pause or full:
            end = position if pause else _good_end(words, begin, position)
            yield words[begin:end]
            begin = end


def _fits(words: Sequence[Word]) -> bool:
    """Return whether words fit into the lines of a caption."""
    lines, line = 1, words[0].text
    for word in words[1:]:
        longer = join((line, word.text))
        if _width(longer) <= _LINE_WIDTH:
            line = longer
        else:
            lines, line = lines + 1, word.text
    return lines <= _CAPTION_LINES


def _good_end(words: Sequence[Word], begin: int, end: int) -> int:
    """Return where to cut: after the last punctuation of the second half, else at the end."""
    for position in range(end, begin + (end - begin + 1) // 2, -1):
        if words[position - 1].text.endswith(_GOOD_END):
            return position
    return end


def _lines(words: Sequence[str]) -> tuple[str, ...]:
    """Return one line, or two of about the same width."""
    text = join(words)
    if _width(text) <= _LINE_WIDTH or len(words) == 1:
        return (text,)
    cuts = ((join(words[:cut]), join(words[cut:])) for cut in range(1, len(words)))
    return min(cuts, key=_unevenness)


def _unevenness(lines: tuple[str, str]) -> int:
    """Return how bad two lines look: too wide, uneven, or cut where nobody would pause."""
    first, second = map(_width, lines)
    too_wide = max(first, second, _LINE_WIDTH) - _LINE_WIDTH
    good = _LINE_WIDTH // 2 if lines[0].endswith(_GOOD_END) else 0
    return too_wide * _LINE_WIDTH + abs(first - second) - good
