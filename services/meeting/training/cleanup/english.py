"""Disfluencies put into fluent English; other texts and other code than what is reported on."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from chinese import EDIT, FILLER, KEEP, Example

from atrium_meeting.domain.cleanup import lexicon
from atrium_meeting.domain.cleanup.units import read_word

_SOUNDS: Final = "um um um uh uh uh er erm hmm mm uhm hm umm ah eh".split()
_PHRASES: Final = (
    "you know",
    "you know",
    "I mean",
    "I mean",
    "like",
    "like",
    "sort of",
    "kind of",
    "you see",
    "well",
    "so",
    "right",
    "okay",
    "yeah",
    "basically",
)
_OPENERS: Final = (
    "well",
    "so",
    "okay so",
    "yeah so",
    "right",
    "so yeah",
    "well you know",
    "I mean",
    "you know",
    "yeah",
    "okay",
)
_EDITS: Final = (
    "I mean",
    "I mean",
    "sorry",
    "or rather",
    "no wait",
    "wait no",
    "no sorry",
    "well",
    "um",
    "uh",
    "er",
    "or",
    "rather",
    "actually",
    "let me say",
    "that is",
    "excuse me",
)
_GIVEN_UP: Final = (
    "I think that;what I;so if we;and then we;it is;there was;we could;you have to;but the;the "
    "thing is;that was;do we;let me;maybe we should;I was going to;they are;we need to;because "
    "the;if you look at;in the;can you;this is the;I would;well the;and I;so the"
).split(";")
_SIGNS: Final = re.compile(
    r"\{|\b(?:um+|uh+|mm+|hmm+|mhm|erm?|eh|ah|you know|i mean|sort of|kind of|like)\b"
    r"|(?<![\w'])[b-hj-z] ",
    re.IGNORECASE,
)


def tidy(text: str) -> str:
    """Return a transcript's text without spaces before punctuation and endings."""
    text = re.sub(r"\s+([,.?!;:])", r"\1", text.replace("_", ""))
    return re.sub(r"\s*(['’])\s*(s|t|re|ve|ll|d|m)\b", r"\1\2", text).strip()


