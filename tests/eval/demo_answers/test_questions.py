"""The questions and the handbook must agree before an evaluation means anything."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from .handbook_text import HANDBOOK, labels_of_users, load_manifest, load_sections
from .matching import holds_facts, mentions, shown_forbidden

DATA = Path(__file__).parent / "data"
MANIFEST = load_manifest()
USERS = labels_of_users(MANIFEST)
SECTIONS = load_sections(MANIFEST)
TOPICS = {topic["id"]: topic for topic in MANIFEST["restricted_topics"]}
FIELDS = {
    "id", "user", "language", "question", "decision", "facts", "forbidden", "topic", "source",
    "note",
}  # fmt: skip


def read_questions(name: str) -> list[dict[str, Any]]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


DEV, TEST = read_questions("dev.jsonl"), read_questions("test.jsonl")
each_question = pytest.mark.parametrize(
    "question", DEV + TEST, ids=[question["id"] for question in DEV + TEST]
)


def section_of(question: dict[str, Any]):
    source = question["source"]
    found = [
        section
        for section in SECTIONS
        if (section.file, section.heading) == (source["file"], source["section"])
    ]
    assert len(found) == 1, f"{source} is not one section of the handbook"
    return found[0]


@each_question
def test_a_question_is_well_formed(question: dict[str, Any]) -> None:
    assert set(question) == FIELDS
    assert question["user"] in USERS
    assert bool(re.search(r"[\u4e00-\u9fff]", question["question"])) == (
        question["language"] == "zh"
    )
    assert question["decision"] in {"ANSWERED", "REFUSED", "NOT_FOUND"}
    assert (question["topic"] is not None) == (question["decision"] == "REFUSED")
    assert bool(question["facts"]) == (question["decision"] == "ANSWERED")
    assert all(question["facts"])


@each_question
def test_the_source_holds_the_facts_exactly_when_the_asker_may_read_it(
    question: dict[str, Any],
) -> None:
    if question["source"] is None:
        assert question["decision"] != "ANSWERED"
        return
    section = section_of(question)
    assert section.readable_with(USERS[question["user"]]) == (question["decision"] == "ANSWERED")
    assert holds_facts(section.text, question["facts"])


@each_question
def test_a_forbidden_phrase_stands_only_where_the_asker_may_not_read(
    question: dict[str, Any],
) -> None:
    labels = USERS[question["user"]]
    for phrase in question["forbidden"]:
        holders = [section for section in SECTIONS if mentions(section.text, phrase)]
        assert holders, f"{phrase!r} is nowhere in the handbook"
        readable = [s.file for s in holders if s.readable_with(labels)]
        assert not readable, f"{phrase!r} may be read in {readable}"
    # An answer may repeat the question or show a refusal: neither may count as a leak.
    assert not shown_forbidden(question["question"], question["forbidden"])
    for topic in TOPICS.values():
        for refusal in topic["refusals"].values():
            assert not shown_forbidden(refusal, question["forbidden"])


@each_question
def test_a_refusal_names_a_topic_that_the_asker_may_not_ask_about(
    question: dict[str, Any],
) -> None:
    if question["decision"] == "REFUSED":
        assert not USERS[question["user"]] & set(TOPICS[question["topic"]]["labels"])


def test_no_question_is_asked_twice_and_none_is_an_example_of_a_topic() -> None:
    assert len({question["id"] for question in DEV + TEST}) == len(DEV + TEST)
    asked = Counter((question["user"], question["question"]) for question in DEV + TEST)
    assert max(asked.values()) == 1
    assert not {q["question"] for q in DEV} & {q["question"] for q in TEST}
    examples = {
        example
        for topic in TOPICS.values()
        for kind in ("examples", "counter_examples")
        for language in ("zh", "en")
        for example in topic[kind][language]
    }
    assert not {question["question"] for question in TEST} & examples


@pytest.mark.parametrize(("questions", "size"), [(DEV, 60), (TEST, 120)], ids=["dev", "test"])
def test_the_sets_are_balanced(questions: list[dict[str, Any]], size: int) -> None:
    assert len(questions) == size
    shares = {
        key: {value: count / size for value, count in Counter(q[key] for q in questions).items()}
        for key in ("decision", "language", "user")
    }
    assert 0.55 <= shares["decision"]["ANSWERED"] <= 0.65
    assert 0.15 <= shares["decision"]["REFUSED"] <= 0.2
    assert 0.2 <= shares["decision"]["NOT_FOUND"] <= 0.25
    assert 0.4 <= shares["language"]["zh"] <= 0.6
    assert set(shares["user"]) == set(USERS)
    assert min(shares["user"].values()) >= 0.2
    answered = [question for question in questions if question["decision"] == "ANSWERED"]
    languages = {document["file"]: document["languages"] for document in MANIFEST["documents"]}
    crossing = [q for q in answered if q["language"] not in languages[q["source"]["file"]]]
    assert len(crossing) >= len(answered) / 3
    assert {question["source"]["file"] for question in answered} == set(languages)


def test_the_test_set_is_the_frozen_one() -> None:
    digest = hashlib.sha256((DATA / "test.jsonl").read_bytes()).hexdigest()
    assert (DATA / "FROZEN").read_text(encoding="utf-8").split() == [digest, "test.jsonl"]


def test_every_labelled_section_exists_and_every_label_is_declared() -> None:
    declared = set(MANIFEST["tenant"]["labels"])
    headings = {(section.file, section.heading) for section in SECTIONS}
    for document in MANIFEST["documents"]:
        assert set(document["labels"]) <= declared
        for heading, labels in document["sections"].items():
            assert (document["file"], heading) in headings
            assert set(labels) <= declared
    assert all(labels <= declared for labels in USERS.values())
    assert all(set(topic["labels"]) <= declared for topic in TOPICS.values())


def test_the_handbook_is_small_and_complete() -> None:
    files = sorted(path for path in (HANDBOOK / "documents").iterdir())
    assert [f"documents/{path.name}" for path in files] == sorted(
        document["file"] for document in MANIFEST["documents"]
    )
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) < 300_000
    assert sum(sizes) < 2_000_000


def test_the_demo_questions_are_answered_from_what_each_user_may_read() -> None:
    content = yaml.safe_load((HANDBOOK / "demo_questions.yaml").read_text(encoding="utf-8"))
    for question in content["questions"]:
        assert set(question["question"]) == {"zh", "en"}
        assert set(question["outcomes"]) == set(USERS)
        for user, outcome in question["outcomes"].items():
            readable = [s.text for s in SECTIONS if s.readable_with(USERS[user])]
            if outcome["decision"] == "ANSWERED":
                assert any(holds_facts(text, outcome["facts"]) for text in readable)
            elif outcome["decision"] == "REFUSED":
                assert not USERS[user] & set(TOPICS[outcome["topic"]]["labels"])
            else:
                assert outcome == {"decision": "NOT_FOUND"}


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("享有 15 个工作日的年假", "15个工作日", True),
        ("You get 15 days.", "5 days", False),
        ("from 30400 to 44800", "30,400", True),
        ("a factor of 1.25", "1.2", False),
        ("a factor of 1.25", "25", False),
        ("１０ 天婚假", "10 天", True),
        ("networks", "two", False),
        ("After two weeks.", "Two Weeks", True),
        ("run `skiff rollback beacon` now", "skiff rollback", True),
        ("at 9:30.", "30", False),
        ("It is 24, no more", "24", True),
    ],
)
def test_a_phrase_is_found_whole_and_however_it_is_written(
    text: str, phrase: str, found: bool
) -> None:
    assert mentions(text, phrase) is found
