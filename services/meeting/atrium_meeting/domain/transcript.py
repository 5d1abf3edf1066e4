"""What was said: words with times, in utterances of one speaker each.

A *word* is what is written without a break: in English a word, in Chinese a single character, and
everywhere a run of Latin letters or digits. The punctuation that follows it belongs to it. So
every label, time and citation is of one grain in both languages, and character error rates can be
counted on words. The *text* of an utterance follows from its words alone (:func:`join`); offsets
are Unicode code points into it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise


class Disfluency(StrEnum):
    """Why a word is left out of the clean view (Shriberg, 1994: reparandum and interregnum)."""

    FILLER = "filler"
    """Sound or phrase that says nothing: "um", "you know", "呃", "那个"."""
    REPETITION = "repetition"
    """The same again: the earlier of the two is marked."""
    REPAIR = "repair"
    """What the words that follow correct, with the words that announce it ("I mean", "不对")."""
    FALSE_START = "false_start"
    """Begun and given up."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its time.

    Args:
        text: As written, with the punctuation that follows; no space around it.
        start_ms: Where it begins, in milliseconds from the beginning of the recording.
        end_ms: Where it ends; not before ``start_ms``.
        confidence: Probability that it is right, 0 to 1; 0 where it is not known.
        disfluency: Why the clean view leaves it out; ``None`` when it stays.
    """

    text: str
    start_ms: int
    end_ms: int
    confidence: float = 0.0
    disfluency: Disfluency | None = None

    def moved(self, by_ms: int) -> Word:
        """Return the word that much later."""
        return replace(self, start_ms=self.start_ms + by_ms, end_ms=self.end_ms + by_ms)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one speaker says without a long pause.

    Args:
        id: Identifier within the transcript, "u12"; it stays when the transcript is edited.
        speaker: Identifier of the speaker, "S1".
        language: "zh" or "en" (BCP 47); empty where it is not known.
        words: At least one word, in order of time.
    """

    id: str
    speaker: str
    language: str
    words: tuple[Word, ...]

    @property
    def start_ms(self) -> int:
        """Where the first word begins, in milliseconds."""
        return self.words[0].start_ms

    @property
    def end_ms(self) -> int:
        """Where the last word ends, in milliseconds."""
        return max(word.end_ms for word in self.words)

    @property
    def text(self) -> str:
        """All words as said."""
        return join(word.text for word in self.words)

    @property
    def clean_words(self) -> tuple[Word, ...]:
        """The words of the clean view; may be empty."""
        return tuple(one for one in with_capitals(self.words) if one.disfluency is None)

    @property
    def clean_text(self) -> str:
        """The text of the clean view; may be empty."""
        return join(word.text for word in self.clean_words)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody who speaks.

    Args:
        id: Identifier within the meeting, "S1"; numbered in order of their first words.
        display_name: Name for people; empty where it is not known.
        suggested_name: What they are probably called, from what is said; nobody has confirmed it.
            Empty: there is no clear sign, or the name is known.
    """

    id: str
    display_name: str = ""
    suggested_name: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A version of everything that was said.

    Args:
        version: From 1; each edit makes the next.
        speakers: In order of their first words.
        utterances: In order of their first words' times; ids are unique.
    """

    version: int
    speakers: tuple[Speaker, ...]
    utterances: tuple[Utterance, ...]

    @property
    def end_ms(self) -> int:
        """Where the last word ends, in milliseconds; 0 without words."""
        return max((utterance.end_ms for utterance in self.utterances), default=0)


@dataclass(frozen=True, slots=True)
class Span:
    """A citation: words of one utterance.

    Args:
        utterance: Identifier of the utterance.
        start_word: First word cited, from 0.
        end_word: The word after the last one cited; greater than ``start_word``.
    """

    utterance: str
    start_word: int
    end_word: int


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """Somebody speaks from here to there; turns of different speakers may overlap.

    Args:
        speaker: Identifier of the speaker, "S1".
        start_ms: Where they begin, in milliseconds from the beginning of the recording.
        end_ms: Where they end; after ``start_ms``.
    """

    speaker: str
    start_ms: int
    end_ms: int


