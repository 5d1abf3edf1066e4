"""Public question sets, as libraries to fill and questions to ask of them."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.knowledge.training.prepare_reader import training_half

from .judging import letters, mentions_in

PARAGRAPHS_A_FILE = 400
_LEAVING_SEED = 20
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


@dataclass(frozen=True)
class Question:
    """A question and what a right answer holds.

    Attributes:
        id: As its set calls it.
        text: The question.
        facts: What the answer states: of each group at least one spelling.
        paragraph: The paragraph that answers; empty where the set gives quotes instead.
        quotes: Sentences of the source that support the answer.
        held_out: Whether no shipped model learned from its article.
        leaves: Whether only a document that leaves the library answers it.
    """

    id: str
    text: str
    facts: tuple[tuple[str, ...], ...]
    paragraph: str = ""
    quotes: tuple[str, ...] = ()
    held_out: bool = True
    leaves: bool = False


@dataclass(frozen=True)
class Library:
    """What is uploaded into one collection, and what is asked of it.

    Attributes:
        name: The set.
        title: Title of the documents; empty: their own.
        staying: Name to text of the files that stay.
        leaving: Name to text of the files that are deleted midway.
        questions: All questions of the set.
        recall_target: What recall@5 should reach; None where retrieval is not measured.
        absence_target: What the share of unanswerable questions told should reach.
        measured_only: Whether nothing of the set may be kept but figures.
    """

    name: str
    title: str
    staying: dict[str, str]
    leaving: dict[str, str]
    questions: tuple[Question, ...]
    recall_target: float | None = None
    absence_target: float | None = None
    measured_only: bool = False
    _texts: list[str] = field(default_factory=list, repr=False)

    def unanswerable(self) -> tuple[list[Question], int]:
        """Return questions that nothing which stays answers, and how many were left out.

        Left out is a question whose article leaves, but whose answer stands in a paragraph that
        stays: by chance, most often, but it cannot be told from an answer.
        """
        leaving = [one for one in self.questions if one.leaves]
        kept = [one for one in leaving if not mentions_in(self._texts, one.facts)]
        return kept, len(leaving) - len(kept)


def load_squad(
    file: Path, name: str, most: int | None, *, recall_target: float | None = 0.99
) -> Library:
    """Read a SQuAD-style file; half of the articles that no model learned from will leave.

    Args:
        file: Gzipped JSON.
        name: The set.
        most: Keep about so many paragraphs. None: all.
        recall_target: What recall@5 should reach.
    """
    articles = json.loads(gzip.decompress(file.read_bytes()))["data"]
    articles = _first(_shuffled(articles), most, lambda one: len(one["paragraphs"]))
    held_out = [number for number, one in enumerate(articles) if not training_half(one["title"])]
    learned = set(range(len(articles))) - set(held_out)
    leaving = set(held_out[: len(held_out) // 2])
    paragraphs: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
    questions: list[Question] = []
    for number, article in enumerate(articles):
        for paragraph in article["paragraphs"]:
            text = paragraph["context"]
            paragraphs[number in leaving].append((article["title"], text))
            for asked in paragraph["qas"]:
                answers = dict.fromkeys(answer["text"] for answer in asked["answers"])
                if spellings := tuple(one for one in answers if letters(one)):
                    questions.append(
                        Question(
                            asked["id"], asked["question"], (spellings,), paragraph=text,
                            held_out=number not in learned, leaves=number in leaving,
                        )
                    )  # fmt: skip
    return Library(
        name,
        "百科",
        _files(f"{name}-staying", paragraphs[False]),
        _files(f"{name}-leaving", paragraphs[True]),
        tuple(questions),
        recall_target=recall_target,
        _texts=[text for _, text in paragraphs[False]],
    )


def load_rgb(file: Path, most: int | None) -> Library:
    """Read RGB: the negative passages of all questions stay, the positive ones leave."""
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    entries = _first(
        _shuffled([json.loads(line) for line in lines]),
        most,
        lambda one: len(one["positive"]) + len(one["negative"]),
    )
    positive = dict.fromkeys(text for one in entries for text in one["positive"])
    negative = dict.fromkeys(text for one in entries for text in one["negative"])
    staying = [text for text in negative if text not in positive]
    questions = [
        Question(str(one["id"]), one["query"], _groups(one["answer"]), leaves=True)
        for one in entries
    ]
    return Library(
        "rgb",
        "新闻",
        _files("rgb-staying", _numbered(staying)),
        _files("rgb-leaving", _numbered(positive)),
        tuple(questions),
        absence_target=0.9,
        measured_only=True,
        _texts=staying,
    )


def load_handbook(folder: Path, questions: Path, most: int | None) -> Library:
    """Read the English handbook, file by file as it is, and its questions on a single text.

    Of a question's quotes those count that hold the answer, or all where none does.
    """
    entries = [
        json.loads(line) for line in gzip.decompress(questions.read_bytes()).decode().splitlines()
    ]
    pages = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.md"))}
    if most is not None:
        asked = dict.fromkeys(
            name for one in entries for found in one["retrieval"] for name in found
        )
        # A page of the handbook holds some forty paragraphs.
        pages = {name: pages[name] for name in list(asked)[: max(1, most // 40)] if name in pages}
    found: list[Question] = []
    for one in entries:
        quoted = [
            (name, quote)
            for support in one["retrieval"]
            for name, quotes in support.items()
            for quote in quotes
        ]
        if any(name not in pages for name, _ in quoted):
            continue
        facts = ((one["answer"],),)
        quotes = [quote for _, quote in quoted]
        telling = [quote for quote in quotes if mentions_in([quote], facts)]
        found.append(
            Question(str(one["id"]), one["question"], facts, quotes=tuple(telling or quotes))
        )
    return Library(
        "handbook",
        "",
        {_plain_name(name): path.read_text(encoding="utf-8") for name, path in pages.items()},
        {},
        tuple(found),
        recall_target=0.9,
    )


def _shuffled(entries: Sequence[Any]) -> list[Any]:
    return random.Random(_LEAVING_SEED).sample(entries, len(entries))


def _first(entries: Iterable[Any], most: int | None, size: Callable[[Any], int]) -> list[Any]:
    kept: list[Any] = []
    total = 0
    for one in entries:
        if most is not None and kept and total + size(one) > most:
            break
        kept.append(one)
        total += size(one)
    return kept


def _groups(answer: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    """Return RGB's answer: everything of the list, and of a list in it any one."""
    return tuple(tuple(one) if isinstance(one, list) else (one,) for one in answer)


def _numbered(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give texts headings that no question matches: four letters, counting."""
    for number, text in enumerate(texts):
        code = (chr(97 + number // 26**place % 26) for place in (3, 2, 1, 0))
        yield "".join(code), text


def _files(name: str, paragraphs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Write paragraphs into a few Markdown files, each under a heading of its own."""
    parts = [
        f"## {_escaped(heading)}\n\n{_escaped(text)}"
        for heading, text in paragraphs
        if text.strip()
    ]
    return {
        f"{name}-{at // PARAGRAPHS_A_FILE + 1}.md": "\n\n".join(parts[at : at + PARAGRAPHS_A_FILE])
        for at in range(0, len(parts), PARAGRAPHS_A_FILE)
    }


def _escaped(text: str) -> str:
    """Write a text on one line of Markdown so that it is read as it stands (CommonMark 2.4)."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.removesuffix(".md").lower()).strip("-") + ".md"
