"""What the demo is about: documents, people, rules and questions of the sample handbook."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from atrium_suite.demo.facts import mentions

SAMPLE = Path(__file__).parents[1] / "samples" / "handbook"


@dataclass(frozen=True)
class Person:
    """Somebody who asks."""

    id: str
    name: str
    role: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class SampleDocument:
    """A file to upload."""

    path: Path
    title: str
    languages: tuple[str, ...]
    labels: tuple[str, ...]
    section_labels: Mapping[str, tuple[str, ...]]
    source: Path
    """The authored text behind the file."""
    scanned: bool
    """Whether it holds only pictures of its pages."""

    @property
    def id(self) -> str:
        """The id under which it is uploaded."""
        return self.path.stem


@dataclass(frozen=True)
class Topic:
    """A subject that only the readers of some labels may ask about."""

    id: str
    description: str
    labels: tuple[str, ...]
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...]
    refusals: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What one person should get for one question."""

    decision: str
    """ANSWERED, REFUSED or NOT_FOUND."""
    topic: str
    facts: tuple[tuple[str, ...], ...]
    """Of each inner tuple the answer mentions at least one spelling."""
    documents: tuple[str, ...]
    """Ids of the documents where it stands; the answer cites one of them."""


@dataclass(frozen=True)
class SampleQuestion:
    """A question in several languages and what each person should get."""

    id: str
    about: str
    text: Mapping[str, str]
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True)
class Handbook:
    """Everything that the demo uploads and asks."""

    company: Mapping[str, str]
    tenant: str
    roles: Mapping[str, frozenset[str]]
    """Role to the labels that it may read."""
    people: tuple[Person, ...]
    documents: tuple[SampleDocument, ...]
    topics: tuple[Topic, ...]
    questions: tuple[SampleQuestion, ...]

    def labels_of(self, person: str) -> frozenset[str]:
        """Return the labels that a person may read."""
        return self.roles[next(each.role for each in self.people if each.id == person)]

    def forbidden_to(self, person: str, question: SampleQuestion) -> tuple[str, ...]:
        """Return facts of others' answers that stand in texts which this person may not read.

        What also stands in a text that they may read is no secret to them.
        """
        readable = "\n".join(text for _, text in self._readable(person))
        written = "\n".join(text for _, text in self._texts)
        spellings = {
            spelling
            for outcome in question.outcomes.values()
            for fact in outcome.facts
            for spelling in fact
        }
        return tuple(
            sorted(
                spelling
                for spelling in spellings
                if mentions(written, spelling) and not mentions(readable, spelling)
            )
        )

    def needs_encoder(self, person: str, question: SampleQuestion, language: str) -> bool:
        """Say whether the answer stands in no document of the question's language.

        Keywords find a text in its own language alone.
        """
        answering = question.outcomes[person].documents
        return bool(answering) and not any(
            document.id in answering and language in document.languages
            for document in self.documents
        )

    def _readable(self, person: str) -> list[tuple[SampleDocument, str]]:
        held = self.labels_of(person)
        return [
            (document, _without_sections(text, document.section_labels, held))
            for document, text in self._texts
            if not document.labels or held.intersection(document.labels)
        ]

    @cached_property
    def _texts(self) -> list[tuple[SampleDocument, str]]:
        return [(each, each.source.read_text(encoding="utf-8")) for each in self.documents]


def load_handbook(folder: Path = SAMPLE) -> Handbook:
    """Read ``manifest.yaml`` and ``demo_questions.yaml`` of a handbook."""
    manifest = _read(folder / "manifest.yaml")
    tenant = manifest["tenant"]
    return Handbook(
        company=manifest["company"]["name"],
        tenant=tenant["id"],
        roles={role: frozenset(labels) for role, labels in tenant["roles"].items()},
        people=tuple(
            Person(id=user, name=each["name"], role=each["role"], groups=tuple(each["groups"]))
            for user, each in tenant["users"].items()
        ),
        documents=tuple(
            SampleDocument(
                path=folder / each["file"],
                title=each["title"],
                languages=tuple(each["languages"]),
                labels=tuple(each["labels"]),
                section_labels={
                    heading: tuple(labels) for heading, labels in each["sections"].items()
                },
                source=folder / each["source"],
                scanned=each.get("scanned", False),
            )
            for each in manifest["documents"]
        ),
        topics=tuple(
            Topic(
                id=each["id"],
                description="\n".join(each["description"].values()),
                labels=tuple(each["labels"]),
                examples=_all_languages(each["examples"]),
                counter_examples=_all_languages(each["counter_examples"]),
                refusals=each["refusals"],
            )
            for each in manifest["restricted_topics"]
        ),
        questions=tuple(
            SampleQuestion(
                id=each["id"],
                about=each["about"],
                text=each["question"],
                outcomes={
                    user: Outcome(
                        decision=outcome["decision"],
                        topic=outcome.get("topic", ""),
                        facts=tuple(map(tuple, outcome.get("facts", ()))),
                        documents=tuple(Path(each).stem for each in outcome.get("documents", ())),
                    )
                    for user, outcome in each["outcomes"].items()
                },
            )
            for each in _read(folder / "demo_questions.yaml")["questions"]
        ),
    )


def _read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _all_languages(texts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(text for language in texts.values() for text in language)


def _without_sections(
    text: str, section_labels: Mapping[str, tuple[str, ...]], held: frozenset[str]
) -> str:
    for heading, labels in section_labels.items():
        if not held.intersection(labels):
            section = rf"(?ms)^(#+) {re.escape(heading)}\s*$.*?(?=^#{{1,2}} |\Z)"
            text, removed = re.subn(section, "", text)
            if removed != 1:
                raise ValueError(f"The heading {heading!r} stands {removed} times in its source.")
    return text
