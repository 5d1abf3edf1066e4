"""Small pieces of talk (`talk.txt`) and what they settle.

In a decision's talk the lines go round among three people, and the one with a star is what the
others then hold to; talk without a star settles nothing. In an action's talk the lines with a plus
make the action, and behind the arrow stand its owner and the words for its day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from atrium_meeting.domain.analysis.meeting import analyse
from atrium_meeting.domain.analysis.people import Person
from atrium_meeting.domain.analysis.summarize import catch_up
from atrium_meeting.domain.minutes import MinutesType, Stretch
from atrium_meeting.domain.speaker_names import suggest_names
from atrium_meeting.domain.transcript import Speaker, Transcript

Talk = Callable[..., Transcript]
MONDAY = date(2026, 3, 9)


def _talks() -> dict[str, list[str]]:
    talks: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / "talk.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            group = talks.setdefault(line[2:], [])
        else:
            group.append(line)
    return talks


TALKS = _talks()
ENGLISH_DECISIONS, CHINESE_DECISIONS = TALKS["english decisions"], TALKS["chinese decisions"]
ENGLISH_ACTIONS, CHINESE_ACTIONS = TALKS["english actions"], TALKS["chinese actions"]


@pytest.mark.parametrize("said", [*ENGLISH_DECISIONS, *CHINESE_DECISIONS])
def test_what_is_decided_is_found_and_nothing_else(talk: Talk, said: str) -> None:
    lines = said.split("|")
    transcript = talk(
        *(f"{'ABC'[i % 3]}: {line.lstrip('*')}" for i, line in enumerate(lines)),
        language="zh" if said in CHINESE_DECISIONS else "en",
    )
    starred = {f"u{i}" for i, line in enumerate(lines, start=1) if line.startswith("*")}
    analysis = analyse(transcript, day=MONDAY, kind=MinutesType.AGENDA)
    found = [
        {span.utterance for i in decision.sentences for span in analysis.sentences[i].spans}
        for decision in analysis.decisions
    ]
    assert len(found) == bool(starred)
    assert all(cited & starred for cited in found)


@pytest.mark.parametrize("said", [*ENGLISH_ACTIONS, *CHINESE_ACTIONS])
def test_what_somebody_takes_on_is_found_and_nothing_else(talk: Talk, said: str) -> None:
    lines, _, expected = said.partition(" => ")
    chinese = said in CHINESE_ACTIONS
    transcript = talk(
        *(line.lstrip("+") for line in lines.split("|")), language="zh" if chinese else "en"
    )
    names = ("安娜", "小本") if chinese else ("Anna", "Ben")
    present = {speaker.display_name for speaker in transcript.speakers}
    silent = [Speaker(f"S{9 - i}", name) for i, name in enumerate(names) if name not in present]
    transcript = Transcript(1, (*transcript.speakers, *silent), transcript.utterances)
    found = analyse(transcript, day=MONDAY, kind=MinutesType.AGENDA).actions
    owner, _, due = expected.partition(";")
    assert [action.owner.name if action.owner else "" for action in found] == (
        [owner] if owner else []
    )
    if due:
        assert [action.due.text if action.due else "" for action in found] == [due]


def test_a_later_word_changes_the_owner_or_the_day(talk: Talk) -> None:
    transcript = talk(
        "Anna: Ben, could you send the budget to the bank by Friday?",
        "Ben: Sure.",
        "Anna: Actually, make the budget Thursday instead.",
    )
    [action] = analyse(transcript, day=MONDAY).actions
    assert action.owner is not None
    assert action.due is not None
    assert (action.owner.name, str(action.due.day)) == ("Ben", "2026-03-12")


def test_who_introduced_themselves_owns_what_they_take_on(talk: Talk) -> None:
    spoken = talk(
        "S1: Good morning, I'm Anna.",
        "S2: Hello, I'm Ben. I'll send the budget to the bank by Friday.",
        "S1: Ben, could you order the flyers too?",
        "S2: Sure.",
    )
    unnamed = Transcript(1, (Speaker("S1"), Speaker("S2")), spoken.utterances)
    found = analyse(suggest_names(unnamed), day=MONDAY).actions
    assert [action.owner for action in found] == [Person("Ben", "S2")] * 2


@pytest.mark.parametrize(
    ("lines", "due"),
    [
        (("Ben: I'll write the report.", "Lena: On Thursday I am on holiday.", "Ben: Fine."), ""),
        (("Ben: I'll write the report.", "Anna: When?", "Ben: By Friday."), "By Friday"),
        (("Ben: I'll write the report.", "Anna: By Friday, please.", "Ben: Yes."), "By Friday"),
        (("Anna: Ben will write the report.", "Ben: Good, I am away until Thursday."), ""),
        (("李明: 我来写报告。", "陈静: 周四我休假。", "王芳: 好。"), ""),
        (("王芳: 李明，你来写报告好吗？", "李明: 好的。周四我休假。"), ""),
        (("王芳: 李明，你来写报告好吗？", "李明: 好的，周四之前给你。"), "周四之前"),
    ],
)
def test_a_day_on_which_somebody_is_away_is_no_due_date(
    talk: Talk, lines: tuple[str, ...], due: str
) -> None:
    (action,) = analyse(talk(*lines), day=MONDAY).actions
    assert (action.due.text if action.due else "") == due


def test_each_of_two_people_in_a_sentence_has_their_own_day(talk: Talk) -> None:
    said = "Anna: Ben will write the report and Lena will book the room by Friday."
    found = analyse(talk(said, "Ben: Okay.", "Lena: Fine."), day=MONDAY).actions
    owners = {one.owner.name: one.due.text if one.due else "" for one in found if one.owner}
    assert owners == {"Ben": "", "Lena": "by Friday"}


def test_two_things_to_send_are_two(talk: Talk) -> None:
    lines = ("Anna: We need to send the contract to the landlord.", "Ben: True.")
    found = analyse(talk(*lines, "Lena: I'll send the invoice by Wednesday."), day=MONDAY).actions
    assert [one.sentences for one in found if one.due] == [[2]]


def test_who_does_something_instead_is_quoted_as_it_was_said(talk: Talk) -> None:
    lines = ("Anna: Ben, could you send the contract to the landlord?", "Ben: Sure, I'll send it.")
    changed = "Actually, Lena will send the contract, not Ben."
    analysis = analyse(talk(*lines, f"Anna: {changed}", "Lena: Okay."), day=MONDAY)
    (action,) = analysis.actions
    assert action.owner == Person("Lena", "S3")
    assert analysis.sentences[action.main].text == changed


@pytest.mark.parametrize(
    "lines",
    [
        (
            "Anna: Ben, could you send the contract to the landlord by Friday?",
            "Ben: Sure, I'll send it.",
            "Lena: Our lawyer wants to see it first.",
            "Anna: Ben, forget the contract, the lawyer sends it herself.",
        ),
        (
            "王芳: 李明，你周五之前把合同发给房东。",
            "李明: 好的，没问题。",
            "陈静: 我来订会议室，周三之前。",
            "王芳: 合同不用发了，律师会处理。",
        ),
    ],
)
def test_a_thing_that_is_called_off_later_is_none_to_do_nor_to_catch_up_on(
    talk: Talk, lines: tuple[str, ...]
) -> None:
    transcript = talk(*lines)
    analysis = analyse(transcript, day=MONDAY)
    assert not [one for one in analysis.actions if 0 in one.sentences]
    missed = Stretch(0, transcript.utterances[1].end_ms + 1)
    assert not catch_up(transcript, missed, day=MONDAY).actions


def test_what_is_called_off_is_no_action(talk: Talk) -> None:
    transcript = talk(
        "Ben: I'll order the flyers tomorrow.",
        "Anna: Forget about the flyers, we don't need them.",
    )
    assert analyse(transcript, day=MONDAY).actions == ()


def test_a_recap_is_added_to_the_citations(talk: Talk) -> None:
    transcript = talk(
        "Ben: I'll book the room for the workshop by Friday.",
        "Anna: Thanks. How is your mother?",
        "Ben: Better, thank you.",
        "Anna: To recap, Ben books the room for the workshop by Friday.",
    )
    [action] = analyse(transcript, day=MONDAY).actions
    assert action.sentences[0] == 0
    assert len(action.sentences) == 2


def test_a_misheard_name_is_still_the_speakers(talk: Talk) -> None:
    transcript = talk(
        "Anna: Hello Magdalena.",
        "Magdalena: Hello.",
        "Anna: Magdelena will write the report by Friday.",
    )
    [action] = analyse(transcript, day=MONDAY).actions
    assert action.owner is not None
    assert action.owner.speaker == "S2"
