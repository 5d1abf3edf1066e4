"""Figures of benches and evaluations: one JSON line each, printed and kept.

Run benches and evaluations as modules from the repository's root (`make bench`, `make eval`), so
that `from tests.figures import Figures` finds this file.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Figures:
    """Prints figures and appends them to `var/<kind>/<area>.jsonl`.

    Args:
        kind: `bench` or `eval`.
        area: What is measured, the first part of every name: `ingest`.
        folder: Where the file goes. None: `var/<kind>` in the repository.
    """

    def __init__(self, kind: str, area: str, *, folder: Path | None = None) -> None:
        self._area = area
        self._file = (folder or ROOT / "var" / kind) / f"{area}.jsonl"
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._missed: list[str] = []

    @property
    def missed(self) -> list[str]:
        """Names of the figures that did not reach their target."""
        return list(self._missed)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        n: int,
        target: float | None = None,
        at_most: bool = False,
        baseline: float | None = None,
    ) -> None:
        """Print one figure and append it to the file.

        Args:
            name: Without the area: `docx.docs_per_second` becomes `ingest.docx.docs_per_second`.
            value: What was measured.
            unit: `1/s`, `MB/s`, `share`, `tokens/s`, `s`.
            n: Number of things measured.
            target: What it should reach, or stay under with `at_most`.
            at_most: Whether less is better.
            baseline: The same measured the plain way in the same run.
        """
        figure = {
            "name": f"{self._area}.{name}",
            "value": _short(value),
            "unit": unit,
            "n": n,
            "target": target,
            "baseline": None if baseline is None else _short(baseline),
        }
        if target is not None and (value > target if at_most else value < target):
            self._missed.append(figure["name"])
        print(json.dumps(figure, ensure_ascii=False), flush=True)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**figure, "run": self._started}, ensure_ascii=False) + "\n")


def _short(value: float) -> float:
    return float(f"{value:.4g}") if abs(value) < 10_000 else round(value)
