"""Markdown: CommonMark with tables, strikethrough and front matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from atrium_documents.builder import DocumentBuilder
from atrium_documents.cleaning import join_lines, visible
from atrium_documents.decoding import decode
from atrium_documents.formats.html_file import add_html
from atrium_documents.model import BlockKind
from atrium_documents.reading import Reading
from atrium_documents.tables import column_names, row_text

_ENGINE: Final = f"markdown-it-py {version('markdown-it-py')}"
# Lists nest two levels each; the preset's 20 would lose the text of a list within ten others.
_PARSER: Final = MarkdownIt("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])
_FRONT_MATTER: Final = re.compile(r"\A---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE: Final = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_BREAK: Final = re.compile(r"<br\s*/?>", re.IGNORECASE)


def read(reading: Reading) -> None:
    """Read a Markdown file. A title in the front matter becomes the document's title."""
    text, _ = decode(reading.data)
    reading.builder.used(_ENGINE)
    text = visible(text)
    front = _FRONT_MATTER.match(text)
    if front:
        title = _TITLE.search(front.group(1) or "")
        if title:
            reading.builder.title = title.group(1).strip("\"'")
        text = text[front.end() :]
    _add(reading.builder, _PARSER.parse(text))


def _add(builder: DocumentBuilder, tokens: Sequence[Token]) -> None:
    lists: list[int | None] = []
    """One entry per open list: the next number, or None for bullets."""
    first_in_item = False
    index = 0
    while index < len(tokens):
        token = tokens[index]
        match token.type:
            case "heading_open":
                text = _inline(tokens[index + 1])
                builder.add(BlockKind.HEADING, text, level=int(token.tag[1:]))
                index += 2
            case "bullet_list_open":
                lists.append(None)
            case "ordered_list_open":
                lists.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
            case "list_item_open":
                first_in_item = True
            case "paragraph_open":
                text = _inline(tokens[index + 1])
                if lists and first_in_item:
                    builder.add(BlockKind.LIST_ITEM, _numbered(lists, text))
                    first_in_item = False
                else:
                    builder.add(BlockKind.PARAGRAPH, text)
                index += 2
            case "fence" | "code_block":
                builder.add(BlockKind.CODE, token.content)
            case "html_block":
                add_html(builder, token.content)
            case "table_open":
                end = next(i for i in range(index, len(tokens)) if tokens[i].type == "table_close")
                for line in _table(tokens[index:end]):
                    builder.add(BlockKind.TABLE_ROW, line)
                index = end
        index += 1


def _numbered(lists: list[int | None], text: str) -> str:
    number = lists[-1]
    if number is None:
        return text
    lists[-1] = number + 1
    return f"{number}. {text}"


def _inline(token: Token) -> str:
    """The text a reader sees: no markup, no link targets; pictures by their description."""
    parts: list[str] = []
    for child in token.children or ():
        match child.type:
            case "text" | "code_inline":
                parts.append(child.content)
            case "softbreak":
                parts.append("\r")
            case "hardbreak":
                parts.append("\n")
            case "image":
                parts.append(child.content)
            case "html_inline" if _BREAK.match(child.content):
                parts.append("\n")
    return "\n".join(join_lines(line.split("\r")) for line in "".join(parts).split("\n"))


def _table(tokens: Sequence[Token]) -> Iterator[str]:
    names: list[str] | None = None
    row: list[str] = []
    for place, token in enumerate(tokens):
        match token.type:
            case "tr_open":
                row = []
            case "th_open" | "td_open":
                row.append(_inline(tokens[place + 1]).replace("\n", " "))
            case "tr_close":
                yield row_text(row, names)
            case "thead_close":
                names = column_names([row])
