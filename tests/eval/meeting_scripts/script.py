"""Read scripts of meetings: talk as people would write it down, with what is planted in it.

A script holds meetings one after another; README.md tells its lines. Every speaker is written by
the first character of the name, and a label at the end of a line (`+a1`) makes the line support
the action, decision or fact of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from atrium_meeting.domain.transcript import Disfluency, split_words

TYPES: Final = ("AGENDA", "BRAINSTORM", "STANDUP", "INTERVIEW", "DECISION")
KINDS: Final = ("NEGATION", "OWNER", "NUMBER", "DATE", "MERGED", "INVENTION")

_MARKS: Final = {
    "f": Disfluency.FILLER,
    "r": Disfluency.REPETITION,
    "x": Disfluency.REPAIR,
    "s": Disfluency.FALSE_START,
}
_MARKED: Final = re.compile(r"\{([frxs])\|([^}]*)\}")
_LABEL: Final = re.compile(r"\s\+([adf]\d+)$")
_CITED: Final = re.compile(r"\s@([adf]\d+)$")


class ScriptWrong(ValueError):
    """A line of a script cannot be read."""


@dataclass(slots=True)
class Line:
    """Something said: who, the words, and why a word is a disfluency."""

    speaker: str
    words: list[str]
    disfluencies: list[Disfluency | None]
    labels: list[str]
    voice: str = ""


@dataclass(slots=True)
class Planted:
    """A decision, or an action with its owner and date."""

    label: str
    text: str
    owner: str = ""
    due_text: str = ""
    due_date: str = ""
    topic: str = ""


@dataclass(slots=True)
class Sentence:
    """A sentence of a summary: right, or wrong in one of `KINDS`."""

    text: str
    labels: list[str]
    kind: str = ""


@dataclass(slots=True)
class Script:
    """A meeting as written; times come later."""

    id: str
    type: str
    split: str
    date: date
    title: str
    speakers: dict[str, str]
    hotwords: list[str]
    agenda: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    topics: list[tuple[str, int, int]] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)

    @property
    def language(self) -> str:
        """The language of its id: `en-decision-1`."""
        return self.id[:2]

    def supporting(self, label: str) -> list[int]:
        """Return which lines bear a label."""
        return [i for i, line in enumerate(self.lines) if label in line.labels]


def read_scripts(path: Path) -> list[Script]:
    """Return the meetings of a file.

    Raises:
        ScriptWrong: A line is of no known form, or names a label or speaker that is not there.
    """
    scripts: list[Script] = []
    talk = _small_talk(path.with_name(f"{path.stem[:2]}_small_talk.txt"))
    topic = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            if line.startswith("## "):
                scripts.append(_header(line))
                topic = ""
            elif line.startswith("* "):
                for said in _told(talk, line[2:].strip(), scripts[-1]):
                    _read(said, scripts[-1], topic)
            else:
                topic = _read(line.rstrip(), scripts[-1], topic)
        except (ValueError, KeyError, IndexError) as error:
            raise ScriptWrong(f"{path.name}:{number}: {error}: {line}") from error
    for script in scripts:
        _check(script, path.name)
    return scripts


def _small_talk(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Return the split and the lines of each piece of small talk; speakers are "1", "2", "3"."""
    talk: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        if line.startswith("## "):
            name, split = line[3:].split()
            lines = []
            talk[name] = (split, lines)
        elif line.strip():
            lines.append(line)
    return talk


def _told(talk: dict[str, tuple[str, list[str]]], name: str, script: Script) -> list[str]:
    split, lines = talk[name]
    if split != script.split:
        raise ValueError(f"small talk {name} belongs to {split}")
    keys = [speaker[0] for speaker in script.speakers]
    return [keys[int(line[0]) - 1] + line[1:] for line in lines]


def _header(line: str) -> Script:
    first, title, names, hotwords = (part.strip() for part in line[3:].split(" | "))
    identifier, kind, *split, day = first.split()
    if kind not in TYPES:
        raise ValueError(f"unknown type {kind}")
    speakers = dict(name.partition("=")[::2] for name in names.split())
    if len({name[0] for name in speakers}) != len(speakers):
        raise ValueError("two speakers begin with the same character")
    return Script(
        identifier,
        kind,
        split[0] if split else "",
        date.fromisoformat(day),
        title,
        speakers,
        [word.strip() for word in hotwords.split(",") if word.strip()],
    )


def _read(line: str, script: Script, topic: str) -> str:
    if line.startswith("#"):
        topic = "" if line == "#-" else line[2:].strip()
        if topic:
            script.topics.append((topic, len(script.lines), len(script.lines)))
    elif line.startswith("agenda: "):
        script.agenda.append(line[8:].strip())
    elif line.startswith("! "):
        script.planted.append(_planted(line[2:], topic))
    elif line.startswith(("= ", "~ ")):
        script.sentences.append(_sentence(line))
    else:
        script.lines.append(_said(line, script))
        if topic:
            name, start, _ = script.topics[-1]
            script.topics[-1] = (name, start, len(script.lines))
    return topic


def _planted(text: str, topic: str) -> Planted:
    label, rest = text.split(" ", 1)
    if label[0] == "d":
        return Planted(label, rest.strip(), topic=topic)
    owner, due_text, due_date, what = (part.strip() for part in rest.split(" | "))
    if due_date != "-":
        date.fromisoformat(due_date)
    blank = {"-": ""}
    return Planted(
        label,
        what,
        blank.get(owner, owner),
        blank.get(due_text, due_text),
        blank.get(due_date, due_date),
        topic,
    )


def _sentence(line: str) -> Sentence:
    text, labels = _cut(line[2:], _CITED)
    kind = ""
    if line[0] == "~":
        kind, text = text.split(" ", 1)
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind}")
    if not labels:
        raise ValueError("a sentence without a citation")
    return Sentence(text.strip(), labels, kind)


def _said(line: str, script: Script) -> Line:
    key, text = line.split(":", 1)
    speaker = next((name for name in script.speakers if name[0] == key), "")
    if not speaker:
        raise ValueError(f"unknown speaker {key}")
    text, labels = _cut(text, _LABEL)
    words: list[str] = []
    marks: list[Disfluency | None] = []
    for mark, piece in _pieces(text):
        said = split_words(piece)
        words += said
        marks += [mark] * len(said)
    if not words or words != split_words(_MARKED.sub(r"\2", text)):
        raise ValueError("a mark splits a word")
    return Line(speaker, words, marks, labels, script.speakers[speaker])


def _cut(text: str, pattern: re.Pattern[str]) -> tuple[str, list[str]]:
    labels: list[str] = []
    while found := pattern.search(text):
        labels.insert(0, found[1])
        text = text[: found.start()].rstrip()
    return text.strip(), labels


def _pieces(text: str) -> Iterator[tuple[Disfluency | None, str]]:
    at = 0
    for found in _MARKED.finditer(text):
        yield None, text[at : found.start()]
        yield _MARKS[found[1]], found[2]
        at = found.end()
    yield None, text[at:]


def _check(script: Script, file: str) -> None:
    planted = [item.label for item in script.planted]
    borne = {label for line in script.lines for label in line.labels}
    cited = {label for sentence in script.sentences for label in sentence.labels}
    wrong = [label for label in planted if planted.count(label) > 1 or label not in borne]
    wrong += [label for label in borne if label[0] != "f" and label not in planted]
    wrong += [label for label in cited if label not in borne]
    if wrong:
        raise ScriptWrong(f"{file}: {script.id}: labels do not fit: {', '.join(sorted(wrong))}")
