"""WebVTT (W3C) and SubRip, read and written by webvtt-py."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Iterator

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from atrium_meeting.domain.captions import Caption
from atrium_meeting.domain.errors import TranscriptBroken
from atrium_meeting.domain.imported_transcript import ImportedEntry

_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")


def read_vtt(text: str) -> list[ImportedEntry]:
    """Return the entries of a WebVTT file; a cue with several voices makes one entry for each.

    Raises:
        TranscriptBroken: It breaks the format's rules.
    """
    return list(_entries(text, "vtt", "WebVTT"))


def read_srt(text: str) -> list[ImportedEntry]:
    """Return the entries of a SubRip file.

    Raises:
        TranscriptBroken: It breaks the format's rules.
    """
    return list(_entries(text, "srt", "SubRip"))


def write_vtt(captions: Iterable[Caption]) -> str:
    """Return a WebVTT file; each cue names its voice."""
    file = webvtt.WebVTT()
    for caption in captions:
        text = html.escape("\n".join(caption.lines), quote=False)
        name = html.escape(re.sub(r"[\s>]+", " ", caption.speaker), quote=False)
        file.captions.append(_caption(caption, f"<v {name}>{text}</v>"))
    return f"{str(file.content).rstrip()}\n"


def write_srt(captions: Iterable[Caption]) -> str:
    """Return a SubRip file; each entry begins with the name of who speaks."""
    out = io.StringIO()
    file = webvtt.WebVTT()
    for caption in captions:
        text = f"{caption.speaker}: " + "\n".join(caption.lines)
        # The format has no way to write an arrow that is none of its own.
        file.captions.append(_caption(caption, text.replace("-->", "→")))
    file.write(out, format="srt")
    return f"{out.getvalue().rstrip()}\n"


def _caption(caption: Caption, text: str) -> webvtt.Caption:
    return webvtt.Caption(_clock(caption.start_ms), _clock(caption.end_ms), text)


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _entries(text: str, kind: str, name: str) -> Iterator[ImportedEntry]:
    try:
        captions = webvtt.from_buffer(io.StringIO(text), format=kind).captions
    except (MalformedCaptionError, MalformedFileError) as exc:
        raise TranscriptBroken(name, str(exc).rstrip(".") or "its times cannot be read") from exc
    times = text.count("-->")
    if times != len(captions):
        # The library leaves such entries out; somebody's words would be lost without a sign.
        raise TranscriptBroken(name, f"of {times} entries, {times - len(captions)} have a bad time")
    for caption in captions:
        start_ms, end_ms = _milliseconds(caption.start), _milliseconds(caption.end)
        parts = _VOICE.split(caption.raw_text)
        # Before the first voice, then name and text in turn.
        voices = [("", parts[0]), *zip(parts[1::2], parts[2::2], strict=True)]
        said = [(who.strip(), words) for who, raw in voices if (words := _plain(raw).strip())]
        total = sum(len(words) for _, words in said)
        done = 0
        for who, words in said:
            begin = start_ms + (end_ms - start_ms) * done // total
            done += len(words)
            end = start_ms + (end_ms - start_ms) * done // total
            yield ImportedEntry(begin, end, words, html.unescape(who))


def _plain(raw: str) -> str:
    return html.unescape(webvtt.Caption(text=raw).text)


def _milliseconds(clock: str) -> int:
    return webvtt.models.Timestamp.from_string(clock).in_milliseconds()
