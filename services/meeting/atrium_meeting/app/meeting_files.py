"""Meetings as files: what use cases need to read and write them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from atrium_meeting.domain.minutes import Minutes
from atrium_meeting.domain.transcript import Transcript


class FileFormat(StrEnum):
    """A kind of file; its value is how names of such files end."""

    MD = "md"
    DOCX = "docx"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ExportedMeeting:
    """What is written of a meeting.

    Args:
        title: The meeting's; may be empty.
        start_time: When it began, where that is known.
        transcript: What was said.
        minutes: Minutes of that version of the transcript, or none.
        language: Of headings, "zh" or "en".
        clean: Whether words that the clean view leaves out are left out.
    """

    title: str
    start_time: datetime | None
    transcript: Transcript
    minutes: Minutes | None
    language: str
    clean: bool


@dataclass(frozen=True, slots=True)
class MeetingFile:
    """A file with a name for people and its media type."""

    filename: str
    media_type: str
    content: bytes


class MeetingFiles(Protocol):
    """Transcripts from files, meetings to files. Blocks; run in a thread."""

    def read(self, content: bytes, kind: FileFormat | None) -> Transcript:
        """Return the transcript of a WebVTT, SubRip or JSON file.

        Args:
            content: The file, in any usual encoding.
            kind: Its format; ``None``: found out.

        Raises:
            TranscriptRefused: It cannot be read; a subclass says why.
        """

    def write(self, meeting: ExportedMeeting, kind: FileFormat) -> MeetingFile:
        """Return the file of a meeting."""
