"""Evaluations that claim zero, with the guard removed, and what an evaluation exits with.

An evaluation that reports no leak proves something only if it reports leaks where there are some.
So `SABOTAGE=1` removes the guard under test (some evaluations name several, and take a name in
place of 1), and one rule holds for all of them:

- exit code 0: every aim was reached, with the guard in place;
- 1: an aim was missed. With its guard removed an evaluation must end so, because it reports leaks;
- 3: with the guard removed it reported nothing. It sees nothing, and its zeros say nothing.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from tests.figures import Figures

REACHED: Final = 0
MISSED: Final = 1
BLIND: Final = 3


def guard_removed(*guards: str) -> str:
    """Return which guard the run has to do without: a name, "1" for the whole, "" for none.

    Args:
        guards: Names that SABOTAGE may take besides 1.

    Raises:
        SystemExit: It is something else. The run would pass for one with its guard in place.
    """
    wanted = os.environ.get("SABOTAGE", "")
    if wanted not in ("", "1", *guards):
        known = ", ".join(("1", *guards))
        raise SystemExit(f"SABOTAGE={wanted} removes no guard. It takes: {known}")
    return wanted


def exit_code(figures: Figures, removed: str, *, found: int) -> int:
    """Say how an evaluation ended, and return what it exits with.

    Args:
        figures: What it measured.
        removed: What :func:`guard_removed` returned.
        found: How much it reported of what must be zero. Where several guards were removed: by
            which fewest was reported.
    """
    if removed and not found:
        print(
            f"SABOTAGE={removed} went unnoticed: with its guard removed this evaluation reported "
            "nothing, so that it proves nothing.",
            file=sys.stderr,
        )
        return BLIND
    if removed:
        print(
            f"SABOTAGE={removed}: {found} reported, as it must be; the evaluation fails.",
            file=sys.stderr,
        )
        return MISSED
    if figures.missed:
        print(f"Missed: {', '.join(figures.missed)}", file=sys.stderr)
        return MISSED
    return REACHED
