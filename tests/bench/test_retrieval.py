"""The bench on a small corpus, and what it calls right."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from atrium_knowledge.app.ports import View
from tests.figures import Figures

from .retrieval import (
    CLASSES,
    DIMENSIONS,
    LEGS,
    LIVE,
    TOP,
    UNDER_WAY,
    VISIBLE,
    Corpus,
    Exact,
    main,
    measure,
)


def plain_corpus(passages: int) -> Corpus:
    """Passage n has term 1 with the weight n + 1, and its vector is the n-th unit vector."""
    terms = [{1: float(row + 1), 100 + row: 1.0} for row in range(passages)]
    classes = np.arange(passages, dtype=np.int64) + 1
    vectors = np.eye(passages, DIMENSIONS, dtype=np.float32)
    return Corpus(vectors, terms, classes, np.full(passages, LIVE))


async def test_the_index_finds_what_exact_search_finds_at_each_visibility(tmp_path: Path):
    figures = Figures("bench", "retrieval", folder=tmp_path)
    await measure(figures, 2 * CLASSES, 3, tmp_path)
    lines = (tmp_path / "retrieval.jsonl").read_text(encoding="utf-8").splitlines()
    by_name = {one["name"]: one for one in map(json.loads, lines)}
    shares = [f"{visible:.1%}" for visible in VISIBLE]
    recalls = {f"retrieval.{leg}.{share}.recall_at_10" for leg in LEGS for share in shares}
    assert {name: by_name[name]["value"] for name in recalls} == dict.fromkeys(recalls, 1.0)
    for leg in LEGS:
        for share in shares:
            p95 = by_name[f"retrieval.{leg}.{share}.p95_ms"]
            assert (p95["n"], p95["target"]) == (3, 30 if share == "50.0%" else 10)
            assert p95["value"] > 0
            assert p95["baseline"] > 0


async def test_an_index_that_is_there_is_not_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for _ in range(2):
        await measure(Figures("bench", "retrieval", folder=tmp_path), CLASSES, 1, tmp_path)
    assert capsys.readouterr().out.count("made the index") == 1


def test_each_class_holds_as_many_passages_as_any_other():
    counts = np.bincount(Corpus.made_up(2 * CLASSES).classes)
    assert counts.tolist() == [0] + [2] * CLASSES


def test_readable_is_what_has_a_permitted_class_and_no_hidden_revision():
    corpus = plain_corpus(4)
    corpus.revisions[1] = UNDER_WAY
    everything = corpus.readable(View(frozenset({2, 3}), frozenset()))
    live = corpus.readable(View(frozenset({2, 3}), frozenset({UNDER_WAY})))
    assert everything.tolist() == [False, True, True, False]
    assert live.tolist() == [False, False, True, False]


def test_a_best_passage_that_is_missing_lowers_recall():
    rows = np.arange(20, 40)
    exact = Exact(plain_corpus(40), rows)
    scores = exact.by_keywords([1])
    best = list(range(39, 39 - TOP, -1))
    assert exact.recall(scores, best) == 1.0
    assert exact.recall(scores, [*best[:-1], 20]) == 0.9
    assert exact.recall(scores, best[:-1]) == 0.9


def test_a_passage_that_may_not_be_read_counts_as_wrong():
    exact = Exact(plain_corpus(40), np.arange(20))
    scores = exact.by_keywords([1])
    best = list(range(19, 19 - TOP, -1))
    assert exact.recall(scores, best) == 1.0
    assert exact.recall(scores, [39, *best[:-1]]) == 0.9


def test_any_of_the_passages_that_tie_with_the_last_is_right_and_none_replaces_a_better_one():
    exact = Exact(plain_corpus(40), np.arange(40))
    scores = np.array([2.0] + [1.0] * 39)
    assert exact.recall(scores, [0, *range(30, 39)]) == 1.0
    assert exact.recall(scores, list(range(30, 40))) == 0.9


def test_the_nearest_passage_alone_is_found_by_its_vector():
    exact = Exact(plain_corpus(40), np.arange(20, 40))
    scores = exact.by_vector(np.eye(1, DIMENSIONS, 25, dtype=np.float32)[0])
    assert exact.recall(scores, [25]) == 1.0
    assert exact.recall(scores, [26]) == 0.0


def test_rarity_is_counted_among_the_permitted_passages_alone():
    exact = Exact(plain_corpus(40), np.arange(10))
    rarity = math.log(1 + (10 - 10 + 0.5) / (10 + 0.5))
    assert exact.by_keywords([1]) == pytest.approx([rarity * (row + 1) for row in range(10)])
    assert exact.by_keywords([100 + 30]) == pytest.approx([0.0] * 10)


@pytest.mark.parametrize("arguments", [["--passages", str(CLASSES - 1)], ["--queries", "0"]])
def test_too_few_passages_or_queries_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert f"At least {CLASSES} passages" in capsys.readouterr().err
