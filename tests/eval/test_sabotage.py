"""One rule for all evaluations that claim zero, with their guard and without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eval.isolation import run as isolation
from tests.eval.isolation.worlds import Tally as IsolationTally
from tests.eval.knowledge_permissions import agreement
from tests.eval.knowledge_permissions import run as permissions
from tests.eval.knowledge_permissions.running import Tally
from tests.figures import ROOT, Figures
from tests.sabotage import BLIND, MISSED, REACHED, exit_code, guard_removed

SMALL = ["--cases", "75", "--pairs", "0", "--processes", "1"]


def figures_with(leaks: int, folder: Path) -> Figures:
    figures = Figures("eval", "small", folder=folder)
    figures.add("leaks", leaks, "count", n=10, target=0, at_most=True)
    return figures


@pytest.mark.parametrize(
    ("removed", "leaks", "expected"),
    [("", 0, REACHED), ("", 2, MISSED), ("1", 2, MISSED), ("index", 2, MISSED), ("1", 0, BLIND)],
)
def test_a_run_without_its_guard_never_passes(
    tmp_path: Path, removed: str, leaks: int, expected: int
) -> None:
    assert exit_code(figures_with(leaks, tmp_path), removed, found=leaks) == expected


def test_a_run_that_misses_another_aim_is_blind_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(figures_with(3, tmp_path), "1", found=0) == BLIND
    assert "SABOTAGE=1 went unnoticed" in capsys.readouterr().err


def test_a_guard_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guard_removed("index") == ""
    monkeypatch.setenv("SABOTAGE", "index")
    assert guard_removed("index") == "index"
    with pytest.raises(SystemExit, match="SABOTAGE=index removes no guard"):
        guard_removed("cache")


def test_no_evaluation_has_a_rule_of_its_own() -> None:
    evaluations = list((ROOT / "tests" / "eval").rglob("*.py"))
    speaking = [
        path
        for path in evaluations
        if "SABOTAGE" in path.read_text("utf-8") and not path.name.startswith("test_")
    ]
    assert len(speaking) >= 8
    for path in speaking:
        text = path.read_text("utf-8")
        assert 'environ.get("SABOTAGE"' not in text, path
        assert "exit_code(" in text, path
        assert "guard_removed(" in text, path


@pytest.mark.parametrize(("leaks", "expected"), [(4, MISSED), (0, BLIND)])
@pytest.mark.parametrize("removed", ["1", "index"])
def test_permissions_end_by_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: str, leaks: int, expected: int
) -> None:
    def asked(*_: object) -> Tally:
        tally = Tally()
        tally.counts["cases"] = tally.looks["candidates"] = 9
        tally.leak("candidates", ["x"] * leaks)
        return tally

    monkeypatch.setenv("SABOTAGE", removed)
    monkeypatch.setattr(permissions, "ask_all", asked)
    assert permissions.main(SMALL, tmp_path) == expected


@pytest.mark.parametrize(("silent", "expected"), [("", MISSED), ("adapters", BLIND)])
def test_every_guard_of_isolation_that_is_removed_must_be_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: str, expected: int
) -> None:
    def probed(*_: object) -> IsolationTally:
        tally = IsolationTally()
        for guard in isolation.GUARDS:
            tally.probes[guard] = tally.sought[guard] = tally.found[guard] = 5
            tally.leaks[guard] = 0 if guard == silent else 2
        return tally

    monkeypatch.setenv("SABOTAGE", "1")
    monkeypatch.setattr(isolation, "probe_all", probed)
    assert isolation.main([], tmp_path) == expected


@pytest.mark.parametrize(("removed", "expected"), [("", REACHED), ("1", MISSED)])
def test_the_agreement_with_casbin_ends_by_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: str, expected: int
) -> None:
    monkeypatch.setenv("SABOTAGE", removed)
    small = ["--samples", "600", "--rules", "110", "--processes", "1"]
    assert agreement.run(small, tmp_path) == expected
