"""Whether what somebody was shown is what they should get."""

from __future__ import annotations

from dataclasses import dataclass

from atrium_suite.demo.facts import mentions, mentions_all
from atrium_suite.demo.handbook import Handbook, SampleQuestion


@dataclass(frozen=True)
class Shown:
    """What one person got for one question."""

    decision: str
    topic: str
    text: str
    documents: tuple[str, ...]
    """Ids of the documents that the answer cites."""
    everything: str
    """Every text of the reply: sources, answer and quotes."""


@dataclass(frozen=True)
class Verdict:
    """What is wrong with it, if anything."""

    leaks: tuple[str, ...] = ()
    """Facts that this person may not read."""
    wrong: tuple[str, ...] = ()
    """Another decision than expected."""
    remarks: tuple[str, ...] = ()
    """What is not wrong, but should be known."""

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that may not be."""
        return self.leaks + self.wrong


def judge(
    handbook: Handbook, question: SampleQuestion, person: str, language: str, shown: Shown,
    *, encoder: bool,
) -> Verdict:  # fmt: skip
    """Compare with the expected outcome.

    Args:
        handbook: What may be read by whom.
        question: The question that was asked.
        person: Who asked.
        language: In which language.
        shown: What they got.
        encoder: Whether an encoder searches across languages.
    """
    expected = question.outcomes[person]
    leaks = tuple(
        f"shows {phrase!r}, which {person} may not read"
        for phrase in handbook.forbidden_to(person, question)
        if mentions(shown.everything, phrase)
    )
    wrong: list[str] = []
    remarks: list[str] = []
    if shown.decision != expected.decision:
        if (
            not encoder
            and shown.decision == "NOT_FOUND"
            and handbook.needs_encoder(person, question, language)
        ):
            remarks.append("in another language; finding it needs the model set small")
        else:
            wrong.append(f"{shown.decision}, expected was {expected.decision}")
    elif shown.topic != expected.topic:
        wrong.append(f"refused for topic {shown.topic!r}, expected was {expected.topic!r}")
    elif not mentions_all(shown.text, expected.facts):
        remarks.append("the expected words are not in it")
    elif expected.documents and not set(expected.documents).intersection(shown.documents):
        remarks.append(f"cites {', '.join(shown.documents)} instead of {expected.documents[0]}")
    return Verdict(leaks, tuple(wrong), tuple(remarks))
