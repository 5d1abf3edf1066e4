"""The demo's transcript: everything that was shown, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from atrium_suite.terminal.output import printable


class Transcript:
    """Grows with the demo and is on disk after each part, so that a broken run leaves one too.

    Args:
        file: Where it goes; replaced when it exists.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("", encoding="utf-8")

    def heading(self, text: str, *, level: int = 2) -> None:
        """Begin a section."""
        self._write(f"{'#' * level} {text}\n")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._write(f"{printable(text)}\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table."""
        lines = [columns, ["---"] * len(columns), *rows]
        self._write("".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines))

    def _write(self, text: str) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def _cell(text: str) -> str:
    text = printable(text).replace("|", "\\|")
    return "<br>".join(line.strip() for line in text.splitlines() if line.strip())
