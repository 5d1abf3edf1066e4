"""Transcripts from files and meetings to files, by format."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from atrium_documents.decoding import decode
from atrium_meeting.adapters.caption_files import read_srt, read_vtt, write_srt, write_vtt
from atrium_meeting.adapters.docx_report import write_docx
from atrium_meeting.adapters.json_transcript import read_json, transcript_to_json
from atrium_meeting.adapters.markdown_report import write_markdown
from atrium_meeting.app.meeting_files import ExportedMeeting, FileFormat, MeetingFile
from atrium_meeting.domain.captions import cut_captions
from atrium_meeting.domain.errors import TranscriptBroken, TranscriptFormatUnknown
from atrium_meeting.domain.imported_transcript import build_transcript
from atrium_meeting.domain.report import compose_report
from atrium_meeting.domain.transcript import Transcript

_MEDIA_TYPES = {
    FileFormat.MD: "text/markdown",
    FileFormat.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    FileFormat.SRT: "application/x-subrip",
    FileFormat.VTT: "text/vtt",
    FileFormat.JSON: "application/json",
}


class TranscriptFiles:
    """Reads WebVTT, SubRip and JSON; writes these, Markdown and Word."""

    def read(self, content: bytes, kind: FileFormat | None) -> Transcript:
        """Return the transcript of a file; see ``MeetingFiles.read``."""
        text, _ = decode(content)
        match found := kind or _detect(text):
            case FileFormat.VTT:
                transcript = build_transcript(read_vtt(text))
            case FileFormat.SRT:
                transcript = build_transcript(read_srt(text))
            case FileFormat.JSON:
                transcript = read_json(text)
            case _:
                raise TranscriptFormatUnknown
        if any("\0" in one for one in _strings(transcript)):
            raise TranscriptBroken(found.name, "it holds the character U+0000; leave it out")
        return transcript

    def write(self, meeting: ExportedMeeting, kind: FileFormat) -> MeetingFile:
        """Return the file of a meeting; see ``MeetingFiles.write``."""
        return MeetingFile(
            filename=f"{_stem(meeting.title) or 'meeting'}.{kind.value}",
            media_type=_MEDIA_TYPES[kind],
            content=_content(meeting, kind),
        )


def _strings(transcript: Transcript) -> Iterator[str]:
    for speaker in transcript.speakers:
        yield speaker.display_name
    for utterance in transcript.utterances:
        yield utterance.language
        yield from (word.text for word in utterance.words)


def _content(meeting: ExportedMeeting, kind: FileFormat) -> bytes:
    captions = cut_captions(meeting.transcript, clean=meeting.clean)
    match kind:
        case FileFormat.VTT:
            return write_vtt(captions).encode()
        case FileFormat.SRT:
            return write_srt(captions).encode()
        case FileFormat.JSON:
            whole = {
                "title": meeting.title,
                "start_time": meeting.start_time,
                **transcript_to_json(meeting.transcript, clean=meeting.clean),
                "minutes": meeting.minutes,
            }
            return orjson.dumps(whole, option=orjson.OPT_INDENT_2)
    report = compose_report(
        meeting.title,
        meeting.start_time,
        meeting.transcript,
        meeting.minutes,
        language=meeting.language,
        clean=meeting.clean,
    )
    return write_docx(report) if kind is FileFormat.DOCX else write_markdown(report).encode()


def _detect(text: str) -> FileFormat | None:
    begin = text.lstrip("\ufeff \t\r\n")
    if begin.startswith("WEBVTT"):
        return FileFormat.VTT
    if begin.startswith("{"):
        return FileFormat.JSON
    return FileFormat.SRT if re.search(r"\d\d:\d\d:\d\d,\d{3}\s*-->", text) else None


def _stem(title: str) -> str:
    """Return a title as a name of a file that every system takes."""
    return re.sub(r"[^\w.-]+", "-", title).strip("-.")[:80]
