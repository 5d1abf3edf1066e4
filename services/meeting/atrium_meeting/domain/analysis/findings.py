"""What is decided and to be done in a meeting: scores and rules put together.

The learned score (:mod:`acts`) says which sentences count. Rules say who is to do something until
when (:mod:`actions`), which they do of sentences that they understand; of the others it is who
answers a request, who is named, or who speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from atrium_meeting.domain.analysis import acts
from atrium_meeting.domain.analysis.actions import ENOUGH, Action, find_actions, is_done, is_request
from atrium_meeting.domain.analysis.decisions import Decision, decisions_in
from atrium_meeting.domain.analysis.people import Person
from atrium_meeting.domain.analysis.reading import Reading

_DECIDED: Final = -0.7
"""Log odds of the surest sentence of a decision."""
_DECIDING: Final = -1.7
"""Log odds of the other sentences of a decision."""
_DECISION_GAP: Final = 3
"""Sentences from one that belongs to a decision to the next."""
_LIKELY: Final = -2.5
"""Log odds from which on somebody who was away is told, without its being called a decision."""
_ACTION_KEPT: Final = -1.5
"""Log odds of an action that the rules find."""
_ACTION: Final = 0.0
"""Log odds of the surest sentence of an action that they do not find."""
_ACTING: Final = -1.5
"""Log odds of its other sentences."""


class Findings:
    """What is found in a meeting, each when it is first asked for.

    Args:
        reading: The meeting.
        vectors: Of its sentences; ``None`` without an encoder that the score knows.
    """

    def __init__(self, reading: Reading, vectors: acts.Vectors | None = None) -> None:
        self._reading = reading
        self._vectors = vectors

    @cached_property
    def _scores(self) -> acts.Scores:
        return acts.score(self._reading, self._vectors)

    @cached_property
    def actions(self) -> list[Action]:
        """What somebody is to do, in order of the sentences that say what."""
        scores = self._scores.action
        by_rule, void = find_actions(self._reading)
        kept = [
            one
            for one in by_rule
            if one.strength >= ENOUGH and max(scores[i] for i in one.sentences) >= _ACTION_KEPT
        ]
        taken = {i for one in kept for i in one.sentences}
        for group in _groups(scores, _ACTING, 1):
            surest = max(group, key=lambda i: scores[i])
            if scores[surest] < _ACTION or (taken | void) & set(group):
                continue
            # What the meeting decides is not what somebody is to do.
            if self._scores.decision[surest] > scores[surest]:
                continue
            if is_done(self._reading.sentences[surest]):
                continue
            weak = next((one for one in by_rule if set(one.sentences) & set(group)), None)
            kept.append(self._action(group, weak))
        return sorted(kept, key=lambda one: one.main)

    @cached_property
    def decisions(self) -> list[Decision]:
        """What was decided, in order."""
        scores = self._scores.decision
        groups = _groups(scores, _DECIDING, _DECISION_GAP)
        alone = self._scores.decision_alone
        return decisions_in(self._reading.sentences, scores, alone, groups, _DECIDED)

    @cached_property
    def likely(self) -> list[int]:
        """Indexes of sentences that may say a decision, the surest first."""
        scores = self._scores.decision
        found = [i for i, score in enumerate(scores) if score >= _LIKELY]
        return sorted(found, key=lambda i: -scores[i])

    def _action(self, group: Sequence[int], weak: Action | None) -> Action:
        """Return the action of sentences that the rules alone take for none."""
        telling = [i for i in group if len(set(self._reading.sentences[i].terms)) > 1] or group
        main = max(telling, key=lambda i: self._scores.action_alone[i])
        owner, due = self._owner(group, main), None
        if weak is not None:
            owner, due = weak.owner or owner, weak.due
        dues = [one for i in group for one in self._reading.dues(i)]
        due = due or max(dues, key=lambda one: (one.day is not None, one.deadline), default=None)
        return Action(list(group), main, owner, due)

    def _owner(self, group: Sequence[int], main: int) -> Person:
        sentences = self._reading.sentences
        for i in group:
            if not is_request(sentences[i]):
                continue
            for j in range(i + 1, min(i + 3, len(sentences))):
                if sentences[j].speaker != sentences[i].speaker:
                    return self._reading.people.of(sentences[j].speaker)
        named = [
            one.person
            for i in group
            for one in self._reading.mentions(i)
            if one.start <= 1 and one.person.speaker not in ("", sentences[i].speaker)
        ]
        return named[0] if named else self._reading.people.of(sentences[main].speaker)


def _groups(scores: Sequence[float], enough: float, gap: int) -> Iterator[list[int]]:
    """Yield runs of sentences that score well, with a few others in between."""
    group: list[int] = []
    for i, score in enumerate(scores):
        if score < enough:
            continue
        if group and i - group[-1] > gap:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
