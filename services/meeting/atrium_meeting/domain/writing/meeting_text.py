"""A meeting made ready for writing about it: sentences, lines, names and the check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from functools import cached_property
from typing import Final

from atrium_grounding.lexicon import lexicon
from atrium_meeting.domain.analysis.sentences import Sentence, sentences_of
from atrium_meeting.domain.faithfulness.checking import FaithfulnessChecker, Fault, Verdict
from atrium_meeting.domain.minutes import Stretch
from atrium_meeting.domain.transcript import Span, Transcript
from atrium_meeting.domain.writing.lines import Line, lines_of, merged

AROUND: Final = 12
"""Lines before and after what is cited that may explain its words."""


class MeetingText:
    """What was said, cut once for everything that is made of it.

    Args:
        transcript: What was said.
        day: Day of the meeting.
        about: Its title and agenda.
    """

    def __init__(self, transcript: Transcript, day: date, about: Iterable[str] = ()) -> None:
        self.transcript = transcript
        self.day = day
        self.sentences: tuple[Sentence, ...] = sentences_of(transcript)
        self.names = {one.id: one.display_name for one in transcript.speakers}
        """Display names by identifier; empty where they are not known."""
        self._about = "\n".join(about)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The sentences put into lines."""
        return lines_of(self.sentences)

    @cached_property
    def language(self) -> str:
        """The language in which most was said, "zh" or "en"."""
        chinese = sum(one.size for one in self.sentences if one.language == "zh")
        return "zh" if 2 * chinese > sum(one.size for one in self.sentences) else "en"

    @cached_property
    def _checker(self) -> FaithfulnessChecker:
        return FaithfulnessChecker(self.names, self.day, lexicon(), self._about)

    @cached_property
    def _by_utterance(self) -> dict[str, list[Line]]:
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            for span in line.spans:
                found.setdefault(span.utterance, []).append(line)
        return found

    def check(self, sentence: str, cited: Sequence[Line]) -> Verdict:
        """Return whether lines carry a sentence. Takes some milliseconds."""
        if not cited:
            return Verdict(Fault.UNSUPPORTED)
        first = max(0, min(line.number for line in cited) - AROUND)
        last = max(line.number for line in cited) + AROUND + 1
        around = [line.said for line in self.lines[first:last]]
        return self._checker.check(sentence, [line.said for line in cited], around)

    def lines_in(self, stretches: Iterable[Stretch], speaker: str = "") -> list[Line]:
        """Return the lines that begin in stretches of time, of one speaker or of all."""
        times = [(stretch.start_ms, stretch.end_ms) for stretch in stretches]
        return [
            line
            for line in self.lines
            if (not speaker or line.speaker == speaker)
            and any(start <= line.start_ms < end for start, end in times)
        ]

    def lines_of_spans(self, spans: Iterable[Span]) -> list[Line]:
        """Return the lines that hold words of spans, in order."""
        found = {
            line.number: line
            for span in spans
            for line in self._by_utterance.get(span.utterance, ())
            if any(
                one.utterance == span.utterance
                and one.start_word < span.end_word
                and span.start_word < one.end_word
                for one in line.spans
            )
        }
        return [found[number] for number in sorted(found)]

    def numbered(self, numbers: Iterable[int]) -> list[Line]:
        """Return lines by their numbers."""
        return [self.lines[number] for number in sorted(set(numbers))]


def spans_of(lines: Iterable[Line]) -> tuple[Span, ...]:
    """Return the spans of lines, in order."""
    return merged(span for line in lines for span in line.spans)


def speaker_of(lines: Sequence[Line]) -> str:
    """Return who speaks in lines; empty where several do."""
    speakers = {line.speaker for line in lines}
    return next(iter(speakers)) if len(speakers) == 1 else ""
