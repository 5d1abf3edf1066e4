"""Replace the words of an utterance."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from atrium_meeting.app.find_meeting import FindMeeting
from atrium_meeting.app.mark_disfluencies import mark_disfluencies
from atrium_meeting.app.ports import Cleaner
from atrium_meeting.app.stores import TranscriptStore
from atrium_meeting.app.workers import Workers
from atrium_meeting.domain.edits import edit_words, new_words
from atrium_meeting.domain.errors import (
    MeetingHasNoTranscript,
    SpeakerNotFound,
    TranscriptChanged,
    UtteranceNotFound,
)
from atrium_meeting.domain.transcript import Utterance
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.principal import Principal

MOST_TRIES: Final = 20
"""How often an edit of the newest version is tried when others come first."""

_log = structlog.get_logger(__name__)


class EditUtterance:
    """The use case.

    Args:
        find: Finds meetings.
        transcripts: Where transcripts are stored.
        cleaner: Marks disfluencies; ``None``: nobody does.
        workers: Threads for it.
        audit: Records calls.
    """

    def __init__(
        self,
        find: FindMeeting,
        transcripts: TranscriptStore,
        cleaner: Cleaner | None,
        workers: Workers,
        audit: AuditTrail,
    ) -> None:
        self._find = find
        self._transcripts = transcripts
        self._cleaner = cleaner
        self._workers = workers
        self._audit = audit

    async def __call__(
        self,
        principal: Principal,
        name: str,
        utterance: str,
        text: str,
        speaker: str,
        version: int,
    ) -> Utterance:
        """Make the next version of a transcript, in which an utterance reads otherwise.

        Words that stay keep their times. Disfluencies of the utterance are marked anew. An edit
        that changes nothing makes no version.

        Args:
            principal: Who edits.
            name: Of which meeting.
            utterance: Which utterance.
            text: How it reads now, as said; empty: it is removed.
            speaker: Who speaks; empty: as it was.
            version: The version that was edited; 0: the newest.

        Returns:
            The utterance as it is now; as it was, when it is removed.

        Raises:
            MeetingNotFound: There is none that the caller may read.
            MeetingNotYours: They may not change it.
            MeetingHasNoTranscript: Nothing was recognised yet.
            UtteranceNotFound: There is no such utterance now.
            SpeakerNotFound: Nobody of this id speaks.
            TranscriptChanged: Another version is in force.
            WordsInvalid: The text holds what no word can be.
        """
        async with self._audit.call(principal, "EditUtterance", name):
            # Who names no version means the newest, also when another edit comes first.
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(TranscriptChanged),
                stop=stop_after_attempt(1 if version else MOST_TRIES),
                reraise=True,
            ):
                with attempt:
                    return await self._edit(principal, name, utterance, text, speaker, version)
        raise AssertionError("the last attempt raises")

    async def _edit(
        self,
        principal: Principal,
        name: str,
        utterance: str,
        text: str,
        speaker: str,
        version: int,
    ) -> Utterance:
        meeting = await self._find.changeable(principal, name)
        if not meeting.transcript_version:
            raise MeetingHasNoTranscript(name, meeting.state, meeting.failure_message)
        if version and version != meeting.transcript_version:
            raise TranscriptChanged(name, meeting.transcript_version)
        found = await self._transcripts.utterance(meeting.uid, utterance)
        if found is None:
            raise UtteranceNotFound(name, utterance)
        info, before = found
        names = {one.id: one.display_name for one in info.speakers}
        if speaker and speaker not in names:
            raise SpeakerNotFound(name, speaker, names)
        texts = new_words(text)
        now = replace(before, speaker=speaker or before.speaker)
        if texts == [word.text for word in before.words]:
            if now == before:
                return before
        elif texts:
            now = await self._marked(replace(now, words=edit_words(before.words, texts)))
        await self._transcripts.replace(
            meeting,
            info.version,
            utterance,
            now if texts else None,
            author=principal.subject,
            change=f"{utterance} edited" if texts else f"{utterance} removed",
        )
        return now

    async def _marked(self, utterance: Utterance) -> Utterance:
        if self._cleaner is None:
            return utterance
        try:
            (marked,) = await self._workers.run(mark_disfluencies, self._cleaner, [utterance])
        except Exception:  # whatever it is, the edit must not be lost; nothing is marked then
            _log.exception("disfluencies not marked", utterance=utterance.id)
            return utterance
        return marked
