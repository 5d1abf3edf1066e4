"""What is asked of which organisation, and the proof that the test split is the frozen one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parent / "data"
SPLITS: Final = ("tune", "test")
KINDS_RESTRICTED: Final = (
    "paraphrase", "colloquial", "indirect", "keywords", "story", "mixed", "typo",
)  # fmt: skip
KINDS_OPEN: Final = ("near_miss", "neighbour", "everyday")


class FrozenFileChanged(Exception):
    """A file that figures are compared by is not the one that was frozen."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(
            f"{name} has the SHA-256 {found}, expected {expected}: the test split is frozen, and"
            " figures of another one cannot be compared. Restore the file, or change FROZEN in"
            " run.py and say in the change why."
        )


@dataclass(frozen=True)
class Question:
    """One question of a user who holds no label."""

    id: str
    organisation: str
    question: str
    language: str
    """`zh` or `en`: that of most of its words."""
    topic: str | None
    """Restricted topic that it is about, or None."""
    kind: str
    """How it is put (restricted), or how near it comes to a topic (the others)."""
    split: str


@dataclass(frozen=True)
class Text:
    """A short document. With labels it is hidden from the asker."""

    id: str
    title: str
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Organisation:
    """A collection: its restricted topics as an administrator declares them, and documents."""

    id: str
    display_name: str
    topics: tuple[Mapping[str, Any], ...]
    """Fields of `RestrictedTopic`."""
    documents: tuple[Text, ...]


def read_questions(split: str, folder: Path = DATA) -> list[Question]:
    """Return the questions of `tune` or `test`."""
    return [Question(**each) for each in _lines(folder / f"{split}.jsonl")]


def read_organisations(folder: Path = DATA) -> list[Organisation]:
    """Return the four organisations."""
    return [
        Organisation(
            id=each["id"],
            display_name=each["display_name"],
            topics=tuple(each["topics"]),
            documents=tuple(
                Text(one["id"], one["title"], tuple(one["labels"]), one["text"])
                for one in each["documents"]
            ),
        )
        for each in _lines(folder / "organisations.jsonl")
    ]


def check_frozen(frozen: Mapping[str, str], folder: Path = DATA) -> None:
    """Compare files with their frozen digests.

    Args:
        frozen: SHA-256 in hexadecimal by file name.
        folder: Where the files are.

    Raises:
        FrozenFileChanged: One of them is another.
    """
    for name, expected in frozen.items():
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != expected:
            raise FrozenFileChanged(name, found, expected)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
