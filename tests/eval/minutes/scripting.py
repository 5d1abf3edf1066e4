"""A generator that writes the sentences of a script, invented ones among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

from atrium_meeting.domain.faithfulness.checking import FaithfulnessChecker, Said, Verdict
from atrium_meeting.testing_minutes import ShownLine
from atrium_shared.models import ChatMessage
from tests.eval.meeting_scripts import Meeting, Sentence


class Script:
    """Writes each sentence of a meeting once, where the last line that it cites is shown.

    Asked to repair sentences, it insists: it writes the same again.

    Args:
        meeting: Whose sentences.
    """

    def __init__(self, meeting: Meeting) -> None:
        self._names = {one.id: one.display_name for one in meeting.speakers}
        self._said = {one.id: one for one in meeting.utterances}
        self._left = list(meeting.sentences)
        self.written: list[Sentence] = []

    def reply(
        self, task: str, shown: Sequence[ShownLine], messages: Sequence[ChatMessage]
    ) -> Iterable[tuple[str, list[int]]]:
        """Return the sentences whose lines are shown, the first time; the same when asked again."""
        instructions = messages[0].content
        if "sum up" in instructions.lower() or "概括" in instructions:
            return []
        if "for each numbered line" in instructions.lower() or "每一行改写" in instructions:
            return []
        if len(messages) > 2:
            again = messages[-1].content
            return [
                (one.text, self._lines(one, shown)) for one in self.written if one.text in again
            ]
        replied = []
        for one in list(self._left):
            lines = self._lines(one, shown)
            if self._lines(replace(one, utterances=one.utterances[-1:]), shown):
                self._left.remove(one)
                self.written.append(one)
                replied.append((one.text, lines))
        return replied

    def _lines(self, sentence: Sentence, shown: Sequence[ShownLine]) -> list[int]:
        wanted = [self._said[utterance] for utterance in sentence.utterances]
        return [
            line.number
            for line in shown
            for said in wanted
            if line.speaker == self._names[said.speaker] and line.text in said.text
        ]


def _carry_all(_: FaithfulnessChecker, __: str, cited: Sequence[Said], ___: object = ()) -> Verdict:
    return Verdict(None, support=tuple(one.index for one in cited))


@contextmanager
def sabotage(wanted: bool) -> Iterator[None]:
    """Take the check out, when wanted: whatever is written is published."""
    if not wanted:
        yield
        return
    with patch.object(FaithfulnessChecker, "check", _carry_all):
        yield
