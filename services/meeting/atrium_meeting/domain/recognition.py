"""From what a recogniser writes, piece by piece with times, to words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atrium_meeting.domain.transcript import Word, split_words

_WIDE = {",": "，", ".": "。", "?": "？", "!": "！", ":": "：", ";": "；"}
_NARROW_MARK = re.compile(r"(?<=[\u3400-\u9fff])[,.?!:;](?![0-9])")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some characters and when they are heard.

    Args:
        text: A word, a part of one, or several; a space before a word belongs to it.
        start_ms: Where it begins.
        end_ms: Where it ends.
        probability: 0 to 1.
    """

    text: str
    start_ms: float
    end_ms: float
    probability: float


def words_of(pieces: Sequence[Piece], rewrite: Callable[[str], str] = str) -> list[Word]:
    """Return the words that pieces make up.

    The characters of a piece share its time evenly, so that each Chinese character has a time of
    its own. Times never run backwards, whatever the pieces say.

    Args:
        pieces: In order.
        rewrite: Applied to the whole text, say from traditional to simplified characters. Where it
            changes the number of characters, each piece is rewritten on its own.
    """
    raw = "".join(piece.text for piece in pieces)
    whole = rewrite(raw)
    characters: list[tuple[str, float, float, float]] = []
    at = 0
    for piece in pieces:
        count = len(piece.text)
        text = whole[at : at + count] if len(whole) == len(raw) else rewrite(piece.text)
        at += count
        sounding = sum(map(_sounds, text))
        step = (piece.end_ms - piece.start_ms) / max(1, sounding)
        now = piece.start_ms
        for character in text:
            end = now + step if _sounds(character) else now
            characters.append((character, now, end, piece.probability))
            now = end
    return _join(characters)


def _join(characters: list[tuple[str, float, float, float]]) -> list[Word]:
    text = "".join(character for character, *_ in characters)
    words: list[Word] = []
    place, before_ms = 0, 0
    for word in split_words(text):
        own = []
        for letter in word:
            while characters[place][0] != letter:
                place += 1
            own.append(characters[place])
            place += 1
        heard = [entry for entry in own if _sounds(entry[0])]
        if not heard:  # a mark that stands alone has no sound: it belongs to the word before
            if words:
                last = words[-1]
                words[-1] = Word(last.text + word, last.start_ms, last.end_ms, last.confidence)
            continue
        start = max(before_ms, round(heard[0][1]))
        end = max(start, round(heard[-1][2]))
        confidence = min(1.0, max(0.0, sum(entry[3] for entry in heard) / len(heard)))
        words.append(Word(word, start, end, round(confidence, 3)))
        before_ms = start
    return words


def _sounds(character: str) -> bool:
    return character.isalnum() or character in "%$€£¥&+@#°"


def choose_languages(
    chances: Sequence[Sequence[float]], lengths_ms: Sequence[int], sure_ms: int = 2_500
) -> list[int]:
    """Return the language of each stretch of speech.

    An "uh" could be of any language: what is short is taken to be of the language of its
    neighbours, and what is doubtful to be of the one that most of the recording is in.

    Args:
        chances: Of each language, for each stretch as it sounds on its own.
        lengths_ms: Lengths of the stretches.
        sure_ms: A stretch of this length is judged on its own.
    """
    weights = [min(1.0, length / sure_ms) ** 2 for length in lengths_ms]
    scores = []
    for row in chances:
        total = sum(row) + 1e-6 * len(row)
        scores.append([math.log((chance + 1e-6) / total) for chance in row])
    count = len(chances[0]) if chances else 0
    whole = sum(weights) + 1.0
    common = [
        math.log(
            (sum(w * math.exp(row[k]) for w, row in zip(weights, scores, strict=True)) + 1 / count)
            / whole
        )
        for k in range(count)
    ]
    chosen = []
    for place, own in enumerate(scores):
        totals = [weights[place] * own[k] + common[k] for k in range(count)]
        for beside in (place - 1, place + 1):
            if 0 <= beside < len(scores):
                share = (1 - weights[place]) * weights[beside]
                totals = [totals[k] + share * scores[beside][k] for k in range(count)]
        chosen.append(max(range(count), key=totals.__getitem__))
    return chosen


def widen_marks(text: str) -> str:
    """Return Chinese text with the marks that belong to it: "好,走." becomes "好，走。"."""
    return _NARROW_MARK.sub(lambda found: _WIDE[found[0]], text)
