import io
import re

import pytest
from google.protobuf.duration_pb2 import Duration
from google.type.date_pb2 import Date
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from atrium.engine.v1 import engine_pb2
from atrium.meeting.v1 import meeting_pb2, minutes_pb2
from atrium_suite.cli.meeting import app
from atrium_suite.terminal.meetings import (
    SpeakerNames,
    called,
    clock,
    milliseconds,
    people,
    print_catch_up,
    print_minutes,
    print_utterance,
)

SPEAKERS = [
    meeting_pb2.Speaker(id="S1", display_name="Lin Wei", speaking_time=Duration(seconds=3)),
    meeting_pb2.Speaker(id="S2"),
]


def test_a_suggested_name_is_shown_as_a_question() -> None:
    assert called(meeting_pb2.Speaker(id="S2", suggested_name="Tom")) == "S2 (Tom?)"
    named = meeting_pb2.Speaker(id="S2", display_name="Thomas", suggested_name="Tom")
    assert called(named) == "Thomas"
    assert [SpeakerNames(SPEAKERS).of(one.id) for one in SPEAKERS] == ["Lin Wei", "S2"]


def test_speakers_are_listed_with_the_ids_that_commands_take() -> None:
    assert people(SPEAKERS) == "S1 Lin Wei, S2"


@pytest.mark.parametrize("given", [[], ["Ana", "--clear"], ["--same-as", "S1", "--clear"], [" "]])
def test_a_name_is_taken_away_only_where_that_is_said(given: list[str]) -> None:
    outcome = CliRunner().invoke(app, ["name", "m1", "S2", *given, "--key", "atr_x"])
    assert outcome.exit_code != 0
    assert "--clear" in outcome.output


def sentence(text: str, *starts: int, **more) -> minutes_pb2.CitedSentence:
    return minutes_pb2.CitedSentence(
        text=text, citations=[meeting_pb2.Citation(start_ms=at) for at in starts], **more
    )


def console(width: int = 120, *, terminal: bool | None = None) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, force_terminal=terminal)


def printed(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90_000), ("4:07", 247_000), ("1:04:07", 3_847_000)]
)
def test_times_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert milliseconds(text) == expected
    assert clock(247_999) == "4:07"
    assert clock(3_847_000) == "1:04:07"


@pytest.mark.parametrize("text", ["", "4:70", "a", "1:2:3:4", "-5"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the command says what was wrong
        milliseconds(text)


def test_words_that_the_clean_view_leaves_out_are_struck_out() -> None:
    where = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="truecolor")
    utterance = meeting_pb2.Utterance(
        speaker="S1",
        start_ms=61_000,
        text="Um, we ship \x1b[31mnow",
        words=[
            meeting_pb2.Word(text="Um,", disfluency=meeting_pb2.FILLER),
            meeting_pb2.Word(text="we"),
            meeting_pb2.Word(text="ship"),
            meeting_pb2.Word(text="\x1b[31mnow"),
        ],
    )

    print_utterance(where, utterance, SpeakerNames(SPEAKERS))

    text = printed(where)
    assert "\x1b[2;9;31mUm,\x1b[0m we ship" in text
    assert "\x1b[31mnow" not in text
    assert "1:01" in text
    assert "Lin Wei" in text


def test_minutes_show_outcome_owner_date_and_when_it_was_said() -> None:
    where = console()
    minutes = minutes_pb2.Minutes(
        type=minutes_pb2.Minutes.STANDUP,
        engine=engine_pb2.Engine(
            kind=engine_pb2.Engine.EXTRACTIVE, degraded=True, degraded_reason="no generator"
        ),
        overview=[sentence("We ship.", 1000, 1500, 62_000)],
        decisions=[minutes_pb2.Decision(sentence=sentence("Ship on Friday.", 5000))],
        actions=[
            minutes_pb2.ActionItem(
                sentence=sentence("Tell the team.", 6000),
                owner_speaker="S1",
                due_text="by Friday",
                due_date=Date(year=2026, month=11, day=27),
            ),
            minutes_pb2.ActionItem(sentence=sentence("Write notes.", 7000), owner="Ana"),
        ],
        sections=[
            minutes_pb2.Section(
                speaker="S2",
                stretches=[minutes_pb2.Chapter(start_ms=0, end_ms=5000)],
                sentences=[sentence("Tests.", 8000, role=minutes_pb2.CitedSentence.BLOCKED)],
            )
        ],
    )

    print_minutes(where, minutes, SPEAKERS)

    text = printed(where)
    assert "站会 stand-up" in text
    assert "degraded: no generator" in text
    assert "- We ship.  [0:01, 1:02]" in text
    assert "2026-11-27 (by Friday)" in text
    rows = [line.split() for line in text.splitlines() if "Write notes." in line]
    assert rows[0][2:] == ["Ana", "-", "0:07"]
    assert "S2  0:00-0:05" in text
    assert "受阻 blocked: Tests." in text


def test_a_catch_up_says_which_part_it_tells() -> None:
    where = console()
    reply = minutes_pb2.CatchUpReply(
        missed=[minutes_pb2.Chapter(start_ms=0, end_ms=90_000)],
        sentences=[sentence("We began.", 2000)],
        engine=engine_pb2.Engine(kind=engine_pb2.Engine.EXTRACTIVE),
    )

    print_catch_up(where, reply, SPEAKERS)

    assert "0:00-1:30 · extractive" in printed(where)
    assert "- We began.  [0:02]" in printed(where)


def test_in_a_narrow_terminal_words_stand_below_words() -> None:
    where = console(30, terminal=True)
    utterance = meeting_pb2.Utterance(
        speaker="S1", start_ms=1000, text="We move to Northgate in May then."
    )

    print_utterance(where, utterance, SpeakerNames(()))
    print_catch_up(
        where,
        minutes_pb2.CatchUpReply(sentences=[sentence("我们五月九号搬到北门的新办公室。", 2000)]),
        (),
    )

    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in printed(where).splitlines()]
    first = lines[0].index("We move")
    assert len(lines[1]) - len(lines[1].lstrip()) == first
    said = next(number for number, line in enumerate(lines) if line.startswith("- "))
    assert lines[said].startswith("- 我们五月九号搬到")
    assert lines[said + 1].startswith("  ")
    assert lines[said + 1].endswith("[0:02]")
    assert all(cell_len(line) <= 30 for line in lines[: said + 2] if "Missed" not in line)
