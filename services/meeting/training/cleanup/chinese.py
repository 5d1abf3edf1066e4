"""CS2W as words and labels, and disfluencies put into fluent Chinese."""

from __future__ import annotations

import gzip
import json
import random
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import rjieba

from atrium_meeting.domain.transcript import split_words

KEEP: Final = 0
FILLER: Final = 1
EDIT: Final = 2
_HAN: Final = re.compile("[\u4e00-\u9fff]")
_SOUNDS: Final = "嗯嗯嗯嗯嗯呃呃呃呃啊啊诶哦哎"
_PHRASES: Final = (
    "就是 就是 就是 那个 那个 那个 然后 这个 的话 那种 就 呢 吧 嘛 什么的 怎么说呢 就是说 那什么"
).split()
_STARTS: Final = (
    "我 我觉得 就是 他 她 你 我们 然后 因为 但是 那个 所以 其实 如果 他们 这个 就 你就 我就 那 它"
).split()
_SPOKEN_NOISE: Final = re.compile(r"(.{1,4})，?\1|[嗯呃啊诶呢]|那个|这个|就是|对吧|ok")


@dataclass(frozen=True)
class Example:
    """Words of one utterance and a label for each: 0 stays, 1 filler, 2 said again or given up."""

    words: list[str]
    labels: list[int]


@dataclass(frozen=True)
class Row:
    """A row of CS2W: characters, a label for each, and what annotators made of it."""

    text: str
    labels: str
    written: str

    @property
    def held_out(self) -> bool:
        """Whether a row of the train part serves for tuning: one in nine."""
        return zlib.crc32(self.text.encode()) % 9 == 0

    @property
    def example(self) -> Example:
        """The row as words."""
        words = split_words(self.text)
        return Example(words, label_words(self.text, self.labels, words))


def read_cs2w(path: Path) -> tuple[list[Row], int]:
    """Return the rows of a part of CS2W, and how many were dropped.

    A row is dropped when it has not one label for each character.
    """
    rows: list[Row] = []
    dropped = 0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if len(row["content"]) == len(row["disfluency_label"]):
                rows.append(Row(row["content"], row["disfluency_label"], row["ref"]))
            else:
                dropped += 1
    return rows, dropped


def places(text: str, words: Sequence[str]) -> list[int]:
    """Return for each character of a text the number of its word; -1 for white space."""
    found = []
    word, inside = 0, 0
    for character in text:
        if character.isspace():
            found.append(-1)
            continue
        found.append(word)
        inside += 1
        if inside == len(words[word]):
            word, inside = word + 1, 0
    return found


def label_words(text: str, labels: str, words: Sequence[str]) -> list[int]:
    """Return the label of each word: that of its letters, the most frequent if they differ."""
    own: list[list[str]] = [[] for _ in words]
    for character, label, word in zip(text, labels, places(text, words), strict=True):
        if word >= 0 and unicodedata.category(character)[0] in "LMN":
            own[word].append(label)
    return [int(max(sorted(set(each)), key=each.count)) if each else KEEP for each in own]


def read_fluent(folder: Path) -> list[str]:
    """Return fluent sentences: Tatoeba, VCSum without what looks disfluent, news."""
    found: list[str] = []
    with gzip.open(folder / "translation/tatoeba_cmn_eng.tsv.gz", "rt", encoding="utf-8") as lines:
        found += [text for line in lines if 5 <= len(text := line.split("\t")[1]) <= 40]
    with gzip.open(folder / "meetings/vcsum_short_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            for part in json.loads(line)["context"]:
                for sentence in _sentences("".join(part)):
                    if 8 <= len(sentence) <= 45 and not _SPOKEN_NOISE.search(sentence):
                        found.append(sentence)
    news = 0
    with gzip.open(folder / "knowledge/crud_news/part_0.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            for sentence in _sentences(line):
                if news < 15_000 and 10 <= len(sentence) <= 40 and _HAN.search(sentence):
                    found.append(sentence)
                    news += 1
    return found


def _sentences(text: str) -> list[str]:
    return [re.sub(r"\s", "", each) for each in re.split(r"(?<=[。？！])", text)]


class Disfluencies:
    """Puts fillers, repetitions, repairs and false starts into fluent text.

    Args:
        own: Texts of the kind that shall be recognised; half of what comes out is made of them.
        other: More texts.
        chance: Where all chance comes from.
    """

    def __init__(self, own: Sequence[str], other: Sequence[str], chance: random.Random) -> None:
        self._own, self._other, self._chance = own, other, chance
        self._cut: dict[str, list[str]] = {}
        self._words = [
            word for text in own[:3000] for word in rjieba.cut(text) if _HAN.fullmatch(word[0])
        ]

    def __iter__(self) -> Iterator[Example]:
        """Yield without end."""
        while True:
            text = self._chance.choice(self._own if self._chance.random() < 0.6 else self._other)
            if text not in self._cut:
                self._cut[text] = [word for word in rjieba.cut(text) if word.strip()]
            if self._cut[text]:
                yield self._spoil(self._cut[text])

    def _spoil(self, cut: Sequence[str]) -> Example:
        chance = self._chance
        spoilt: list[tuple[str, int]] = []

        def put(text: str, label: int) -> None:
            spoilt.extend((character, label) for character in text)

        count = min(chance.choice((0, 0, 1, 1, 1, 1, 2, 2, 3)), len(cut))
        chosen = set(chance.sample(range(len(cut)), count))
        if chance.random() < 0.05:
            put(chance.choice(_SOUNDS), FILLER)
        for place, word in enumerate(cut):
            if place in chosen and word[0].isalnum():
                if chance.random() < 0.2:
                    if chance.random() < 0.25 and spoilt:
                        put("，", KEEP)
                    sound = chance.random() < 0.75
                    put(chance.choice(_SOUNDS if sound else _PHRASES), FILLER)
                    if chance.random() < 0.3:
                        put("，", KEEP)
                else:
                    span = "".join(cut[place : place + chance.choice((1, 1, 1, 1, 2, 2, 3))])
                    begun = self._begun(re.split(r"[^\w]", span)[0])
                    for _ in range(chance.choice((1, 1, 1, 1, 1, 1, 1, 2))):
                        put(begun, EDIT)
                        if chance.random() < 0.1:
                            put("，", KEEP)
                        if chance.random() < 0.1:
                            put(chance.choice(_SOUNDS), FILLER)
            put(word, KEEP)
        if chance.random() < 0.04:
            put(chance.choice(_SOUNDS), FILLER)
        text = "".join(character for character, _ in spoilt)
        words = split_words(text)
        labels = "".join(str(label) for _, label in spoilt)
        return Example(words, label_words(text, labels, words))

    def _begun(self, span: str) -> str:
        """Return what was said before ``span``: the same, its beginning, nearly it, or another."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.45:
            return span
        if kind < 0.75:
            return span[: chance.randint(1, len(span))]
        if kind >= 0.93:
            more = chance.choice(self._words) if chance.random() < 0.3 else ""
            return chance.choice(_STARTS) + more
        changed = list(span)
        place = chance.randrange(len(changed))
        how = chance.random()
        other = chance.choice(chance.choice(self._words))
        if how < 0.4:
            changed[place] = other
        elif how < 0.6 and len(changed) > 1:
            del changed[place]
        elif how < 0.8:
            changed.insert(place, other)
        else:
            changed = list(chance.choice(self._words)) + changed[1:]
        if chance.random() < 0.3 and len(changed) > 1:
            changed.pop()
        return "".join(changed)