def read_fluent(folder: Path) -> tuple[list[str], list[str]]:
    """Return fluent utterances of meetings, and other fluent sentences.

    QMSum's train part without what looks disfluent; Tatoeba, a handbook, the Python manual.
    """
    spoken: set[str] = set()
    with gzip.open(folder / "meetings/qmsum_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            for turn in json.loads(line)["meeting_transcripts"]:
                for sentence in re.split(r"(?<=[.?!])\s", tidy(turn["content"])):
                    words = re.findall(r"[a-z']+", sentence.lower())
                    again = any(
                        words[i : i + n] == words[j : j + n]
                        for n in (1, 2)
                        for i in range(len(words))
                        for j in range(i + 1, min(i + 5, len(words) - n + 1))
                    )
                    if 4 <= len(words) <= 40 and not again and not _SIGNS.search(sentence):
                        spoken.add(sentence)
    written: list[str] = []
    with gzip.open(folder / "translation/tatoeba_cmn_eng.tsv.gz", "rt", encoding="utf-8") as lines:
        written += sorted({line.split("\t")[0] for line in lines})
    for file in sorted((folder / "knowledge/handbook").rglob("*.md")):
        text = re.sub(r"[*`\[]|\]\([^)]*\)|<[^>]*>", "", file.read_text(encoding="utf-8"))
        written += [
            sentence.strip(" -")
            for line in text.splitlines()
            if line[:1].isalpha() or line.startswith(("- ", "* "))
            for sentence in re.split(r"(?<=[.?!])\s", line)
        ]
    with gzip.open(
        folder / "translation/python_docs.en-zh.tsv.gz", "rt", encoding="utf-8"
    ) as lines:
        manual = sorted({line.split("\t")[2] for line in lines if line.count("\t") >= 3})
    written += [text for text in manual if re.fullmatch(r"[A-Z][\w ,;'()-]+[.]", text)][:6000]
    written = [
        text
        for text in written
        if 4 <= len(text.split()) <= 40
        and text[:1].isalpha()
        and not re.search(r"\b(\w+) \1\b", text)
    ]
    return sorted(spoken), written


class Disfluencies:
    """Puts fillers, repetitions, repairs and false starts into fluent text.

    Args:
        own: Texts of the kind that shall be recognised; half of what comes out is made of them.
        other: More texts.
        chance: Where all chance comes from.
    """

    def __init__(self, own: Sequence[str], other: Sequence[str], chance: random.Random) -> None:
        self._own, self._other, self._chance = own, other, chance
        self._words = [
            word for text in (*own[:4000], *other[:4000]) for word in text.split() if word.isalpha()
        ]

    def __iter__(self) -> Iterator[Example]:
        """Yield without end."""
        while True:
            text = self._chance.choice(self._own if self._chance.random() < 0.5 else self._other)
            words = [word for word in text.split() if any(c.isalnum() for c in word)]
            if words:
                yield self._spoil(words)

    def _spoil(self, said: list[str]) -> Example:
        chance = self._chance
        words = list(said)
        labels = [KEEP] * len(words)
        bare = chance.random() < 0.4
        if chance.random() < 0.17 and len(words) > 4:
            self._insert(words, labels, 0, self._given_up(bare), EDIT)
        for _ in range(chance.choice((0, 0, 1, 1, 2, 2, 3))):
            kind = chance.random()
            if kind < 0.4:
                self._fill(words, labels)
            elif kind < 0.75:
                self._repeat(words, labels)
            else:
                self._mend(words, labels)
        if bare:
            words = [_bare(word) for word in words]
        return Example(words, labels)

    def _insert(
        self, words: list[str], labels: list[int], place: int, put: list[str], label: int
    ) -> None:
        words[place:place] = put
        labels[place:place] = [
            FILLER if label == FILLER or _core(word) in lexicon.SOUNDS_EN else label for word in put
        ]

    def _pause(self, put: list[str], signs: str = ",,,-…") -> list[str]:
        if put and self._chance.random() < 0.5:
            sign = self._chance.choice(signs)
            put[-1] = put[-1].rstrip(",.;:?!") + {"…": "..."}.get(sign, sign)
        return put

    def _fill(self, words: list[str], labels: list[int]) -> None:
        chance = self._chance
        place = chance.randrange(len(words) + 1)
        if place == 0 and chance.random() < 0.3:
            put = chance.choice(_OPENERS).split()
            if chance.random() < 0.5:
                put.append(chance.choice(_SOUNDS))
        elif chance.random() < 0.65:
            put = [chance.choice(_SOUNDS)]
        else:
            put = chance.choice(_PHRASES[:9]).split()
        if place and chance.random() < 0.3 and words[place - 1][-1].isalnum():
            words[place - 1] += ","
        self._insert(words, labels, place, self._pause(put), FILLER)

    def _repeat(self, words: list[str], labels: list[int]) -> None:
        chance = self._chance
        length = chance.choice((1, 1, 1, 1, 2, 2, 3, 4, 5))
        place = self._fluent_place(labels, length)
        if place is None:
            return
        put: list[str] = []
        for _ in range(chance.choice((1, 1, 1, 1, 2, 3))):
            copy = [word.rstrip(",.;:?!") for word in words[place : place + length]]
            put += self._pause(copy)
            if chance.random() < 0.2:
                put += self._pause([chance.choice(_SOUNDS)], ",")
        self._insert(words, labels, place, put, EDIT)

    def _mend(self, words: list[str], labels: list[int]) -> None:
        chance = self._chance
        length = chance.choice((1, 1, 2, 2, 3, 4))
        place = self._fluent_place(labels, length)
        if place is None:
            return
        put = [word.rstrip(",.;:?!") for word in words[place : place + length]]
        last = put[-1]
        if chance.random() < 0.4 and len(last) > 2:
            put[-1] = last[: chance.randint(1, len(last) - 1)] + chance.choice(("-", "-", "-", ""))
        else:
            at = chance.choice((length - 1, length - 1, chance.randrange(length)))
            put[at] = chance.choice(self._words)
            if chance.random() < 0.15 and length > 1:
                del put[chance.randrange(length)]
            self._pause(put)
            if length == 1 or chance.random() < 0.6:
                put += self._pause(chance.choice(_EDITS).split(), ",")
        self._insert(words, labels, place, put, EDIT)

    def _given_up(self, bare: bool) -> list[str]:
        chance = self._chance
        if chance.random() < 0.4:
            put = chance.choice(_GIVEN_UP).split()
        else:
            other = chance.choice(self._own if chance.random() < 0.5 else self._other).split()
            put = [word.rstrip(",.;:?!") for word in other[: chance.randint(2, 6)]]
        sign = chance.choice(("-", "...", ",", ""))
        put[-1] += sign
        if bare or sign in {"", ","} or chance.random() < 0.4:
            put += self._pause(
                chance.choice((*_SOUNDS[:8], "no wait", "sorry", "I mean")).split(), ","
            )
        return put

    def _fluent_place(self, labels: list[int], length: int) -> int | None:
        found = [
            place
            for place in range(len(labels) - length + 1)
            if not any(labels[place : place + length])
        ]
        return self._chance.choice(found) if found else None


def _core(word: str) -> str:
    return read_word(word).core


def _bare(word: str) -> str:
    kept = word if word.endswith("-") else re.sub(r"[,;:!?\"“”()]|\.+$", "", word)
    return kept.lower() or word.lower()
