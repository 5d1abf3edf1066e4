"""Measure how well the meetings of one hand are read by a score that learned from the others.

`python -m services.meeting.training.minutes.by_hand`, from the root of the repository. People
write as differently as they talk, so this tells more of meetings to come than talks held out at
random. The first hand wrote the frozen test meetings too and is not asked about.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from atrium_meeting.domain.analysis import acts
from atrium_meeting.domain.analysis.findings import Findings
from tests.eval.meeting_scripts import Meeting, load, read
from tests.eval.meeting_scripts.build import build
from tests.eval.minutes.matching import Score, score, total

from .train import TALKS, Labelled, encoded, labelled, learn, pieces

_FIRST_HAND = ("fit", "fit_more", "held")

Vectors = npt.NDArray[np.float32]
Scores = dict[str, list[Score]]
"""Of each meeting, by what was looked for and by what."""


def measure(
    meetings: Sequence[Meeting],
    talks: Sequence[Labelled],
    vectors: Sequence[Vectors],
    learned: dict[str, Vectors],
) -> Scores:
    """Return what weights find in meetings.

    Args:
        meetings: The meetings.
        talks: The same, as they are learned from.
        vectors: Of the sentences of each.
        learned: The weights; see :func:`train.learn`.
    """
    scores: Scores = {}
    acts.weights.cache_clear()
    with patch.object(acts, "_stored", lambda: learned):
        for meeting, (sentences, reading, *_), encoded_ones in zip(
            meetings, talks, vectors, strict=True
        ):
            for by, given in (("words", None), ("vectors", encoded_ones)):
                findings = Findings(reading, given)
                for what, found, planted in (
                    ("decisions", findings.decisions, meeting.decisions),
                    ("actions", findings.actions, meeting.actions),
                ):
                    said: list[Collection[str]] = [
                        {span.utterance for i in one.sentences for span in sentences[i].spans}
                        for one in found
                    ]
                    scores.setdefault(f"{what} by {by}", []).append(
                        score(said, [one.utterances for one in planted])
                    )
    acts.weights.cache_clear()
    return scores


def _held_out(
    hand: str,
    meetings: Sequence[Meeting],
    talks: Sequence[Labelled],
    vectors: Sequence[Vectors],
    hands: Sequence[str],
) -> Scores:
    """Learn from all other hands, small pieces included, and measure on one."""
    others = [i for i in range(len(talks)) if i >= len(hands) or hands[i] != hand]
    own = [i for i, one in enumerate(hands) if one == hand]
    return measure(
        [meetings[i] for i in own],
        [talks[i] for i in own],
        [vectors[i] for i in own],
        learn([talks[i] for i in others], [vectors[i] for i in others]),
    )


def _tell(hand: str, scores: Scores) -> None:
    told = ", ".join(
        f"{what} {one.f1:.2f} ({one.precision:.2f}/{one.recall:.2f} of {one.planted})"
        for what, one in ((what, total(each)) for what, each in scores.items())
    )
    print(f"{hand}: {told}", flush=True)


def main() -> None:
    """Run from the command line."""
    meetings: list[Meeting] = []
    hands: list[str] = []
    for file in sorted(TALKS.glob("*.txt")):
        written = read(build([file]))
        meetings += written
        language, _, hand = file.stem.partition("_")
        hands += ["" if hand in _FIRST_HAND else f"{language} {hand}"] * len(written)
    hands += [""] * len(load("dev"))
    meetings += load("dev")
    talks = [*map(labelled, meetings), *pieces()]
    vectors = encoded(talks)
    every: Scores = {}
    print("F1 (precision/recall of how many)")
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        asked = {
            hand: pool.submit(_held_out, hand, meetings, talks, vectors, hands)
            for hand in sorted(set(hands) - {""})
        }
        for hand, answer in asked.items():
            scores = answer.result()
            _tell(hand, scores)
            for what, each in scores.items():
                every.setdefault(what, []).extend(each)
    _tell("all", every)


if __name__ == "__main__":
    main()
