"""Meetings: what is known of one beside its words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from atrium_meeting.domain.errors import MeetingBusy, MeetingHasTranscript, MeetingNotFound

_NAME: Final = re.compile(r"meetings/(?P<id>[a-z0-9][a-z0-9-]{0,62})")


class ChineseScript(StrEnum):
    """How Chinese is written."""

    SIMPLIFIED = "simplified"
    TRADITIONAL = "traditional"


class MeetingState(StrEnum):
    """How far a meeting is."""

    EMPTY = "empty"
    TRANSCRIBING = "transcribing"
    LIVE = "live"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SpeakerSummary:
    """Somebody who speaks in a meeting.

    Args:
        id: Identifier within the meeting, "S1".
        display_name: Name for people; empty where it is not known.
        speaking_ms: How long they spoke, in milliseconds.
        suggested_name: What they are probably called; see `Speaker`.
    """

    id: str
    display_name: str = ""
    speaking_ms: int = 0
    suggested_name: str = ""


@dataclass(frozen=True, slots=True)
class Meeting:
    """A meeting.

    Args:
        tenant: Whose.
        uid: Identifier that is never used again; files and rows hang on it.
        id: Identifier within the tenant, "m1".
        title: For people; may be empty.
        start_time: When it began; ``None``: when it was created.
        languages: Expected languages; empty: found out.
        chinese_script: How Chinese is written.
        hotwords: Names and terms that recognition should expect, beside the tenant's own.
        agenda: Item by item.
        labels: Who holds any of them may read it; empty: everyone of the tenant.
        speaker_count: How many speakers there are; 0: found out.
        state: How far it is.
        duration_ms: From the beginning to the last word, in milliseconds.
        speakers: In order of their first words.
        transcript_version: Newest version; 0: no transcript.
        failure_reason: Why it failed, as programs read it; empty unless it failed.
        failure_message: The same in plain words.
        create_time: When it was created.
        creator: The user who created it, "users/lin"; may always read it.
        truncated: The end of the recording could not be read.
    """

    tenant: str
    uid: str
    id: str
    title: str
    start_time: datetime | None
    languages: tuple[str, ...]
    chinese_script: ChineseScript
    hotwords: tuple[str, ...]
    agenda: tuple[str, ...]
    labels: frozenset[str]
    speaker_count: int
    create_time: datetime
    creator: str
    state: MeetingState = MeetingState.EMPTY
    duration_ms: int = 0
    speakers: tuple[SpeakerSummary, ...] = field(default=())
    transcript_version: int = 0
    failure_reason: str = ""
    failure_message: str = ""
    truncated: bool = False

    @property
    def name(self) -> str:
        """Resource name, "meetings/m1"."""
        return f"meetings/{self.id}"

    @property
    def folder(self) -> str:
        """Where its files lie in the file store."""
        return f"{self.tenant}/{self.uid}"

    @property
    def began(self) -> datetime:
        """When it began, as far as it is known."""
        return self.start_time or self.create_time

    def check_free(self) -> None:
        """Do nothing when a recording or a transcript of it may be taken in.

        Raises:
            MeetingHasTranscript: It has a transcript.
            MeetingBusy: A recording of it is worked on, or it is live.
        """
        if self.state in (MeetingState.TRANSCRIBING, MeetingState.LIVE):
            raise MeetingBusy(self.name)
        if self.transcript_version:
            raise MeetingHasTranscript(self.name)


def meeting_id(name: str) -> str:
    """Return the identifier in a resource name.

    Raises:
        MeetingNotFound: It is no name of a meeting.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise MeetingNotFound(name)
    return match["id"]


def merge_hotwords(of_meeting: Iterable[str], of_tenant: Iterable[str]) -> tuple[str, ...]:
    """Return both without repetitions, the meeting's first: room may be short."""
    return tuple(dict.fromkeys([*of_meeting, *of_tenant]))
