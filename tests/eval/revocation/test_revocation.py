"""The evaluation on a small size: it finds nothing, and finds what sabotage lets through."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eval.revocation.run import measure
from tests.figures import Figures

# Three processes start, and whoever is cut off keeps its lease for five seconds.
pytestmark = pytest.mark.timeout(300)


async def test_what_is_revoked_is_refused_in_every_process(tmp_path: Path) -> None:
    figures = Figures("eval", "revocation", folder=tmp_path)
    await measure(figures, tmp_path, rounds=3, cuts=["network"])
    # How long it takes on a busy machine is for the evaluation to say.
    broken = {name for name in figures.missed if "seen" in name or "named" in name}
    assert not broken


@pytest.mark.parametrize(
    ("sabotage", "rounds", "cuts", "found"),
    [
        ("changes", 1, (), "revocation.seen_after_revoke_returned"),
        ("leases", 0, ("network",), "revocation.cut_off.network.seen_after_revoke_returned"),
    ],
)
async def test_a_process_that_ignores_the_feed_is_found(
    tmp_path: Path, sabotage: str, rounds: int, cuts: tuple[str, ...], found: str
) -> None:
    figures = Figures("eval", "revocation", folder=tmp_path)
    await measure(figures, tmp_path, rounds=rounds, cuts=cuts, sabotage=sabotage)
    assert found in figures.missed
