"""From what a recogniser writes, piece by piece with times, to words."""

from __future__ import annotations

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


def widen_marks(text: str) -> str:
    """Return Chinese text with the marks that belong to it: "好,走." becomes "好，走。"."""
    return _NARROW_MARK.sub(lambda found: _WIDE[found[0]], text)
