"""The records of the service as use cases see them. Every method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from atrium_meeting.app.write_minutes import MinutesWanted
from atrium_meeting.domain.meetings import Meeting
from atrium_meeting.domain.minutes_records import MinutesRecord
from atrium_meeting.domain.recordings import Origin, Recording, RecordingProgress
from atrium_meeting.domain.transcript import Speaker, Transcript, Utterance
from atrium_shared.errors import AtriumError
from atrium_shared.jobs import JSON
from atrium_shared.operations import Operation


@dataclass(frozen=True, slots=True)
class Purge:
    """A folder of the file store whose records are gone, and which still has to go.

    It is recorded in the transaction that removes the records, and forgotten once the files are
    gone; a crash in between leaves it to the next start.
    """

    id: int
    folder: str


class RequestTaken(Exception):
    """The request id was used meanwhile: ``operation`` is what the first one got."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.name)
        self.operation = operation


@dataclass(frozen=True, slots=True)
class MeetingCursor:
    """Where a page of meetings ended."""

    create_time: datetime
    uid: str


class MeetingStore(Protocol):
    """Meetings."""

    async def create(self, meeting: Meeting, request_key: str | None) -> Meeting:
        """Add a meeting, or return the one that was made with the same request key.

        Raises:
            MeetingExists: The id is taken.
        """

    async def get(self, tenant: str, meeting_id: str) -> Meeting:
        """Return a meeting of a tenant, whoever may read it.

        Raises:
            MeetingNotFound: There is none.
        """

    async def by_uid(self, uid: str) -> Meeting | None:
        """Return a meeting, or ``None`` when it is gone."""

    async def of_request(self, tenant: str, request_key: str) -> Meeting | None:
        """Return the meeting that was made with a request key."""

    async def list(
        self, tenant: str, after: MeetingCursor | None, limit: int
    ) -> Sequence[tuple[Meeting, MeetingCursor]]:
        """Return meetings, newest first, each with where it stands."""

    async def change(self, uid: str, change: Callable[[Meeting], Meeting]) -> Meeting:
        """Change what people set of a meeting.

        Args:
            uid: Which meeting.
            change: Gets it as it is, in the transaction, and returns what it shall be.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
        """

    async def delete(self, uid: str) -> tuple[Sequence[Purge], Sequence[str]]:
        """Remove a meeting with everything of it, and end its operations.

        Returns:
            What is left to do, and the ids of operations that were under way.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
        """


@dataclass(frozen=True, slots=True)
class ReceivedRecording:
    """A recording whose bytes are stored."""

    uid: str
    meeting: Meeting
    filename: str
    size_bytes: int
    content_hash: str
    actor: str
    on_behalf_of: str | None
    write_minutes: bool
    request_key: str | None


class RecordingStore(Protocol):
    """Recordings and their operations."""

    async def begin_upload(self, uid: str, folder: str) -> None:
        """Note that a file is being received, so that a crash leaves nothing of it."""

    async def end_upload(self, uid: str) -> None:
        """Forget the note: nothing of the file is left."""

    async def interrupted_uploads(self) -> Sequence[tuple[str, str]]:
        """Return (uid, folder) of files whose receiving process has died."""

    async def operation_of_request(self, meeting_uid: str, request_key: str) -> Operation | None:
        """Return the operation that an earlier upload with this request id got."""

    async def register(self, received: ReceivedRecording) -> tuple[Operation, Recording]:
        """Make an upload durable: recording, operation, state of the meeting. Its note goes.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            MeetingHasTranscript: It got a transcript meanwhile.
            MeetingBusy: Another recording of it is worked on, or it is live.
            RequestTaken: Its request id was used meanwhile.
        """

    async def get(self, uid: str) -> Recording | None:
        """Return a recording, or ``None`` when it is gone."""

    async def of_operation(self, operation_id: str) -> Recording | None:
        """Return the recording that an operation works on."""

    async def unfinished(self) -> Sequence[Recording]:
        """Return every recording that is being worked on."""

    async def report(self, recording: Recording, progress: RecordingProgress) -> None:
        """Update the operation."""

    async def publish(
        self, uid: str, transcript: Transcript, origin: Origin, *, truncated: bool
    ) -> bool:
        """Make a transcript the first version of its meeting, and the meeting ready.

        The same again changes nothing.

        Returns:
            False when the recording is not worked on any more.
        """

    async def finish(self, uid: str, progress: RecordingProgress) -> Sequence[Purge]:
        """End the operation with the meeting; return what is left to do."""

    async def fail(
        self, uid: str, error: AtriumError, *, end_operation: bool = True
    ) -> Sequence[Purge]:
        """End a recording that is being worked on with an error, and tell so on the meeting.

        A meeting that has its transcript already stays ready.

        Returns:
            What is left to do.
        """

    async def purges(self) -> Sequence[Purge]:
        """Return what is left to do."""

    async def purged(self, purge: Purge) -> None:
        """Forget what has been done."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A version of a transcript without its words."""

    version: int
    author: str
    change: str
    speakers: tuple[Speaker, ...]
    origin: Origin
    create_time: datetime