def clock(milliseconds: int) -> str:
    """Return a time as people read it: "4:07", "1:04:07"."""
    seconds = milliseconds // 1000
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d}"
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


_OPENERS = "\"'“‘「『(（["
_CLOSERS = "\"'”’」』)）]"
_SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "…")
_UNSPACED_SCRIPTS = ("CJK ", "HIRAGANA", "KATAKANA", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC")


def is_unspaced(character: str) -> bool:
    """Tell whether a character is of a script that is written without spaces."""
    if ord(character) < 0x2E80:  # Latin and its neighbours, without looking into the table
        return False
    return unicodedata.name(character, "").startswith(_UNSPACED_SCRIPTS)


def join(words: Iterable[str]) -> str:
    """Return the text of words: a space between two, except beside a script without spaces."""
    return "".join(_pieces(list(words)))


def offsets(words: Sequence[str]) -> list[int]:
    """Return where each word begins in ``join(words)``, in Unicode code points."""
    starts: list[int] = []
    position = 0
    for piece, word in zip(_pieces(words), words, strict=True):
        starts.append(position + len(piece) - len(word))
        position += len(piece)
    return starts


def _pieces(words: Sequence[str]) -> list[str]:
    """Return each word with the space before it that it needs."""
    pieces = list(words[:1])
    for before, word in pairwise(words):
        touching = not before or not word or is_unspaced(before[-1]) or is_unspaced(word[0])
        pieces.append(word if touching else f" {word}")
    return pieces


def with_capitals(words: Sequence[Word]) -> tuple[Word, ...]:
    """Return the words as the clean view writes them: a sentence keeps the capital it began with.

    "Um, we start" is read as "We start". What stays was perhaps not written with a capital
    because it was not the first word; no text gets longer or shorter.
    """
    places = handed_on([word.text for word in words], [bool(word.disfluency) for word in words])
    if not places:
        return tuple(words)
    return tuple(
        replace(word, text=capitalised(word.text)) if place in places else word
        for place, word in enumerate(words)
    )


def handed_on(words: Sequence[str], gone: Sequence[bool]) -> frozenset[int]:
    """Return the places of words that begin a sentence as the words before them go.

    Args:
        words: Of any number of sentences.
        gone: Which of them are left out.
    """
    found = set()
    begins, capital = True, False
    for place, word in enumerate(words):
        if begins and gone[place]:
            capital = capital or word.lstrip(_OPENERS)[:1].isupper()
        elif begins:
            if capital and word != capitalised(word):
                found.add(place)
            capital = False
        begins = (begins and gone[place]) or word.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS)
    return frozenset(found)


def capitalised(word: str) -> str:
    """Return a word with a capital; a name that is written its own way ("iPhone") stays."""
    opening = len(word) - len(word.lstrip(_OPENERS))
    first, rest = word[opening : opening + 1], word[opening + 1 :]
    if rest != rest.lower() or len(first.upper()) != 1:
        return word
    return word[:opening] + first.upper() + rest


def split_words(text: str) -> list[str]:
    """Cut a text into words, each with the punctuation that belongs to it.

    ``join(split_words(text))`` is ``text`` with every run of white space made one space, or none
    beside a script without spaces.
    """
    words: list[str] = []
    begin, opened = True, False
    for character in text:
        if character.isspace():
            begin = True
            continue
        unspaced = is_unspaced(character) or (bool(words) and is_unspaced(words[-1][-1]))
        if begin and not (words and unspaced):
            # White space parts words, except beside a script that is written without.
            words.append("")
            opened = True
        category = unicodedata.category(character)
        opening = category in ("Ps", "Pi")  # a bracket belongs to the word that it opens
        letter = category[0] in "LMN"
        if not opened and (opening or (letter and unspaced)):
            words.append(character)
        else:
            words[-1] += character
        begin, opened = False, opening
    return words
