"""Reports as Markdown (CommonMark, with tables and strike-through as GitHub reads them)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from atrium_meeting.domain.report import Block, Fact, Heading, Line, Place, Point, Table
from atrium_meeting.domain.transcript import clock

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def write_markdown(blocks: Iterable[Block]) -> str:
    """Return a report; each sentence links to the line of the transcript that it rests on."""
    out: list[str] = []
    before: type[Block] | None = None
    for block in blocks:
        # Facts and points are list items, so that they stand close.
        if before is not None and not (type(block) is before and before in (Fact, Point)):
            out.append("")
        out.append(_block(block))
        before = type(block)
    return "\n".join(out) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_text(text)}"
        case Fact(label, value):
            return f"- **{_text(label)}:** {_text(value)}"
        case Point(text, places, label):
            start = f"**{_text(label.rstrip())}** " if label else ""
            return f"- {start}{_text(text)} {_links(places)}".rstrip()
        case Table(header, rows, places):
            lines = [_row(map(_text, header)), _row("---" for _ in header)]
            lines += [
                _row([*map(_text, row), _links(where)])
                for row, where in zip(rows, places, strict=True)
            ]
            return "\n".join(lines)
        case Line(place, parts):
            said = "".join(_struck(text) if struck else _text(text) for text, struck in parts)
            who = f"**{_text(place.speaker)}** {clock(place.start_ms)}"
            return f'<a id="{place.utterance}"></a>{who}  \n{said}'


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _links(places: Iterable[Place]) -> str:
    return " ".join(f"[[{clock(place.start_ms)}](#{place.utterance})]" for place in places)


def _struck(text: str) -> str:
    """Return text struck out; the marks must touch the words, not the space before them."""
    inner = text.strip()
    start = text.index(inner)
    return f"{text[:start]}~~{_text(inner)}~~{text[start + len(inner) :]}"


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()) if text.strip() == text else text)
