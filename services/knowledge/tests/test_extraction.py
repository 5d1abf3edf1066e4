"""Verbatim answers, without any model."""

from __future__ import annotations

import numpy as np
import pytest

from atrium_knowledge.domain.answering.extraction import (
    Extraction,
    Extractor,
    Vectors,
)
from atrium_knowledge.domain.answering.questions import (
    AnswerType,
    expectation_of,
    names_in,
    understand,
)
from atrium_knowledge.domain.passages import Hit, Passage

EXTRACTOR = Extractor()


def hit(text: str, *path: str, title: str = "Handbook", start: int = 100, name: str = "d1") -> Hit:
    passage = Passage(
        name=f"collections/c/documents/{name}/passages/1",
        document=f"collections/c/documents/{name}",
        document_title=title,
        section_path=path,
        text=text,
        start=start,
        end=start + len(text),
        page=0,
        version=1,
        paragraph=1,
        language="en",
    )
    return Hit(passage, 0.1, 1, 0)


LEAVE = hit(
    "Ask your manager first. You are entitled to 28 working days of paid annual leave a year. "
    "Leave is booked in the portal.",
    "Annual leave",
)
TRAVEL = hit(
    "出差住宿标准：一线城市每晚不超过 600 元。机票须提前 7 天预订。",
    "差旅",
    title="差旅制度",
    name="d2",
)


def answer(question: str, *hits: Hit) -> Extraction:
    return EXTRACTOR.extract(EXTRACTOR.prepare(understand(question), hits).weigh(), "en")


def test_the_sentence_that_answers_is_quoted_word_for_word_with_its_offsets() -> None:
    found = answer("How many days of annual leave do I get?", TRAVEL, LEAVE)
    assert "28 working days" in found.text
    for quote in found.quotes:
        passage = (TRAVEL, LEAVE)[quote.hit].passage
        assert quote.text == passage.text[quote.start - passage.start : quote.end - passage.start]
    assert found.answered


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("年假一年有几天？", "28 working days"),
        ("What may a hotel cost per night?", "600 元"),
        ("How many days ahead must a flight be booked?", "7 天"),
    ],
)
def test_question_and_passage_may_differ_in_language_without_an_encoder(
    question: str, fact: str
) -> None:
    assert fact in answer(question, LEAVE, TRAVEL).text


def test_numbers_in_the_text_stand_for_the_cited_passages() -> None:
    found = answer("How many days of annual leave do I get?", TRAVEL, LEAVE)
    for number in range(1, len(found.cited) + 1):
        assert f"[{number}]" in found.text
    assert set(found.cited) == {quote.hit for quote in found.quotes}


def test_what_no_passage_speaks_of_is_not_answerable() -> None:
    found = answer("Who won the football match in Tokyo on Sunday?", LEAVE, TRAVEL)
    assert not found.answered


def test_no_passages_answer_nothing() -> None:
    assert answer("How many days?") == Extraction(0.0, False, (), "", ())


def test_the_row_of_the_grade_that_was_asked_for_is_quoted() -> None:
    rows = hit(
        "Grade | Minimum | Maximum\nGrade: K4 | Minimum: 21,000 | Maximum: 31,000\n"
        "Grade: K5 | Minimum: 30,000 | Maximum: 44,000",
        "Pay bands",
    )
    found = answer("What is the maximum of grade K5?", rows)
    assert any("44,000" in quote.text for quote in found.quotes)
    best = max(found.quotes, key=lambda quote: quote.score)
    assert "K5" in best.text


def test_a_question_for_steps_gets_the_list() -> None:
    steps = hit(
        "To roll back a release:\n1. Open the console.\n2. Choose the version.\n3. Press undo.",
        "Rollback",
    )
    found = answer("How do I roll back a release?", steps)
    assert "Open the console" in found.text
    assert "Press undo" in found.text


def test_answers_are_short() -> None:
    long = hit(" ".join(f"Sentence {i} is about annual leave days." for i in range(80)), "Leave")
    assert len(answer("How many days of annual leave?", long).text) < 1000


def test_a_sentence_is_embedded_under_its_heading() -> None:
    question = "How many days of annual leave do I get?"
    texts = EXTRACTOR.prepare(understand(question), [LEAVE]).texts_to_embed()
    assert texts[0].startswith("Annual leave: ")


def test_vectors_move_the_choice() -> None:
    plain = hit("The first thing holds. The second thing holds.", "Things")
    prepared = EXTRACTOR.prepare(understand("Which one?"), [plain])
    texts = prepared.texts_to_embed()
    vectors = np.eye(len(texts), 4, dtype=np.float32)
    for i in range(len(texts)):
        found = EXTRACTOR.extract(prepared.weigh(Vectors(vectors[i], vectors)), "en")
        best = max(found.quotes, key=lambda quote: quote.score)
        assert texts[i].endswith(best.text)


def test_a_reader_moves_the_choice_and_decides_whether_it_answers() -> None:
    plain = hit("The first thing holds. The second thing holds. The third one too.", "Things")
    prepared = EXTRACTOR.prepare(understand("Which one?"), [plain])
    (passage,) = prepared.passages_to_read()
    assert passage.heading == "Handbook > Things"
    units = [passage.text[start:end] for start, end in passage.segments]
    alike = Vectors(np.full(4, 0.5, np.float32), np.full((len(units), 4), 0.5, np.float32))
    nothing = EXTRACTOR.extract(prepared.weigh(alike, [[-9.0] * len(units)]), "en")
    assert not nothing.answered
    for i, unit in enumerate(units):
        log_odds = [-9.0] * len(units)
        log_odds[i] = 9.0
        found = EXTRACTOR.extract(prepared.weigh(alike, [log_odds]), "en")
        assert found.answerable > nothing.answerable + 0.3
        assert max(found.quotes, key=lambda quote: quote.score).text == unit


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("年假有多少天？", AnswerType.QUANTITY),
        ("How long is probation?", AnswerType.QUANTITY),
        ("發薪日是哪天？", AnswerType.WHEN),
        ("Who approves leave?", AnswerType.PERSON),
        ("如何报告事件？", AnswerType.STEPS),
        ("Where is the office?", AnswerType.PLACE),
        ("可以带宠物上班吗？", AnswerType.YES_NO),
        ("Why was it moved?", AnswerType.REASON),
        ("热线的联系方式", AnswerType.CONTACT),
    ],
)
def test_a_question_tells_what_kind_of_answer_it_wants(question: str, kind: AnswerType) -> None:
    assert expectation_of(question).type is kind


def test_names_and_codes_of_a_question_are_found() -> None:
    assert names_in("What is the pay band of grade P5 in Berlin?") == ("p5", "berlin")
    assert set(names_in("上海的 SEV1 由谁处理")) == {"sev1", "上海"}
    assert names_in("How many days are there?") == ()
