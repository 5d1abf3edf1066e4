"""Return a page of a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.stores import TranscriptStore, UtteranceCursor, VersionInfo
from atrium_meeting.domain.errors import MeetingHasNoTranscript, TranscriptVersionNotFound
from atrium_meeting.domain.meetings import Meeting
from atrium_meeting.domain.transcript import Utterance
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.paging import (
    PageTokenInvalid,
    cursor_number,
    decode_page_cursor,
    encode_page_token,
    page_size,
)
from atrium_shared.principal import Principal

DEFAULT_UTTERANCES: Final = 200
WORDS_A_PAGE: Final = 20_000
"""Most words of a page, so that it fits into a message."""


@dataclass(frozen=True, slots=True)
class TranscriptPage:
    """A page of a transcript.

    Args:
        meeting: The meeting.
        version: Which version.
        utterances: In order of time.
        next_page_token: Empty on the last page.
    """

    meeting: Meeting
    version: VersionInfo
    utterances: Sequence[Utterance]
    next_page_token: str


class GetTranscript:
    """The use case."""

    def __init__(self, find: FindMeeting, transcripts: TranscriptStore, audit: AuditTrail) -> None:
        self._find = find
        self._transcripts = transcripts
        self._audit = audit

    async def __call__(
        self, principal: Principal, name: str, version: int, size: int, token: str
    ) -> TranscriptPage:
        """Return a page.

        Args:
            principal: Who reads.
            name: Of which meeting.
            version: Which version; 0: the newest.
            size: Most utterances; 0: 200.
            token: Of the page before; it keeps to the version that the first page had.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingHasNoTranscript: Nothing was recognised yet.
            TranscriptVersionNotFound: There is no such version.
            PageTokenInvalid: The token belongs to another request.
        """
        async with self._audit.call(principal, "GetTranscript", name):
            meeting = await self._find.readable(principal, name)
            fingerprint = f"{meeting.uid} utterances"
            shown, after = decode_page_cursor(token, fingerprint, _cursor) or (version, None)
            if version not in (0, shown):
                raise PageTokenInvalid
            info = await self._transcripts.version(meeting.uid, shown)
            if info is None:
                if not meeting.transcript_version:
                    raise MeetingHasNoTranscript(name, meeting.state, meeting.failure_message)
                raise TranscriptVersionNotFound(name, version)
            page, end = await self._transcripts.page(
                meeting.uid,
                info.version,
                after,
                limit=page_size(size, DEFAULT_UTTERANCES),
                words=WORDS_A_PAGE,
            )
            following = ""
            if end is not None:
                cursor = f"{info.version} {end.start_ms} {end.number}"
                following = encode_page_token(cursor, fingerprint)
            return TranscriptPage(meeting, info, page, following)


def _cursor(cursor: str) -> tuple[int, UtteranceCursor | None]:
    shown, start_ms, number = map(cursor_number, cursor.split(" "))
    return shown, UtteranceCursor(start_ms, number)
