"""Characters and line breaks: what a person cannot see leaves the text, the rest stays as it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Sequence
from typing import Final

# Han, kana, CJK punctuation and full-width forms: scripts that are written without spaces.
_UNSPACED: Final = (
    "\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff“”‘’—…·"
)
_HAN_CLASS: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_CHAR: Final = re.compile(f"[{_UNSPACED}]")
HAN: Final = re.compile(f"[{_HAN_CLASS}]")

# Controls except tab and newline, lone surrogates, byte order marks, zero-width characters that
# only steer line breaking, and noncharacters. Joiners (U+200C, U+200D) stay: emoji need them.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_NEWLINES: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACES: Final = re.compile("[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_ODD_SPACE: Final = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f]")
_AROUND_NEWLINE: Final = re.compile(" ?\n[ \n]*")
_TRAILING: Final = re.compile("[ \t\u3000]+(?=\n|$)")
_MANY_BLANK_LINES: Final = re.compile("\n{3,}")

# Fonts of PDF files often map glyphs to presentation forms that nobody types or searches for.
_PRESENTATION: Final = re.compile("[\ufb00-\ufb06\u2e80-\u2fd5\uf900-\ufaff]")

WORD: Final = re.compile(r"\w")
_ENDS_IN_HYPHEN: Final = re.compile(r"[^\W\d_][-\u2010]$")
_LAST_WORD: Final = re.compile(r"(\w+)[-\u2010]$")
_FIRST_WORD: Final = re.compile(r"\w+")


def visible(text: str) -> str:
    """Return ``text`` without invisible characters, every line break as a line feed."""
    if text.isascii() and text.isprintable():
        return text
    return _INVISIBLE.sub("", _NEWLINES.sub("\n", text))


def needs_cleaning(text: str) -> bool:
    """Tell whether `visible` or `plain_forms` would change anything but line breaks."""
    return bool(_INVISIBLE.search(text) or _PRESENTATION.search(text))


def flowing(text: str) -> str:
    """Clean running text: runs of spaces become one, lines are trimmed, empty lines go."""
    text = _SPACES.sub(" ", visible(text))
    if "\n" in text:
        text = _AROUND_NEWLINE.sub("\n", text)
    return text.strip(" \n")


def one_line(text: str) -> str:
    """Clean running text and put its lines behind one another."""
    text = flowing(text)
    return join_lines(text.split("\n")) if "\n" in text else text


def verbatim(text: str) -> str:
    """Clean text whose indentation means something, such as code."""
    text = _ODD_SPACE.sub(" ", visible(text))
    return _MANY_BLANK_LINES.sub("\n\n", _TRAILING.sub("", text)).strip("\n")


def plain_forms(text: str) -> str:
    """Replace ligatures, Kangxi radicals and compatibility ideographs by the usual characters."""
    return _PRESENTATION.sub(lambda m: unicodedata.normalize("NFKC", m.group()), text)


def display_width(text: str) -> int:
    """Return the columns of a terminal that a text takes: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def join_lines(lines: Sequence[str], divided: Container[str] | None = None) -> str:
    """Join the lines of one paragraph: no space inside Chinese, one elsewhere.

    Args:
        lines: Lines as they stand on the page.
        divided: Given where words may have been divided at line ends (set type): a hyphen there
            is taken out before a small letter, unless the hyphenated word is among these. Without
            it a hyphen stays.
    """
    if len(lines) == 1:
        return lines[0]
    parts: list[str] = []
    last = ""
    for line in lines:
        line = line.strip(" ")
        if not line:
            continue
        if last:
            if divided is not None and _is_divided(last, line, divided):
                parts[-1] = parts[-1][:-1]
            else:
                parts.append(_glue(last, line))
        parts.append(line)
        last = line
    return "".join(parts)


def _is_divided(before: str, after: str, whole: Container[str]) -> bool:
    if not (_ENDS_IN_HYPHEN.search(before) and after[0].islower()):
        return False
    head = _LAST_WORD.search(before)
    tail = _FIRST_WORD.match(after)
    return not (head and tail and f"{head.group(1)}-{tail.group()}".lower() in whole)


def _glue(before: str, after: str) -> str:
    if _ENDS_IN_HYPHEN.search(before) or (before[-1] == "/" and after[0].isalnum()):
        return ""
    if _UNSPACED_CHAR.match(before[-1]) and _UNSPACED_CHAR.match(after[0]):
        return "" if _is_unspaced_pair(before[-1], after[0]) else " "
    if HAN.match(before[-1]) or HAN.match(after[0]) or before[-1] in "，。、；：）》】”":
        return ""
    return " "


def _is_unspaced_pair(before: str, after: str) -> bool:
    """Quotes, dashes and dots stand in English too: they need a Chinese neighbour."""
    shared = "“”‘’—…·"
    return not (before in shared and after in shared)


def collapse_markup_space(text: str) -> str:
    """Collapse white space as a browser does, but drop a line break between Chinese characters."""
    if "\n" in text:
        lines = [_SPACES.sub(" ", line) for line in text.split("\n")]
        out = lines[0]
        for line in lines[1:]:
            stripped = line.lstrip(" ")
            before = out.rstrip(" ")
            if before and stripped and HAN.match(before[-1]) and HAN.match(stripped[0]):
                out = before + stripped
            else:
                out = f"{before} {stripped}"
        return out
    return _SPACES.sub(" ", text)
