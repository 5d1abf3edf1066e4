"""From words and turns of speakers to utterances.

Each word goes to the speaker whose turn covers most of it (as in WhisperX, Bain et al., 2023); one
that no turn covers goes to the nearest turn. Times of words are off by a few tenths of a second, so
a change of speakers is moved to the pause or the end of a sentence beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

from atrium_meeting.domain.transcript import (
    Speaker,
    SpeakerTurn,
    Transcript,
    Utterance,
    Word,
    is_unspaced,
)

PAUSE_MS: Final = 1_000
"""A pause of so long ends an utterance."""
LONGEST_MS: Final = 30_000
"""Longest utterance; a longer turn is cut at the end of a sentence, or else where a pause is."""

_SENTENCE_END: Final = ".!?。！？…"
_CLAUSE_END: Final = ",;:，；：、"
_CLOSING: Final = "\"'”’)）]】」』》"
# How far a change of speakers may be moved: words, and their time.
_SNAP_WORDS: Final = 2
_SNAP_MS: Final = 600
_SNAP_PAUSE_MS: Final = 250


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of a known language.

    Args:
        word: The word, with times of the whole recording.
        language: "zh", "en", ...
    """

    word: Word
    language: str


def written_language(language: str, words: Iterable[Word]) -> str:
    """Return the language of a segment: what recognition says, unless its letters say otherwise.

    A short English reply in a Chinese meeting is sometimes taken for Chinese, and the other way
    round; the characters that were recognised cannot err.
    """
    characters = [character for word in words for character in word.text if character.isalpha()]
    chinese = sum(map(is_unspaced, characters))
    if language == "zh" and characters and chinese == 0:
        return "en"
    return "zh" if language == "en" and 2 * chinese > len(characters) else language


def align(words: Sequence[SpokenWord], turns: Sequence[SpeakerTurn]) -> Transcript:
    """Return version 1 of a transcript.

    Args:
        words: What was said, in any order.
        turns: Who spoke when; they may overlap. Empty: it was one speaker.

    Returns:
        Every word, once, in utterances of one speaker and one language. Speakers are numbered in
        order of their first words: "S1", "S2".
    """
    ordered = sorted(words, key=lambda one: (one.word.start_ms, one.word.end_ms))
    speakers = _snap(ordered, assign_speakers([one.word for one in ordered], turns))
    names: dict[str, str] = {}
    for speaker in speakers:
        names.setdefault(speaker, f"S{len(names) + 1}")
    utterances: list[Utterance] = []
    for speaker, part in _runs(ordered, speakers):
        for piece in _cut_long([one.word for one in part]):
            utterances.append(
                Utterance(f"u{len(utterances) + 1}", names[speaker], part[0].language, tuple(piece))
            )
    return Transcript(1, tuple(map(Speaker, names.values())), tuple(utterances))


def assign_speakers(words: Sequence[Word], turns: Sequence[SpeakerTurn]) -> list[str]:
    """Return the speaker of each word.

    Args:
        words: In order of their beginnings.
        turns: In any order; they may overlap.

    Returns:
        The speaker whose turns cover most of the word. Of several who cover it alike: who spoke the
        word before, else whose turn began last. A word outside of every turn goes to the nearest.
        Without turns all words are of one speaker, "".
    """
    if not turns:
        return [""] * len(words)
    waiting = sorted(turns, key=lambda turn: (turn.start_ms, turn.end_ms))
    following = 0
    active: list[SpeakerTurn] = []
    last_ended: SpeakerTurn | None = None
    assigned: list[str] = []
    for word in words:
        while following < len(waiting) and waiting[following].start_ms < max(
            word.end_ms, word.start_ms + 1
        ):
            active.append(waiting[following])
            following += 1
        ended = [turn for turn in active if turn.end_ms <= word.start_ms]
        if ended:
            latest = max(ended, key=lambda turn: turn.end_ms)
            if last_ended is None or latest.end_ms > last_ended.end_ms:
                last_ended = latest
            active = [turn for turn in active if turn.end_ms > word.start_ms]
        # Some were let in by a longer word before.
        covering = [turn for turn in active if turn.start_ms < max(word.end_ms, word.start_ms + 1)]
        if covering:
            before = assigned[-1] if assigned else ""
            assigned.append(_covering(word, covering, before))
            continue
        upcoming = min(
            [*active, *waiting[following : following + 1]],
            key=lambda turn: turn.start_ms,
            default=None,
        )
        assigned.append(_nearest(word, last_ended, upcoming).speaker)
    return assigned


