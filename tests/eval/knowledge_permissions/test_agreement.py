from __future__ import annotations

from pathlib import Path

import pytest

from tests.eval.knowledge_permissions.agreement import main
from tests.figures import Figures


@pytest.mark.parametrize(("samples", "rules"), [(2_000, 110), (40, 5_500)])
def test_the_allow_set_agrees_with_casbin(tmp_path: Path, samples: int, rules: int) -> None:
    figures = Figures("eval", "knowledge_permissions", folder=tmp_path)
    assert main(samples, rules, figures=figures) == 0


def test_an_allow_set_without_denies_is_found(tmp_path: Path) -> None:
    figures = Figures("eval", "knowledge_permissions", folder=tmp_path)
    assert main(1_000, 110, sabotage=True, figures=figures) > 0
    assert figures.missed == ["knowledge_permissions.agreement.rules_110.disagreements"]
