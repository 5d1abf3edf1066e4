"""Bytes of unknown encoding -> text."""

from __future__ import annotations

import codecs
import re
from typing import Final

from charset_normalizer import from_bytes

_BOMS: Final = (
    # UTF-32's little-endian mark begins with UTF-16's, so it is tried first.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# GB18030 contains GBK and GB2312, whose names files and mails still carry.
_WIDER: Final = {"gb2312": "gb18030", "gbk": "gb18030", "ascii": "utf-8", "iso8859-1": "cp1252"}
_SAMPLE: Final = 30_000
_GB_FIRST_LEVEL: Final = re.compile(rb"[\xb0-\xd7][\xa1-\xfe]")
_GB_PUNCTUATION: Final = re.compile(rb"[\xa1-\xa3][\xa1-\xfe]")
_HIGH: Final = re.compile(rb"[\x80-\xff]+")
_CONTROLS: Final = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 26, 27})


def looks_binary(data: bytes) -> bool:
    """Tell whether ``data`` cannot be text in any encoding read here."""
    head = data[:8192]
    if any(head.startswith(bom) for bom, _ in _BOMS) or _utf16_without_mark(head):
        return False
    if b"\0" in head:
        return True
    controls = len(head) - len(head.translate(None, _CONTROLS))
    return controls > 0.02 * len(head)


def decode(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """Return the text and the name of the encoding it was in.

    In order: byte order mark; the declared encoding; UTF-8; UTF-16 without a mark; GB18030 where
    most characters are everyday ones; what charset-normalizer finds; Windows-1252, which cannot
    fail. Bytes that the encoding does not know become U+FFFD only in the last resort.
    """
    for bom, name in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(name, "replace"), name
    for candidate in (_lookup(declared), "utf-8"):
        if candidate:
            try:
                return data.decode(candidate), candidate
            except (UnicodeDecodeError, LookupError):
                continue
    utf16 = _utf16_without_mark(data[:8192])
    if utf16:
        return data.decode(utf16, "replace"), utf16
    cut_off = _cut_off_utf8(data)
    if cut_off is not None:
        return cut_off, "utf-8"
    sample = _telling_sample(data)
    guess = "gb18030" if _is_everyday_gb(sample) else _guess(sample)
    for candidate in (guess, "gb18030"):
        if candidate:
            try:
                return data.decode(candidate), candidate
            except UnicodeDecodeError:
                continue
    return data.decode("cp1252", "replace"), "cp1252"


def _lookup(name: str | None) -> str | None:
    if not name:
        return None
    try:
        found = codecs.lookup(name.strip().strip("\"'")).name
    except LookupError:
        return None
    return _WIDER.get(found, found)


def _utf16_without_mark(head: bytes) -> str | None:
    """ASCII in UTF-16 has a zero in every second byte."""
    if len(head) < 4:
        return None
    even, odd = head[0::2], head[1::2]
    if odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.05 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.7 * len(even) and odd.count(0) < 0.05 * len(odd):
        return "utf-16-be"
    return None


def _cut_off_utf8(data: bytes) -> str | None:
    """UTF-8 with a few broken bytes (a cut-off end, a stray byte) is still UTF-8."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    other = sum(len(run.group()) for run in _HIGH.finditer(data)) - broken
    return text if broken <= 3 and other > 20 * broken else None


def _telling_sample(data: bytes) -> bytes:
    """The lines that hold something else than ASCII, up to a sample's size."""
    if len(data) <= _SAMPLE:
        return data
    lines: list[bytes] = []
    size = 0
    for match in re.finditer(rb"[^\n]*[\x80-\xff][^\n]*\n?", data):
        lines.append(match.group()[:2000])
        size += len(lines[-1])
        if size > _SAMPLE:
            break
    return b"".join(lines)


def _is_everyday_gb(sample: bytes) -> bool:
    """GB2312 puts the 3,755 commonest characters on rows 0xB0-0xD7; other encodings scatter."""
    runs = _HIGH.findall(sample)
    high = sum(map(len, runs))
    if not high:
        return False
    # Western text has its accented letters one by one among ASCII letters.
    if sum(len(run) for run in runs if len(run) >= 4) < 0.5 * high:
        return False
    common = sum(len(_GB_FIRST_LEVEL.findall(run)) for run in runs)
    marks = sum(len(_GB_PUNCTUATION.findall(run)) for run in runs)
    return 2 * (common + marks) > 0.92 * high and common > marks


def _guess(sample: bytes) -> str | None:
    best = from_bytes(
        sample,
        cp_isolation=["gb18030", "big5", "cp932", "euc_jp", "euc_kr", "cp1252", "cp1250", "cp1251"],
    ).best()
    return best.encoding if best else None
