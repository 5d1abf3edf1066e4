"""The set is what it was, and the evaluation tells a finder that works from one that does not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from atrium_gateway.domain.pii import Detector, Found, PiiKind

from . import make_chinese, run


def test_the_generator_writes_the_frozen_texts(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("pii")
    monkeypatch.setattr(make_chinese, "DATA", folder)
    make_chinese.main()
    for half in ("tune", "test"):
        name = f"chinese_{half}.jsonl"
        assert (folder / name).read_bytes() == (run.DATA / name).read_bytes()


def test_a_changed_half_is_refused(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("pii")
    (folder / "chinese_test.jsonl").write_text(json.dumps({"text": "", "spans": []}))
    monkeypatch.setattr(run, "DATA", folder)
    with pytest.raises(ValueError, match="not what figures are compared by"):
        run.read_chinese("test")


def test_patterned_kinds_are_found_in_a_part_of_the_texts() -> None:
    scores = run.judge(run.read_chinese("tune")[:64], Detector())
    for kind, score in scores.items():
        assert score.labelled, kind
        assert score.found >= 0.95 * score.labelled, kind
        assert score.right >= 0.95 * score.claimed, kind


def test_what_finds_nothing_or_everything_is_told_apart() -> None:
    def everything(text: str) -> Iterator[Found]:
        yield Found(PiiKind.PHONE, 0, len(text))

    rows = run.read_chinese("tune")[:32]
    nothing = run.judge(rows, Detector([]))[PiiKind.PHONE]
    assert (nothing.found, nothing.claimed) == (0, 0)
    assert nothing.labelled
    whole = run.judge(rows, Detector([everything]))[PiiKind.PHONE]
    assert whole.found == whole.labelled
    assert whole.right < whole.claimed / 2
