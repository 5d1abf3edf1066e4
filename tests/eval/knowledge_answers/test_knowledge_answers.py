"""The evaluation on a set of six paragraphs, without any model, and what it judges by."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.figures import Figures

from .judging import holds_fact, is_right_passage
from .run import DATA, Plan, load, load_translations, main, run
from .sets import Question

SAMPLE = json.loads((DATA / "sample.json").read_text(encoding="utf-8"))
TRANSLATED = {("cmrc", "S2-1"): "How many metres high is the lighthouse of Beiling, 38 or more?"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The sample in the layout of the public sets; DRCD is missing."""
    folder = tmp_path / "knowledge"
    folder.mkdir()
    (folder / "cmrc2018_trial.json.gz").write_bytes(
        gzip.compress(json.dumps(SAMPLE["cmrc"]).encode())
    )
    for name, entries in (
        ("rgb_zh_refine", SAMPLE["rgb"]),
        ("handbook_single_text_questions", SAMPLE["handbook"]["questions"]),
    ):
        lines = "\n".join(json.dumps(one) for one in entries)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for name, text in SAMPLE["handbook"]["pages"].items():
        page = folder / "handbook" / "handbook" / name
        page.parent.mkdir(parents=True)
        page.write_text(text, encoding="utf-8")
    return folder


def figures_in(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "knowledge_answers.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return {one["name"].removeprefix("knowledge_answers.keywords."): one for one in found}


async def test_the_whole_evaluation_runs_without_models(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = Figures("eval", "knowledge_answers", folder=tmp_path)
    records = await run(Plan("keywords", size=10), data, TRANSLATED, figures)
    found = figures_in(tmp_path)
    library = load("cmrc", data)
    leaving = {one.id for one in library.questions if one.leaves}

    assert "Skipped drcd" in capsys.readouterr().out
    # Marks of Markdown in a paragraph are read as they stand, so every passage is recognised.
    assert (found["cmrc.recall_at_5"]["value"], found["cmrc.recall_at_5"]["n"]) == (1.0, 9)
    assert found["handbook.recall_at_5"]["value"] == 1.0
    assert found["cross.cmrc.recall_at_10"]["n"] == 1
    assert found["cmrc.fact_in_answer"]["n"] == 7
    assert found["cmrc.fact_in_answer"]["value"] > 0.5
    assert found["handbook.fact_in_answer"]["n"] == 2
    # Of the two questions of RGB one is mentioned in a passage that stays.
    assert found["rgb.unanswerable_left_out"]["value"] == 1
    assert found["rgb.unanswerable_told"]["n"] == 1
    assert found["cmrc.unanswerable_told"]["n"] == len(leaving) > 0
    assert found["cmrc.median_seconds"]["value"] > 0

    absent = [one for one in records if one["kind"] == "cmrc.absent"]
    assert {one["id"] for one in absent} == leaving
    assert not any(one["fact"] or one["error"] for one in absent)
    assert not any({"asked", "text"} & set(one) for one in records if one["set"] == "rgb")


def test_without_the_data_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATRIUM_DATA_DIR", str(tmp_path / "nowhere"))
    assert main([]) == 0
    assert "Set ATRIUM_DATA_DIR" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--sets", "cmrc,squad"], ["--size", "0"]])
def test_a_wrong_option_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert re.search("squad|'0'", capsys.readouterr().err)


def test_half_of_the_articles_nobody_learned_from_leave(data: Path) -> None:
    library = load("cmrc", data)
    articles = {one.id.partition("-")[0]: (one.held_out, one.leaves) for one in library.questions}
    assert Counter(articles.values()) == {(True, True): 1, (True, False): 2, (False, False): 2}


def test_a_part_of_a_set_keeps_its_questions_and_paragraphs_together(data: Path) -> None:
    library = load("cmrc", data, 2)
    texts = " ".join((library.staying | library.leaving).values())
    assert 0 < len(library.questions) < 9
    assert all(re.escape(one.paragraph[:8]) in texts for one in library.questions)
    assert len(load("handbook", data, 1).questions) == 1
    assert len(load("rgb", data, 3).questions) == 1


def test_every_translation_is_of_another_question_and_in_the_other_language() -> None:
    translations = load_translations(DATA / "translations.jsonl")
    lines = (DATA / "translations.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(translations) == len(lines) == len(set(translations.values()))
    assert Counter(name for name, _ in translations) == {"cmrc": 30, "drcd": 30, "handbook": 60}
    for (name, _), text in translations.items():
        assert bool(re.search("[\u4e00-\u9fff]", text)) == (name == "handbook")


CLOCK = Question(
    "1", "鐘有多重？", (("420公斤",),), paragraph="渡口的銅鐘重420公斤。鐘身刻有四個字。"
)
LONG = Question(
    "2",
    "為什麼？",
    (("因为河水在冬天会完全结冰，船不能开",),),
    paragraph="因为河水在冬天会完全结冰，船不能开。",
)
QUOTED = Question(
    "3",
    "How early?",
    (("nine days",),),
    quotes=("Book trains of the [Marrow Line](https://example.com) at least nine days ahead",),
)
ROW = Question("4", "How many seats?", (("14",),), quotes=("| Heron | `14` |",))


@pytest.mark.parametrize(
    ("question", "passage", "right"),
    [
        (CLOCK, "渡口的铜钟重420公斤。", True),
        (CLOCK, "钟身刻有四个字。", False),
        (CLOCK, "车站的铜钟重420公斤。", False),
        (QUOTED, "Trains. Book trains of the Marrow Line at least nine days ahead, please.", True),
        (QUOTED, "Book trains of the other line.", False),
        (ROW, "Room: Heron | Seats: 14", True),
        (ROW, "Room: Plover | Seats: 14", False),
    ],
)
def test_a_passage_is_right_where_it_holds_what_answers(
    question: Question, passage: str, right: bool
) -> None:
    assert is_right_passage(passage, question) is right


@pytest.mark.parametrize(
    ("question", "reply", "right"),
    [
        (CLOCK, "重 420 公斤[1]。", True),
        (CLOCK, "重1420公斤[1]。", False),
        (LONG, "河水在冬天会完全结冰，船不能开[1]。", True),
        (LONG, "因为下雪[1]。", False),
        (QUOTED, "Nine days before [2].", True),
        (QUOTED, "Ninety days before.", False),
        (ROW, "Fourteen.", False),
    ],
)
def test_a_reply_is_judged_by_what_it_states(question: Question, reply: str, right: bool) -> None:
    assert holds_fact(reply, question) is right
