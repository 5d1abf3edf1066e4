"""The evaluation counts characters as it says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from atrium_meeting.adapters.tagger_cleaner import TaggerCleaner
from atrium_meeting.domain.transcript import split_words

from .run import Row, characters, judge, lost, mark, network_alone, read_rows


def test_rows_whose_labels_do_not_fit_are_dropped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        for labels in ("100", "10"):
            lines.write(json.dumps({"content": "嗯好的", "disfluency_label": labels}) + "\n")
    assert read_rows(path) == ([Row("嗯好的", "100")], 1)


def test_words_give_their_labels_to_their_letters_and_to_nothing_else() -> None:
    text = "嗯，用 ok 吧"
    words = split_words(text)
    assert characters(text, words, ["1", "0", "2", "0"]) == "10002200"


def test_right_claimed_and_true_are_counted() -> None:
    rows = [Row("我我们嗯走", "20010")]
    score = judge(rows, ["20200"])
    assert (score.right, score.typed, score.claimed, score.true) == (1, 1, 2, 2)
    assert score.precision == score.recall == score.f1 == 0.5
    assert judge(rows, ["10010"]).typed == 1


def test_numbers_and_negations_that_are_gone_are_counted() -> None:
    assert lost([Row("不要不要三", "")], ["22002"]) == 1
    assert lost([Row("不要不要三", "")], ["22000"]) == 0


def test_the_tagger_that_ships_finds_plain_disfluencies() -> None:
    rows = [
        Row("嗯我们今天讨论预算", "100000000"),
        Row("他他觉得这个方案可以", "2000000000"),
        Row("因为因为天气不好", "22000000"),
        Row("我们明天下午开会", "00000000"),
    ]
    cleaner = TaggerCleaner()
    score = judge(rows, mark(cleaner, rows))
    assert score.f1 == 1
    assert score.typed_f1 == 1
    assert network_alone(cleaner, rows, 0.9)[1].f1 > 0.8
