"""A small run of the evaluation, and that it notices what it is there to notice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.eval.calculation.hostile import Bait, categories, hostile
from tests.eval.calculation.run import main

SMALL = ["--programs", "210", "--hostile-every", "19", "--problems", "0"]


async def test_a_small_run_finds_nothing_wrong(tmp_path: Path) -> None:
    assert await main(SMALL, tmp_path) == 0
    lines = (tmp_path / "calculation.jsonl").read_text().splitlines()
    figures = [json.loads(line) for line in lines]
    values = {figure["name"]: figure["value"] for figure in figures}
    assert values["calculation.programs.unequal"] == 0
    assert values["calculation.hostile.escapes"] == 0


async def test_a_sabotaged_run_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SABOTAGE", "1")
    small = ["--programs", "70", "--hostile-every", "7", "--problems", "0"]
    assert await main(small, tmp_path) == 1


def test_there_are_enough_hostile_programs_of_every_kind() -> None:
    programs = hostile(Bait(Path("/a"), Path("/b"), 1, "C"))
    assert len(programs) >= 500
    assert {each.category for each in programs} == set(categories())
