"""Store what somebody thinks of a sentence of minutes, or of the minutes as a whole."""

from __future__ import annotations

from atrium_meeting.app.ports import FeedbackStore, MeetingReader, MinutesStore
from atrium_meeting.domain.errors import MeetingNotFound, MinutesNotFound, SentenceNotFound
from atrium_meeting.domain.minutes_records import Feedback, Rating, parse_minutes_name
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.clock import Clock, Ids
from atrium_shared.principal import Principal


class GiveFeedback:
    """The use case.

    Args:
        meetings: Reads meetings; minutes are there for who may read their meeting.
        minutes: Keeps minutes.
        feedback: Keeps feedback.
        audit: Records calls.
        clock: Tells the time.
        ids: Makes identifiers.
    """

    def __init__(
        self,
        meetings: MeetingReader,
        minutes: MinutesStore,
        feedback: FeedbackStore,
        audit: AuditTrail,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._meetings = meetings
        self._minutes = minutes
        self._feedback = feedback
        self._audit = audit
        self._clock = clock
        self._ids = ids

    async def __call__(
        self,
        principal: Principal,
        minutes: str,
        sentence: str,
        rating: Rating,
        *,
        comment: str = "",
        correction: str = "",
    ) -> Feedback:
        """Store feedback; a second one of the same user on the same sentence replaces the first.

        Args:
            principal: Who gives it.
            minutes: Resource name, "meetings/m1/minutes/n4".
            sentence: Which sentence, "s7"; empty: the minutes as a whole.
            rating: Right or wrong.
            comment: What is wrong with it.
            correction: How it should read.

        Raises:
            MinutesNotFound: There are none, or their meeting is not the caller's to read.
            SentenceNotFound: They have no such sentence.
        """
        async with self._audit.call(principal, "GiveFeedback", minutes):
            meeting, identifier = parse_minutes_name(minutes)
            try:
                await self._meetings.read(principal, f"meetings/{meeting}")
            except MeetingNotFound as error:
                raise MinutesNotFound(minutes) from error
            record = await self._minutes.get(principal.tenant, meeting, identifier)
            if sentence and all(one.id != sentence for one in record.minutes.sentences()):
                raise SentenceNotFound(minutes, sentence)
            return await self._feedback.save(
                Feedback(
                    tenant=principal.tenant,
                    id=self._ids.new("f"),
                    meeting=meeting,
                    minutes=identifier,
                    sentence=sentence,
                    subject=principal.subject,
                    rating=rating,
                    comment=comment.strip(),
                    correction=correction.strip(),
                    create_time=self._clock.now(),
                )
            )
