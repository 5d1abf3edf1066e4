"""How the command speaks: to people in a terminal, to pipes, and to programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.cells import cell_len, split_text
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 10_000
# A line may end after any Chinese character, but not before a closing mark.
_PIECES = re.compile(
    "[\u3400-\u9fff\u3000-\u303f\uff00-\uffef][，。、；：？！）】》”’]*\\s*"
    "|[^\\s\u3400-\u9fff\u3000-\u303f\uff00-\uffef]+\\s*|\\s+"
)
# Control characters and the marks that turn the direction of writing could make a terminal show
# something else than what is there.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def make_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console; without a terminal it has no colours and does not break lines."""
    stream = sys.stderr if stderr else sys.stdout
    if width is None and not stream.isatty():
        width = _PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False)


def printable(text: str) -> str:
    """Return a text from a document or a server without what steers terminals."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def plain(text: str, style: str = "") -> Text:
    """Return a text from outside as it stands: no markup in it has a meaning."""
    return Text(printable(text), style=style)


def wrap(text: str, width: int, *, lines: int | None = None) -> list[str]:
    """Break a text into lines of at most ``width`` cells, Chinese between any two characters.

    Args:
        text: White space in it counts as one space.
        width: Cells in a line; a Chinese character takes two.
        lines: Most lines; what does not fit is cut and marked with an ellipsis.
    """
    broken = [""]
    for piece in _PIECES.findall(" ".join(text.split())):
        if broken[-1] and cell_len(broken[-1] + piece.rstrip()) > width:
            broken[-1] = broken[-1].rstrip()
            broken.append("")
        broken[-1] += piece
        while cell_len(broken[-1].rstrip()) > width:
            head, rest = split_text(broken[-1], width)
            broken[-1:] = [head, rest]
    if lines is None or len(broken) <= lines:
        return broken
    last = broken[lines - 1].rstrip()
    while cell_len(last) > width - 2:
        last = last[:-1]
    return [*broken[: lines - 1], f"{last} …"]


def make_table(*columns: str, title: str | None = None, whole: Sequence[str] = ()) -> Table:
    """Return a table without lines, which reads well in a pipe too.

    Args:
        columns: Their headings.
        title: Stands above it.
        whole: Columns that are never broken: what people copy into the next command.
    """
    table = Table(box=None, title=title, title_justify="left", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, header_style="bold", overflow="fold", no_wrap=column in whole)
    return table


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a row whose strings come from outside."""
    table.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in cells))


def print_rows(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    empty: str,
    whole: Sequence[str] = (),
) -> None:
    """Print a table, or a sentence when it has no rows; ``whole`` columns are never broken."""
    table = make_table(*columns, whole=whole)
    for row in rows:
        add_row(table, *row)
    console = make_console()
    if not table.row_count:
        console.print(empty)
    elif console.is_terminal:
        console.print(table)
    else:
        # Programs that read lines want no filling at their ends.
        with console.capture() as printed:
            console.print(table)
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in printed.get().splitlines())


def to_dict(message: Message) -> dict[str, Any]:
    """Return a message as its proto names it, with the fields that are not set."""
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def print_json(value: Message | Sequence[Message] | dict[str, Any]) -> None:
    """Print for programs: one JSON document."""
    if isinstance(value, Message):
        data: Any = to_dict(value)
    elif isinstance(value, dict):
        data = value
    else:
        data = [to_dict(each) for each in value]
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def megabytes(size: float) -> str:
    """Return a size in bytes for people."""
    if size < 1e5:
        return f"{size / 1e3:,.1f} kB"
    return f"{size / 1e6:,.1f} MB" if size < 1e7 else f"{size / 1e6:,.0f} MB"


def show_path(path: Path) -> str:
    """Return a path relative to the current folder where it lies in it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
