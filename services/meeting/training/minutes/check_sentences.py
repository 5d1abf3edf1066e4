"""Measure the check of written sentences on those that the training meetings give.

`python -m services.meeting.training.minutes.check_sentences [--show]`, from the root of the
repository. Decisions and actions of the scripts are sentences that may be published, with the
lines where they are planted; the same told of somebody else, with the lines of another one, or
with its denial turned round are sentences that must not be. Some meetings bring sentences of both
kinds of their own. They are for choosing rules of the check and report nothing: the frozen set of
`make eval EVAL=minutes` does.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from atrium_grounding.lexicon import lexicon
from atrium_meeting.domain.faithfulness.checking import FaithfulnessChecker, Said
from atrium_meeting.domain.writing.meeting_text import AROUND
from tests.eval.meeting_scripts import Meeting, read
from tests.eval.meeting_scripts.build import build

from .train import TALKS

_RIGHT = "right"


class Told(NamedTuple):
    """A sentence, what it cites, and how it is wrong; "right": it may be published."""

    kind: str
    text: str
    cited: tuple[str, ...]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="tell which are judged wrongly")
    show = parser.parse_args().show
    of: Counter[str] = Counter()
    published: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for meeting in read(build(sorted(TALKS.glob("*.txt")))):
        said = [Said(i, one.speaker, one.text) for i, one in enumerate(meeting.utterances)]
        numbers = {one.id: i for i, one in enumerate(meeting.utterances)}
        names = {one.id: one.display_name for one in meeting.speakers}
        day = date.fromisoformat(str(meeting.date))
        checker = FaithfulnessChecker(names, day, lexicon(), meeting.title)
        for told in _sentences(meeting):
            cited = [said[numbers[one]] for one in told.cited]
            first, last = cited[0].index, cited[-1].index
            around = said[max(0, first - AROUND) : last + AROUND + 1]
            verdict = checker.check(told.text, cited, around)
            of[told.kind] += 1
            published[told.kind] += verdict.fault is None
            faults[verdict.fault or ""] += told.kind == _RIGHT
            if show and (verdict.fault is None) != (told.kind == _RIGHT):
                lines = " / ".join(f"{names[one.speaker]}: {one.text}" for one in cited)
                print(f"{meeting.id} {told.kind} {verdict.fault or ''}: {told.text} | {lines}")
    for kind, number in of.items():
        print(f"{kind}: {published[kind]} of {number} published")
    print(", ".join(f"{fault} {number}" for fault, number in faults.most_common() if fault))


def _sentences(meeting: Meeting) -> Iterator[Told]:
    for one in meeting.sentences:
        yield Told(_RIGHT if one.faithful else one.kind.lower(), one.text, one.utterances)
    chance = random.Random(meeting.id)
    names = {one.id: one.display_name for one in meeting.speakers}
    found = [("", one.text, one.utterances) for one in meeting.decisions]
    for action in meeting.actions:
        due = "" if action.due_text == "-" else action.due_text
        rest = f" will {action.text} {due}".rstrip() + "."
        if meeting.language == "zh":
            rest = f"{due}{action.text}。"
        owner = names.get(action.owner, action.owner)
        found.append((owner, owner + rest, action.utterances))
        others = [name for name in names.values() if name != owner]
        if others:
            yield Told("another owner", chance.choice(others) + rest, action.utterances)
    for owner, text, cited in found:
        yield Told(_RIGHT, text, cited)
        turned = _denied(text, owner, meeting.language)
        if turned != text:
            yield Told("denied", turned, cited)
        elsewhere = [other for other in found if not set(other[2]) & set(cited)]
        if elsewhere:
            yield Told("another's lines", chance.choice(elsewhere)[1], cited)


def _denied(text: str, owner: str, language: str) -> str:
    """Return a sentence with its denial taken out, or one put in; as it is where that is hard."""
    if language == "zh":
        if re.search("[不没未别]", text):
            return re.sub("不|没有|没|未|别", "", text, count=1)
        return text if owner else re.sub(_VERBS, r"不\1", text, count=1)
    if re.search(r"\b(?:not|no|never|without|instead)\b|n't", text):
        return re.sub(r"\b(is|are|will|was) not\b", r"\1", text)
    return re.sub(r"\b(will|is|are|was|can)\b", r"\1 not", text, count=1)


_VERBS = "(改|用|买|选|做|办|去|请|换|搬|停|招|签|发|报|涨|送|走|租|装|加|减)"


if __name__ == "__main__":
    main()