@dataclass(frozen=True, slots=True)
class UtteranceCursor:
    """Where a page of utterances ended."""

    start_ms: int
    number: int


class TranscriptStore(Protocol):
    """Versions of transcripts."""

    async def publish(
        self,
        meeting_uid: str,
        transcript: Transcript,
        origin: Origin,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make a transcript the first version of its meeting, and the meeting ready.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            MeetingHasTranscript: It has one.
            MeetingBusy: A recording of it is worked on, or it is live.
        """

    async def version(self, meeting_uid: str, version: int) -> VersionInfo | None:
        """Return a version without its words; 0: the newest."""

    async def versions(
        self, meeting_uid: str, before: int | None, limit: int
    ) -> Sequence[VersionInfo]:
        """Return versions, newest first.

        Args:
            meeting_uid: Of which meeting.
            before: Only versions with smaller numbers; ``None``: all.
            limit: Most versions.
        """

    async def load(self, meeting_uid: str, version: int = 0) -> Transcript | None:
        """Return a whole version; 0: the newest. ``None``: there is none."""

    async def page(
        self,
        meeting_uid: str,
        version: int,
        after: UtteranceCursor | None,
        *,
        limit: int,
        words: int,
    ) -> tuple[Sequence[Utterance], UtteranceCursor | None]:
        """Return utterances of a version in order of time, and where the page ended.

        Args:
            meeting_uid: Of which meeting.
            version: Of which version.
            after: Where the page before ended; ``None``: from the beginning.
            limit: Most utterances.
            words: Most words, but at least one utterance.

        Returns:
            The page; and its end, ``None`` when it is the last.
        """

    async def utterance(
        self, meeting_uid: str, utterance: str
    ) -> tuple[VersionInfo, Utterance] | None:
        """Return an utterance of the newest version, with that version."""

    async def replace(
        self,
        meeting: Meeting,
        version: int,
        utterance: str,
        edited: Utterance | None,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make the version after ``version``, in which an utterance is another, or gone.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            TranscriptChanged: Another version is in force.
        """

    async def name_speaker(
        self,
        meeting: Meeting,
        version: int,
        speaker: str,
        display_name: str,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make the version after ``version``, in which a speaker has another name.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            TranscriptChanged: Another version is in force.
        """

    async def merge_speakers(
        self,
        meeting: Meeting,
        version: int,
        speaker: str,
        same_as: str,
        *,
        author: str,
        change: str,
    ) -> Meeting:
        """Make the version after ``version``, in which one speaker says what two said.

        Who stays keeps their name, or takes the other's where they have none.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            TranscriptChanged: Another version is in force.
        """


@dataclass(frozen=True, slots=True)
class LiveState:
    """A live stream that was opened.

    Args:
        meeting: The meeting, live.
        session: What its resume tokens prove; the same for all streams of the meeting.
        epoch: Which of them it is; only the newest may write.
        kept_until_ms: Up to where all that was said is stored.
        utterance_count: How many utterances were added so far.
        voices: What is known of the speakers' voices.
    """

    meeting: Meeting
    session: str
    epoch: int
    kept_until_ms: int
    utterance_count: int
    voices: bytes


class LiveStore(Protocol):
    """Meetings that are live. A stream that another one took over can write no more."""

    async def open(
        self,
        meeting_uid: str,
        session: str,
        token: str,
        lease: timedelta,
        *,
        origin: Origin,
        author: str,
    ) -> LiveState:
        """Make a meeting live with an empty first version, or take over the stream it has.

        Args:
            meeting_uid: Which meeting.
            session: For its tokens, when it is not live yet.
            token: The session as the caller knows it; "": not at all.
            lease: How long the stream counts as open without a word from it.
            origin: What makes the transcript.
            author: Who speaks through it, "users/lin".

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            MeetingHasTranscript: It has one that is not live.
            MeetingBusy: A recording of it is worked on.
            LiveBusy: A stream is open, and there is no token.
            LiveResumeInvalid: The token is not of this meeting's session.
        """

    async def append(
        self,
        state: LiveState,
        utterance: Utterance | None,
        kept_until_ms: int,
        voices: bytes,
        lease: timedelta,
    ) -> None:
        """Store how far a stream is, with the utterance that ends there.

        Args:
            state: As it was opened.
            utterance: The next one; ``None``: nothing was said.
            kept_until_ms: Up to where all that was said is stored now.
            voices: What is known of the speakers' voices.
            lease: How long the stream counts as open from now on.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            LiveTakenOver: Another stream goes on in its place.
        """

    async def release(self, state: LiveState) -> None:
        """Let the next stream in without a token. Nothing happens where one is in already."""

    async def end(self, state: LiveState) -> Meeting:
        """Make a live meeting ready; its tokens prove nothing any more.

        Raises:
            MeetingNotFound: It was deleted meanwhile.
            LiveTakenOver: Another stream goes on in its place.
        """

    async def end_abandoned(self, before: datetime) -> int:
        """End all live meetings that have no open stream, as `end` does; return how many.

        Several processes may do it at once: each meeting is ended by one of them, unless a stream
        is opened first.

        Args:
            before: Those whose last stream was there at this time at the latest.
        """


class HotwordStore(Protocol):
    """Names and terms of a tenant."""

    async def get(self, tenant: str) -> tuple[str, ...]:
        """Return them; empty where none were set."""

    async def set(self, tenant: str, words: Sequence[str]) -> None:
        """Replace them."""


@dataclass(frozen=True, slots=True)
class WrittenMinutes:
    """Minutes with the words that they cite.

    Args:
        record: The minutes.
        utterances: By id; of the version of the transcript that the minutes tell.
    """

    record: MinutesRecord
    utterances: Mapping[str, Utterance]


@dataclass(frozen=True, slots=True)
class MinutesRequest:
    """Minutes that were asked for by a call of their own.

    Args:
        operation_id: Identifier of the operation.
        tenant: Whose.
        meeting_uid: Of which meeting.
        meeting: Its resource name, "meetings/m1".
        minutes_id: Identifier that the minutes will have, "n4".
        actor: Who called.
        on_behalf_of: The end user for whom; ``None``: nobody.
        wanted: What they shall be like.
        done: They are written, or failed.
    """

    operation_id: str
    tenant: str
    meeting_uid: str
    meeting: str
    minutes_id: str
    actor: str
    on_behalf_of: str | None
    wanted: MinutesWanted
    done: bool = False


class MinutesRequestStore(Protocol):
    """Minutes under way and their operations."""

    async def begin(self, request: MinutesRequest, request_key: str | None) -> Operation:
        """Record a request with its operation, or return the operation that its key has.

        Raises:
            MeetingNotFound: The meeting was deleted meanwhile.
        """

    async def of_request(self, meeting_uid: str, request_key: str) -> Operation | None:
        """Return the operation that an earlier request with this key got."""

    async def get(self, operation_id: str) -> MinutesRequest | None:
        """Return a request, or ``None`` when it is gone."""

    async def unfinished(self) -> Sequence[MinutesRequest]:
        """Return every request that is being worked on."""

    async def report(self, request: MinutesRequest, done: int, total: int) -> None:
        """Tell on the operation how many parts are written, of how many."""

    async def finish(self, request: MinutesRequest, written: WrittenMinutes) -> None:
        """End the operation with the minutes."""

    async def fail(
        self, request: MinutesRequest, error: AtriumError, *, end_operation: bool = True
    ) -> None:
        """End the operation with an error."""

    async def part(self, meeting_uid: str, minutes_id: str, part: str) -> JSON | None:
        """Return what a part of minutes came to; ``None``: it is not written yet."""

    async def save_part(self, meeting_uid: str, minutes_id: str, part: str, result: JSON) -> None:
        """Remember what a part of minutes came to.

        Raises:
            MeetingNotFound: The meeting was deleted meanwhile.
        """

    async def forget_parts(self, meeting_uid: str, minutes_id: str) -> None:
        """Forget the parts: the minutes are there."""
