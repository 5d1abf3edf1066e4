"""Measure how well the meetings of one hand are read by a score that learned from the others.

`python -m services.meeting.training.minutes.by_hand`, from the root of the repository. People
write as differently as they talk, so this tells more of meetings to come than talks held out at
random. The first hand wrote the frozen test meetings too and is not asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from unittest.mock import patch

from atrium_meeting.domain.analysis import acts
from atrium_meeting.domain.analysis.findings import Findings
from tests.eval.minutes.matching import Score, score, total

from .train import Learned, Talk, Training, all_talks, varied

Scores = dict[str, list[Score]]
"""Of each meeting, by what was looked for and by what."""


def measure(training: Training, talks: Iterable[Talk], hand: str, learned: Learned) -> Scores:
    """Return what weights find in those of the talks that are meetings of a hand."""
    scores: Scores = {}
    acts.weights.cache_clear()
    with patch.object(acts, "_stored", lambda: learned):
        for talk in talks:
            if talk.meeting is None or talk.hand != hand:
                continue
            for by, vectors in (("words", None), ("vectors", training.vectors[talk])):
                findings = Findings(talk.reading, vectors)
                for what, found, planted in (
                    ("decisions", findings.decisions, talk.meeting.decisions),
                    ("actions", findings.actions, talk.meeting.actions),
                ):
                    said: list[Collection[str]] = [
                        {span.utterance for i in one.sentences for span in talk.sentences[i].spans}
                        for one in found
                    ]
                    scores.setdefault(f"{what} by {by}", []).append(
                        score(said, [one.utterances for one in planted])
                    )
    acts.weights.cache_clear()
    return scores


def _tell(hand: str, scores: Scores) -> None:
    told = ", ".join(
        f"{what} {one.f1:.2f} ({one.precision:.2f}/{one.recall:.2f} of {one.planted})"
        for what, one in ((what, total(each)) for what, each in scores.items())
    )
    print(f"{hand}: {told}", flush=True)


def main() -> None:
    """Run from the command line."""
    talks = all_talks()
    training = Training(talks, list(varied(talks)))
    every: Scores = {}
    others: Scores = {}
    print("F1 (precision/recall of how many)")
    for hand, alone in training.alone_without.items():
        if not hand:
            continue
        learned = training.learned(alone, training.in_context(hand))
        scores = measure(training, talks, hand, learned)
        _tell(hand, scores)
        for what, each in scores.items():
            every.setdefault(what, []).extend(each)
        for what, each in measure(training, training.varied, hand, learned).items():
            others.setdefault(what, []).extend(each)
    _tell("all", every)
    _tell("all, made denser and sparser", others)


if __name__ == "__main__":
    main()