def _covering(word: Word, active: Sequence[SpeakerTurn], before: str) -> str:
    covered: Counter[str] = Counter()
    began: dict[str, int] = {}
    for turn in active:
        # A word without length is covered by who speaks at its moment.
        covered[turn.speaker] += max(
            1, min(turn.end_ms, word.end_ms) - max(turn.start_ms, word.start_ms)
        )
        began[turn.speaker] = max(began.get(turn.speaker, 0), turn.start_ms)
    return max(covered, key=lambda one: (covered[one], one == before, began[one], one))


def _nearest(word: Word, before: SpeakerTurn | None, after: SpeakerTurn | None) -> SpeakerTurn:
    if before is None or after is None:
        chosen = before or after
        assert chosen is not None, "there are turns"
        return chosen
    return before if word.start_ms - before.end_ms <= after.start_ms - word.end_ms else after


def _snap(words: Sequence[SpokenWord], speakers: Sequence[str]) -> list[str]:
    """Move changes of speakers to the end of a sentence, or to a pause, close by."""
    moved = list(speakers)
    changes = [place for place in range(1, len(moved)) if speakers[place] != speakers[place - 1]]
    before = 0
    for place, after in pairwise([*changes, len(moved)]):
        # Neither speaker may lose the last word of a turn.
        first, last = max(before + 1, place - _SNAP_WORDS), min(after - 1, place + _SNAP_WORDS)
        best = place
        for cut in range(first, last + 1):
            if (_break_at(words, cut, place), -abs(cut - place)) > (
                _break_at(words, best, place),
                -abs(best - place),
            ):
                best = cut
        for index in range(min(best, place), max(best, place)):
            moved[index] = speakers[place] if best < place else speakers[place - 1]
        before = best
    return moved


def _break_at(words: Sequence[SpokenWord], cut: int, place: int) -> int:
    """Return how good a break lies before a word: 2 a sentence's end, 1 a pause, 0 none."""
    left, right = words[cut - 1].word, words[cut].word
    shift = abs(words[cut].word.start_ms - words[place].word.start_ms)
    if shift > _SNAP_MS:
        return -1
    if ends_sentence(left.text):
        return 2
    return 1 if right.start_ms - left.end_ms >= _SNAP_PAUSE_MS else 0


def _runs(
    words: Sequence[SpokenWord], speakers: Sequence[str]
) -> Iterator[tuple[str, list[SpokenWord]]]:
    """Yield stretches of one speaker and one language without a long pause."""
    number = 0
    numbers = [0] * len(words)
    for place, (left, right) in enumerate(pairwise(words), start=1):
        paused = right.word.start_ms - left.word.end_ms >= PAUSE_MS
        changed = speakers[place] != speakers[place - 1] or left.language != right.language
        number += paused or changed
        numbers[place] = number
    for _, places in groupby(range(len(words)), key=numbers.__getitem__):
        run = list(places)
        yield speakers[run[0]], [words[place] for place in run]


def _cut_long(words: list[Word]) -> Iterator[list[Word]]:
    """Yield the words in parts of :data:`LONGEST_MS` at most, as far as words allow."""
    rest = words
    while rest[-1].end_ms - rest[0].start_ms > LONGEST_MS and len(rest) > 1:
        limit = next(
            place
            for place in range(1, len(rest) + 1)
            if place == len(rest) or rest[place].end_ms - rest[0].start_ms > LONGEST_MS
        )
        cut = min(_best_cut(rest, limit), len(rest) - 1)
        yield rest[:cut]
        rest = rest[cut:]
    yield rest


def _best_cut(words: Sequence[Word], limit: int) -> int:
    """Return where to cut within the first ``limit`` words: the last good place of the best kind.

    The first third is left alone, so that no part is a scrap.
    """
    places = range(max(1, limit // 3), limit + 1)

    def worth(place: int) -> tuple[int, int, int]:
        text = words[place - 1].text
        gap = words[place].start_ms - words[place - 1].end_ms if place < len(words) else 0
        kind = 2 if ends_sentence(text) else 1 if ends_clause(text) else 0
        return kind, gap if kind == 0 else 0, place

    return max(places, key=worth)


def ends_sentence(word: str) -> bool:
    """Tell whether a sentence ends with this word."""
    return word.rstrip(_CLOSING)[-1:] in tuple(_SENTENCE_END)


def ends_clause(word: str) -> bool:
    """Tell whether a clause ends with this word."""
    return word.rstrip(_CLOSING)[-1:] in tuple(_CLAUSE_END)
