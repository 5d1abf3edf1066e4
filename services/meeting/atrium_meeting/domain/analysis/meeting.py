"""Everything that is known of a meeting before minutes are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from atrium_meeting.domain.analysis.actions import Action
from atrium_meeting.domain.analysis.blocks import blocks_of
from atrium_meeting.domain.analysis.chapters import Part, Vectors, find_parts
from atrium_meeting.domain.analysis.decisions import Decision
from atrium_meeting.domain.analysis.findings import Findings
from atrium_meeting.domain.analysis.keyphrases import phrases_of
from atrium_meeting.domain.analysis.people import People, usual_words
from atrium_meeting.domain.analysis.reading import Reading
from atrium_meeting.domain.analysis.sentences import Sentence, sentences_of
from atrium_meeting.domain.analysis.topics import join_parts
from atrium_meeting.domain.analysis.types import detect_type
from atrium_meeting.domain.minutes import MinutesType
from atrium_meeting.domain.transcript import Span, Transcript

_PHRASES: Final = 2
"""Key phrases in a title."""


@dataclass(frozen=True, slots=True)
class Title:
    """What a part is called.

    Args:
        text: A line of the agenda, or key phrases.
        spans: Where the phrases were said; empty for a line of the agenda.
    """

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in a transcript.

    Args:
        transcript: The transcript.
        sentences: Its sentences.
        people: Who is meant by a name.
        type: What kind of meeting it was.
        language: Of most of it, "zh" or "en".
        parts: Its parts, in order.
        titles: One for each part.
        topics: Numbers of the parts that are about one subject, in order of the first.
        decisions: In order.
        actions: In order.
    """

    transcript: Transcript
    sentences: tuple[Sentence, ...]
    people: People
    type: MinutesType
    language: str
    parts: tuple[Part, ...]
    titles: tuple[Title, ...]
    topics: tuple[tuple[int, ...], ...]
    decisions: tuple[Decision, ...]
    actions: tuple[Action, ...]


def texts_to_encode(transcript: Transcript) -> list[str]:
    """Return the texts whose vectors :func:`analyse` takes, in their order."""
    return [block.text for block in blocks_of(sentences_of(transcript))]


def analyse(
    transcript: Transcript,
    *,
    day: date | None = None,
    agenda: Sequence[str] = (),
    title: str = "",
    vectors: Vectors | None = None,
    sentence_vectors: Vectors | None = None,
    kind: MinutesType | None = None,
) -> Analysis:
    """Find out what a meeting was about.

    Args:
        transcript: The transcript, cleaned or not.
        day: Of the meeting, which due dates are seen from; ``None`` where it is not known.
        agenda: Its items, one a line, where it has an agenda.
        title: What it is called; a hint of what kind it is.
        vectors: Of :func:`texts_to_encode`, from an encoder; ``None`` without one.
        sentence_vectors: Of the texts of its sentences, from `acts.ENCODER`; ``None`` without it.
        kind: What kind of meeting it was; ``None``: found out.

    Raises:
        ValueError: There are more or fewer vectors than texts to encode.
    """
    sentences = sentences_of(transcript)
    people = people_of(transcript, sentences)
    found = kind or detect_type(sentences, agenda, title)
    findings = Findings(Reading(sentences, people, day), sentence_vectors)
    parts = find_parts(sentences, vectors=vectors, agenda=agenda)
    return Analysis(
        transcript=transcript,
        sentences=sentences,
        people=people,
        type=found,
        language=language_of(sentences),
        parts=parts,
        titles=titles_of(sentences, parts, agenda),
        topics=join_parts(sentences, parts, vectors),
        decisions=tuple(findings.decisions),
        actions=tuple(findings.actions),
    )


def people_of(transcript: Transcript, sentences: Sequence[Sentence]) -> People:
    """Return who may be meant by a name in a meeting."""
    speakers = (
        replace(one, display_name=one.display_name or one.suggested_name)
        for one in transcript.speakers
    )
    return People(speakers, usual_words(sentence.text for sentence in sentences))


def language_of(sentences: Sequence[Sentence]) -> str:
    """Return the language of most of what was said; "en" where nothing was."""
    chinese = sum(sentence.size for sentence in sentences if sentence.language == "zh")
    return "zh" if 2 * chinese > sum(sentence.size for sentence in sentences) else "en"


def titles_of(
    sentences: Sequence[Sentence], parts: Sequence[Part], agenda: Sequence[str] = ()
) -> tuple[Title, ...]:
    """Return a title for each part: its line of the agenda, else its best key phrases."""
    titles = []
    phrases = phrases_of([sentences[part.start : part.end] for part in parts], _PHRASES)
    for part, best in zip(parts, phrases, strict=True):
        if part.agenda >= 0:
            titles.append(Title(agenda[part.agenda], ()))
        elif best:
            chinese = sentences[part.start].language == "zh"
            text = ("、" if chinese else ", ").join(phrase.text for phrase in best)
            spans = dict.fromkeys(
                span for phrase in best for span in sentences[phrase.sentence].spans
            )
            titles.append(Title(text[:1].upper() + text[1:], tuple(spans)))
        else:
            first = sentences[part.start]
            titles.append(Title(first.text, first.spans))
    return tuple(titles)
