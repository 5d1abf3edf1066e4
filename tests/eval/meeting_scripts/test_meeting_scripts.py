from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from atrium_meeting.domain.transcript import join, split_words

from . import FOLDER, Meeting, chain, load, read, transcript
from .build import build
from .script import KINDS, TYPES, ScriptWrong, read_scripts


@pytest.fixture(scope="module")
def meetings() -> list[Meeting]:
    return load()


def test_the_set_is_the_frozen_one_and_its_sources_give_it() -> None:
    text = (FOLDER / "meetings.jsonl").read_text(encoding="utf-8")

    digest = hashlib.sha256(text.encode()).hexdigest()

    assert (FOLDER / "meetings.sha256").read_text().split()[0] == digest
    assert digest == "ae54b7723433942dddf4921327ed4d9b2d53758afc2079939e896eeac17679cd"
    assert build() == text


def test_it_is_balanced_over_languages_types_and_splits(meetings: list[Meeting]) -> None:
    assert Counter((m.language, m.type) for m in meetings) == {
        (language, kind): 4 for language in ("en", "zh") for kind in TYPES
    }
    assert Counter((m.language, m.split) for m in meetings) == {
        ("en", "dev"): 7, ("zh", "dev"): 7, ("en", "test"): 13, ("zh", "test"): 13,
    }  # fmt: skip
    assert len({m.id for m in meetings}) == len(meetings)
    assert {m.id[3:] for m in load("dev")}.isdisjoint(m.id[3:] for m in load("test"))


def test_the_meetings_for_training_are_other_ones_of_all_types() -> None:
    talks = Path(__file__).parents[3] / "services" / "meeting" / "training" / "minutes" / "talks"
    ids: list[str] = []
    for file in sorted(talks.glob("*.txt")):
        training = read(build([file]))
        assert {m.type for m in training} == set(TYPES), file.name
        assert {m.language for m in training} == {file.stem[:2]}, file.name
        ids += [m.id for m in training]
    assert len(ids) == len(set(ids))
    assert {m.id for m in load()}.isdisjoint(ids)


def test_everything_planted_cites_utterances_that_are_there(meetings: list[Meeting]) -> None:
    for meeting in meetings:
        ids = {said.id for said in meeting.utterances}
        for item in (*meeting.decisions, *meeting.actions, *meeting.sentences):
            assert item.utterances
            assert ids.issuperset(item.utterances)
        for action in meeting.actions:
            if action.due_date:
                assert date.fromisoformat(action.due_date) >= date.fromisoformat(meeting.date)
        assert all(0 <= t.start < t.end <= len(meeting.utterances) for t in meeting.topics)
        assert bool(meeting.agenda) == (meeting.type == "AGENDA")


def test_about_a_third_of_the_sentences_is_invented_in_all_ways(meetings: list[Meeting]) -> None:
    kinds = Counter(sentence.kind for m in meetings for sentence in m.sentences)

    assert set(kinds) == {"", *KINDS}
    assert 0.28 <= 1 - kinds[""] / kinds.total() <= 0.33
    assert min(kinds[kind] for kind in KINDS) >= 15
    assert all(s.faithful == (s.kind == "") for m in meetings for s in m.sentences)


def test_windows_tell_missed_decisions_from_the_others(meetings: list[Meeting]) -> None:
    windows = 0
    for meeting in meetings:
        when = {said.id: said for said in meeting.utterances}
        for window in meeting.windows:
            windows += bool(window.missed_decisions)
            for decision in meeting.decisions:
                inside = [
                    window.left_at_ms <= when[u].start_ms and when[u].end_ms <= window.joined_at_ms
                    for u in decision.utterances
                ]
                assert all(inside) or not any(inside)
                assert (decision.id in window.missed_decisions) == all(inside)
                assert (decision.id in window.other_decisions) != all(inside)
    assert windows >= 20


def test_times_do_not_overlap_and_texts_follow_from_their_words(meetings: list[Meeting]) -> None:
    for meeting in meetings:
        for said, then in zip(meeting.utterances, meeting.utterances[1:], strict=False):
            assert said.start_ms < said.end_ms < then.start_ms
        for said, utterance in zip(meeting.utterances, transcript(meeting).utterances, strict=True):
            assert utterance.text == said.text == join(split_words(said.text))
            assert (utterance.start_ms, utterance.end_ms) == (said.start_ms, said.end_ms)


def test_a_long_meeting_is_made_of_short_ones(meetings: list[Meeting]) -> None:
    english = [m for m in meetings if m.language == "en"]

    long = chain(english, hours=3)

    assert 180 <= long.utterances[-1].end_ms / 60_000 < 184
    assert len({said.id for said in long.utterances}) == len(long.utterances)
    said = {utterance.id: utterance for utterance in long.utterances}
    first, later = english[0], long.decisions[len(english[0].decisions)]
    assert long.decisions[: len(first.decisions)] == first.decisions
    assert said[later.utterances[0]].text in {u.text for u in english[1].utterances}
    assert long.utterances[long.topics[-1].end - 1].start_ms < long.utterances[-1].end_ms


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Z: Hello.", "unknown speaker"),
        ("Hello.", "not enough values"),
        ("A: Hello. +a9", "labels do not fit"),
        ("! a1 Anna | soon | 2026-13-01 | call", "month must be"),
        ("~ LIE Anna sings. @f1", "unknown kind"),
        ("= Anna sings.", "without a citation"),
        ("A: He{r|llo} there.", "splits a word"),
        ("* nothing", "nothing"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "en_x.txt"
    file.write_text(f"## en-x DECISION 2026-03-09 | Title | Anna Ben | x\n{line}\n")

    with pytest.raises(ScriptWrong, match=reason):
        read_scripts(file)


def test_a_set_that_was_changed_is_refused(tmp_path: Path) -> None:
    line = json.loads((FOLDER / "meetings.jsonl").read_text().splitlines()[0])
    (tmp_path / "meetings.jsonl").write_text(json.dumps(line | {"split": "dev"}))
    (tmp_path / "meetings.sha256").write_text((FOLDER / "meetings.sha256").read_text())

    with pytest.raises(ValueError, match="not the frozen set"):
        load(folder=tmp_path)
