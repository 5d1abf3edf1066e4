"""The set is what it says, and a refusal does not depend on documents that the asker may not see.

The suite runs without models here: words alone match, so nothing is said about quality.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from .questions import (
    DATA,
    KINDS_OPEN,
    KINDS_RESTRICTED,
    SPLITS,
    FrozenFileChanged,
    Question,
    check_frozen,
    read_organisations,
    read_questions,
)
from .run import FROZEN, Reply, Round, ask_twice, filled_suite, sabotage, share_refused, spread

ORGANISATIONS = read_organisations()
QUESTIONS = {split: read_questions(split) for split in SPLITS}
ALL = [question for split in SPLITS for question in QUESTIONS[split]]
SMALL = 60


def test_the_test_split_and_the_topics_are_the_frozen_ones() -> None:
    check_frozen(FROZEN)


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_an_edited_file_is_refused(name: str, tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    file = tmp_path / name
    file.write_text(file.read_text(encoding="utf-8").replace("the", "a", 1), encoding="utf-8")
    with pytest.raises(FrozenFileChanged, match=name):
        check_frozen(FROZEN, tmp_path)


def test_every_question_is_well_formed() -> None:
    topics = {one.id: {topic["id"] for topic in one.topics} for one in ORGANISATIONS}
    for question in ALL:
        kinds = KINDS_OPEN if question.topic is None else KINDS_RESTRICTED
        assert question.kind in kinds, question
        assert question.topic is None or question.topic in topics[question.organisation], question
        chinese = bool(re.search(r"[\u4e00-\u9fff]", question.question))
        assert question.kind == "mixed" or chinese == (question.language == "zh"), question
    for split in SPLITS:
        assert {question.split for question in QUESTIONS[split]} == {split}


def test_no_question_is_asked_twice_and_none_is_an_example_of_a_topic() -> None:
    assert max(Counter(question.id for question in ALL).values()) == 1
    assert max(Counter(question.question for question in ALL).values()) == 1
    examples = {
        text
        for one in ORGANISATIONS
        for topic in one.topics
        for text in (*topic["examples"], *topic["counter_examples"])
    }
    assert not examples & {question.question for question in ALL}


@pytest.mark.parametrize("split", SPLITS)
def test_both_splits_ask_about_every_topic_in_both_languages(split: str) -> None:
    questions = QUESTIONS[split]
    assert len(questions) >= 300
    chinese = sum(question.language == "zh" for question in questions) / len(questions)
    restricted = sum(question.topic is not None for question in questions) / len(questions)
    assert 0.45 <= chinese <= 0.55
    assert 0.4 <= restricted <= 0.5
    asked = Counter(
        (question.organisation, question.topic, question.language)
        for question in questions
        if question.topic is not None
    )
    declared = {
        (one.id, topic["id"], language)
        for one in ORGANISATIONS
        for topic in one.topics
        for language in ("zh", "en")
    }
    assert set(asked) == declared
    assert min(asked.values()) >= 2


@pytest.mark.parametrize("one", ORGANISATIONS, ids=[one.id for one in ORGANISATIONS])
def test_each_topic_hides_a_document_and_the_rest_is_open(one) -> None:
    hidden = {label for text in one.documents for label in text.labels}
    assert hidden == {label for topic in one.topics for label in topic["labels"]}
    assert any(not text.labels for text in one.documents)
    for topic in one.topics:
        assert set(topic["refusals"]) == {"en", "zh"}
        assert 5 <= len(topic["examples"]) <= 8
        assert 3 <= len(topic["counter_examples"]) <= 6


def test_only_a_crossing_between_refused_and_not_counts_as_changed() -> None:
    def reply(name: str, decision: str) -> Reply:
        return Reply(Question(name, "bank", "?", "en", "pay", "typo", "tune"), decision, "")

    asked = Round(
        before=[reply("a", "REFUSED"), reply("b", "ANSWERED"), reply("c", "NOT_FOUND")],
        after=[reply("a", "NOT_FOUND"), reply("b", "NOT_FOUND"), reply("c", "REFUSED")],
        holder=[],
    )
    assert asked.changed == ["a", "c"]
    assert share_refused(asked.before) == pytest.approx(1 / 3)
    assert share_refused([]) == 0


def test_a_limit_takes_questions_from_the_whole_split() -> None:
    some = spread(ALL, SMALL)
    assert len({question.id for question in some}) == SMALL
    assert {question.organisation for question in some} == {one.id for one in ORGANISATIONS}
    assert spread(ALL, None) == spread(ALL, 10_000) == ALL


# Uploads and 150 questions through a whole suite: seconds, but not on a machine with much to do.
@pytest.mark.timeout(400)
def test_deleting_hidden_documents_changes_no_refusal_unless_the_matcher_saw_the_search() -> None:
    organisations = ORGANISATIONS[:2]
    names = {one.id for one in organisations}
    pool = [question for question in QUESTIONS["tune"] if question.organisation in names]
    questions = spread(pool, SMALL)
    restricted = [question for question in questions if question.topic is not None]

    async def measure() -> tuple[Round, Round]:
        async with filled_suite("none", organisations) as filled:
            holder = await filled.ask(restricted[::4], filled.holder)
            # The sabotaged round needs the documents, and the plain one deletes them.
            with sabotage(filled.hidden_labels):
                sabotaged = await filled.ask(restricted)
            plain = await ask_twice(filled, questions, holder)
            with sabotage(filled.hidden_labels):
                return plain, Round(sabotaged, await filled.ask(restricted), [])

    plain, sabotaged = asyncio.run(measure())
    assert any(reply.refused for reply in plain.before)
    assert not all(reply.refused for reply in plain.before)
    assert plain.changed == []
    assert sabotaged.changed
    assert plain.holder
    assert not any(reply.refused for reply in plain.holder)
