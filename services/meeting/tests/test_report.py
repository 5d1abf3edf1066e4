import io
from dataclasses import replace
from datetime import UTC, date, datetime

import docx
import pytest
from docx.oxml.ns import qn

from atrium_meeting.adapters.docx_report import write_docx
from atrium_meeting.adapters.markdown_report import write_markdown
from atrium_meeting.domain.minutes import (
    ActionItem,
    Chapter,
    CitedSentence,
    Decision,
    Grouping,
    Minutes,
    MinutesType,
    Role,
    Section,
    Stretch,
)
from atrium_meeting.domain.report import Fact, Table, compose_report
from atrium_meeting.domain.transcript import (
    Disfluency,
    Span,
    Speaker,
    Transcript,
    Utterance,
    Word,
)
from atrium_shared.engines import Engine, EngineKind

TRANSCRIPT = Transcript(
    1,
    (Speaker("S1", "Lin *Wei*"), Speaker("S2")),
    (
        Utterance(
            "u1",
            "S1",
            "en",
            (
                Word("Um,", 0, 200, disfluency=Disfluency.FILLER),
                Word("we", 300, 400),
                Word("ship", 400, 900),
                Word("<b>", 900, 1000),
            ),
        ),
        Utterance("u2", "S2", "zh", (Word("好，", 62_000, 62_300), Word("我", 62_300, 62_600))),
    ),
)


def minutes(language: str) -> Minutes:
    shipped = CitedSentence("s1", "We ship | now.", (Span("u1", 1, 4),))
    todo = CitedSentence("s2", "Ship it.", (Span("u1", 1, 3), Span("u2", 0, 2)))
    next_one = CitedSentence("s3", "We ship.", (Span("u1", 1, 3),), Role.NEXT, "S1")
    return Minutes(
        type=MinutesType.STANDUP,
        language=language,
        grouping=Grouping.CHAPTER,
        overview=(shipped,),
        sections=(Section("Release", (Stretch(0, 1000), Stretch(62_000, 62_600)), (next_one,)),),
        decisions=(Decision(shipped),),
        actions=(ActionItem(todo, "Lin *Wei*", "S1", "by Friday", date(2026, 11, 27)),),
        chapters=(Chapter("Release", 0, 62_600),),
        engine=Engine(EngineKind.EXTRACTIVE, "atrium"),
        transcript_version=1,
    )


def test_an_owner_whose_name_is_only_suggested_is_shown_with_their_identifier():
    found = minutes("en")
    [action] = found.actions
    suggested = replace(action, owner_name="Ben", owner_speaker="S2")

    report = replace(found, actions=(suggested,))
    written = compose_report("", None, TRANSCRIPT, report, language="en", clean=False)

    [table] = [block for block in written if isinstance(block, Table)]
    assert table.rows[0][1] == "Ben (S2)"


def blocks(language: str = "en", *, clean: bool = False, with_minutes: bool = True):
    return compose_report(
        "Weekly #1",
        datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        TRANSCRIPT,
        minutes(language) if with_minutes else None,
        language=language,
        clean=clean,
    )


def test_markdown_tells_the_minutes_and_links_each_sentence_to_what_was_said() -> None:
    text = write_markdown(blocks())

    assert text.startswith("# Weekly \\#1\n\n- **Date:** 2026-11-22 09:30\n- **Length:** 1:02\n")
    assert "- We ship \\| now. [[0:00](#u1)]" in text
    assert "- **Next:** We ship. [[0:00](#u1)]" in text
    row = "| Ship it. | Lin \\*Wei\\* | 2026-11-27 (by Friday) | [[0:00](#u1)] [[1:02](#u2)] |"
    assert row in text
    assert "## Release (0:00-0:01, 1:02-1:02)" in text
    assert '<a id="u1"></a>**Lin \\*Wei\\*** 0:00  \n~~Um,~~ we ship \\<b\\>' in text


def test_the_clean_view_leaves_out_what_the_raw_one_strikes_out() -> None:
    assert "Um" not in write_markdown(blocks(clean=True))
    assert "Um" not in docx_text(write_docx(blocks(clean=True)))


def test_headings_are_in_the_language_that_was_asked_for() -> None:
    text = write_markdown(blocks("zh"))

    for heading in ("## 概要", "## 决定", "## 待办事项", "## 逐字稿", "- **类型:** 站会"):
        assert heading in text
    assert "- **接下来：** We ship." in text


@pytest.mark.parametrize(("language", "kind"), [("zh", "决策会议"), ("en", "Decision")])
def test_a_kind_of_meeting_is_told_apart_from_a_role_of_the_same_value(
    language: str, kind: str
) -> None:
    written = replace(minutes(language), type=MinutesType.DECISION)
    report = compose_report("", None, TRANSCRIPT, written, language=language, clean=False)
    assert kind in [block.value for block in report if isinstance(block, Fact)]


def test_a_word_document_is_by_the_product() -> None:
    properties = docx.Document(io.BytesIO(write_docx(blocks()))).core_properties
    assert (properties.author, properties.last_modified_by) == ("Atrium", "Atrium")
    assert "python-docx" not in properties.comments


def test_a_meeting_without_minutes_is_its_transcript() -> None:
    text = write_markdown(blocks(with_minutes=False))

    assert "Decisions" not in text
    assert "好，我" in text


def test_a_word_document_links_each_sentence_to_a_bookmark_that_is_there() -> None:
    body = docx.Document(io.BytesIO(write_docx(blocks()))).element.body

    marks = {mark.get(qn("w:name")) for mark in body.iter(qn("w:bookmarkStart"))}
    links = [link.get(qn("w:anchor")) for link in body.iter(qn("w:hyperlink"))]
    assert marks == {"utterance_u1", "utterance_u2"}
    assert len(links) == 5
    assert set(links) == marks


def test_a_word_document_strikes_out_what_the_clean_view_leaves_out() -> None:
    document = docx.Document(io.BytesIO(write_docx(blocks())))

    struck = [run.text for p in document.paragraphs for run in p.runs if run.font.strike]
    assert struck == ["Um,"]
    assert document.core_properties.title == "Weekly #1"


def test_actions_of_a_word_document_have_room_for_their_words_and_are_no_headings() -> None:
    table = docx.Document(io.BytesIO(write_docx(blocks()))).tables[0]

    what, *others = (column.width for column in table.columns)
    assert what is not None
    assert all(width is not None and what > 2 * width for width in others)
    assert [cell.width for cell in table.rows[1].cells] == [what, *others]
    look = table._tbl.tblPr.find(qn("w:tblLook"))
    assert look is not None
    assert (look.get(qn("w:firstRow")), look.get(qn("w:firstColumn"))) == ("1", "0")


def test_characters_that_a_word_document_cannot_hold_are_left_out() -> None:
    word = Word("a\x00b\ufffe", 0, 100)
    transcript = Transcript(1, (Speaker("S1"),), (Utterance("u1", "S1", "en", (word,)),))
    report = compose_report("", None, transcript, None, language="en", clean=False)

    assert "ab" in docx_text(write_docx(report))


def docx_text(data: bytes) -> str:
    return "\n".join(paragraph.text for paragraph in docx.Document(io.BytesIO(data)).paragraphs)
