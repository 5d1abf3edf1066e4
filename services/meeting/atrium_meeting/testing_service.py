"""The meeting service wired with fakes, for tests that call it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from google.longrunning import operations_pb2, operations_pb2_grpc

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2, meeting_service_pb2_grpc
from atrium_meeting.adapters.pcm_frames import PcmFrames
from atrium_meeting.adapters.pyav_audio import OpusFrames
from atrium_meeting.app.live_ear import Encoding, LiveEngines
from atrium_meeting.app.ports import (
    Cleaner,
    Diarizer,
    RecordingDecoder,
    SpeakerEncoder,
    SpeechStream,
    Transcriber,
    VoiceActivityDetector,
)
from atrium_meeting.app.transcribe_recording import Engines
from atrium_meeting.bootstrap import Patience, build
from atrium_meeting.domain.audio import (
    SAMPLE_RATE,
    AudioPiece,
    RecordingInfo,
    Samples,
    from_pcm16,
    to_pcm16,
)
from atrium_meeting.domain.errors import RecordingNotAudio
from atrium_meeting.domain.transcript import Disfluency
from atrium_meeting.settings import MeetingSettings
from atrium_meeting.testing import (
    FakeActivity,
    FakeDiarizer,
    FakeSpeakerEncoder,
    FakeSpeechStream,
    FakeTranscriber,
    silence,
    tone,
)
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.clock import Clock
from atrium_shared.errors import AtriumError, NotFound
from atrium_shared.jobs import JobCancelled, MemoryJobs
from atrium_shared.models import Embedder, WholeTextGenerator
from atrium_shared.principal import Principal
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.testing import RunningServer, make_principal, running_server
from atrium_shared.testing_databases import ServiceDatabases
from atrium_shared.testing_models import NoEmbedder, NoGenerator

POSTGRES: Final = os.environ.get("MEETING_TEST_DATABASE_URL", "")
"""A server, ``postgresql+asyncpg://user@host/name``, on which tests keep records; "": SQLite."""

_FILLERS: Final = frozenset({"um", "uh", "呃"})
_MAGIC: Final = b"PCM!"


class FakeDecoder:
    """Reads what `recording_of` writes, in this process.

    Attributes:
        piece_seconds: Length of a piece.
        decoded: How often a recording was read.
    """

    def __init__(self, piece_seconds: float = 10.0) -> None:
        self.piece_seconds = piece_seconds
        self.decoded = 0

    def examine(self, path: Path) -> RecordingInfo:
        """Return the length of a recording."""
        samples = self._read(path)
        return RecordingInfo("fake", "pcm", SAMPLE_RATE, 1, len(samples) // 16)

    def decode(self, path: Path) -> Iterator[AudioPiece]:
        """Yield the pieces of a recording."""
        samples = self._read(path)
        self.decoded += 1
        step = round(self.piece_seconds * SAMPLE_RATE)
        for first in range(0, len(samples), step):
            yield AudioPiece(first // 16, samples[first : first + step])

    def _read(self, path: Path) -> Samples:
        data = path.read_bytes()
        if not data.startswith(_MAGIC):
            raise RecordingNotAudio
        return from_pcm16(data[len(_MAGIC) :])


def recording_of(*samples: Samples) -> bytes:
    """Return a file that `FakeDecoder` reads."""
    return _MAGIC + to_pcm16(np.concatenate(samples))


def speech(*seconds: float, pause: float = 2.0) -> bytes:
    """Return a recording in which somebody speaks so many times, with pauses between."""
    parts: list[Samples] = []
    for length in seconds:
        parts += [tone(length), silence(pause)]
    return recording_of(*parts)


class FakeCleaner:
    """Marks "um", "uh" and "呃" as fillers.

    Attributes:
        failure: Raised instead, while it is set.
    """

    model = "scripted-cleaner"

    def __init__(self) -> None:
        self.failure: Exception | None = None

    def mark(
        self, language: str, utterances: Sequence[Sequence[str]]
    ) -> list[list[Disfluency | None]]:
        """Return a label for each word."""
        if self.failure is not None:
            raise self.failure
        return [
            [
                Disfluency.FILLER if word.lower().strip(".,，。") in _FILLERS else None
                for word in words
            ]
            for words in utterances
        ]


class FakeDelegation:
    """Knows principals by tenant and subject.

    Attributes:
        principals: By (tenant, subject).
        failure: Raised instead, while it is set.
    """

    def __init__(self, principals: Sequence[Principal] = ()) -> None:
        self.principals = {(one.tenant, one.subject): one for one in principals}
        self.failure: AtriumError | None = None

    async def delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
        """Return the principal as it is now."""
        if self.failure is not None:
            raise self.failure
        found = self.principals.get((tenant, on_behalf_of or actor))
        if found is None:
            raise NoSuchUser(on_behalf_of or actor)
        return found


class NoSuchUser(NotFound):
    """What the admin service answers about somebody who does not exist."""

    reason = "USER_NOT_FOUND"

    def __init__(self, user: str) -> None:
        super().__init__(f"User {user!r} does not exist.", user=user)


_DATABASES: Final = ServiceDatabases("meeting", POSTGRES)
database_url_in: Final = _DATABASES.url_in
engine_of: Final = _DATABASES.engine_of
run_sql: Final = _DATABASES.run_sql
away: Final = _DATABASES.away
make_database: Final = _DATABASES.make
drop_database: Final = _DATABASES.drop


def settings_in(folder: Path, **values: Any) -> MeetingSettings:
    """Return settings whose state lies in ``folder``."""
    return MeetingSettings(
        **{
            "database_url": database_url_in(folder),
            "jobs_url": f"sqlite:///{folder}/jobs.db",
            "blob_url": f"file://{folder}/files",
            **values,
        }
    )


MEMBER: Final = make_principal(
    "meeting.meetings:read",
    "meeting.meetings:write",
    "gateway.models:use",
    actor="users/member",
)
PARTNER: Final = make_principal(
    "meeting.meetings:read",
    "meeting.meetings:write",
    "gateway.models:use",
    labels=["hr/*"],
    actor="users/partner",
)
READER: Final = make_principal("meeting.meetings:read", "gateway.models:use", actor="users/reader")
SMALL: Final = make_principal(
    "meeting.meetings:read",
    "meeting.meetings:write",
    actor="users/small",
    max_upload_bytes=1000,
)
ADMIN: Final = make_principal("*:*", actor="users/admin")
STRANGER: Final = make_principal("*:*", labels=["*"], actor="users/stranger", tenant="other")

PEOPLE: Final = {
    "member": MEMBER,
    "partner": PARTNER,
    "reader": READER,
    "small": SMALL,
    "admin": ADMIN,
    "stranger": STRANGER,
}
"""Who may do what in tests, by token."""


@dataclass
class Fakes:
    """Engines that do as they are told; any may be another one."""

    decoder: RecordingDecoder = field(default_factory=FakeDecoder)
    activity: VoiceActivityDetector = field(default_factory=FakeActivity)
    transcriber: Transcriber = field(default_factory=FakeTranscriber)
    diarizer: Diarizer | None = field(default_factory=FakeDiarizer)
    cleaner: Cleaner | None = field(default_factory=FakeCleaner)
    open_speech: Callable[[], SpeechStream] = FakeSpeechStream
    voices: SpeakerEncoder | None = field(default_factory=FakeSpeakerEncoder)

    @property
    def engines(self) -> Engines:
        """As the service takes them."""
        return Engines(
            self.decoder,
            self.activity,
            self.transcriber,
            self.diarizer,
            self.cleaner,
            LiveEngines(
                lambda encoding, rate: (
                    OpusFrames() if encoding is Encoding.OPUS else PcmFrames(rate)
                ),
                self.open_speech,
                self.voices,
            ),
        )


@dataclass
class House:
    """The service, running, and everything around it."""

    app: ServiceApp
    server: RunningServer
    jobs: MemoryJobs
    fakes: Fakes
    delegation: FakeDelegation
    audit: MemoryAuditSink
    settings: MeetingSettings

    def as_(self, who: str = "member") -> meeting_service_pb2_grpc.MeetingServiceAsyncStub:
        """Return a client of one of `PEOPLE`."""
        return meeting_service_pb2_grpc.MeetingServiceStub(self.server.open_channel(who))

    def operations(self, who: str = "member") -> operations_pb2_grpc.OperationsAsyncStub:
        """Return a client of the operations of one of `PEOPLE`."""
        return operations_pb2_grpc.OperationsStub(self.server.open_channel(who))

    def stored_files(self) -> list[str]:
        """Return the names of all files in the file store, hidden and partial ones too."""
        folder = Path(self.settings.blob_url.removeprefix("file://"))
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def stored_rows(self, table: str) -> list[Any]:
        """Return the rows of a table."""
        return run_sql(self.settings.database_url, f'SELECT * FROM "{table}"')  # noqa: S608 - no input

    async def meeting(
        self, who: str = "member", *, meeting_id: str = "", request_id: str = "", **fields: Any
    ) -> meeting_pb2.Meeting:
        """Make a meeting."""
        return await self.as_(who).CreateMeeting(
            meeting_service_pb2.CreateMeetingRequest(
                meeting_id=meeting_id,
                request_id=request_id,
                meeting=meeting_pb2.Meeting(**{"title": "Weekly", **fields}),
            )
        )

    async def upload(
        self,
        meeting: str,
        data: bytes,
        who: str = "member",
        *,
        filename: str = "weekly.wav",
        write_minutes: bool = False,
        request_id: str = "",
        chunk_bytes: int = 1 << 16,
    ) -> operations_pb2.Operation:
        """Upload a recording and return its operation."""
        header = meeting_service_pb2.UploadRecordingRequest.Header(
            meeting=meeting,
            filename=filename,
            write_minutes=write_minutes,
            request_id=request_id,
        )
        return await self.as_(who).UploadRecording(
            upload_requests(header, data, chunk_bytes=chunk_bytes)
        )

    async def done(
        self, operation: operations_pb2.Operation, who: str = "member", *, seconds: float = 20.0
    ) -> operations_pb2.Operation:
        """Return the operation when it is done, and its job has cleaned up."""
        request = operations_pb2.WaitOperationRequest(name=operation.name)
        request.timeout.FromSeconds(20)
        async with asyncio.timeout(seconds + 5):
            while not (ended := await self.operations(who).WaitOperation(request)).done:
                continue
        with suppress(JobCancelled):
            await self.jobs.wait(operation.name.rpartition(".")[2])
        return ended

    async def transcribed(
        self, *texts: str, who: str = "member", seconds: float = 2.0, **fields: Any
    ) -> meeting_pb2.Meeting:
        """Make a meeting in which these texts are said, one after the other, and transcribe it."""
        assert isinstance(self.fakes.transcriber, FakeTranscriber)
        self.fakes.transcriber.enqueue(*texts)
        meeting = await self.meeting(who, **fields)
        operation = await self.done(
            await self.upload(meeting.name, speech(*[seconds] * len(texts)), who), who
        )
        assert not operation.HasField("error"), operation.error
        found = meeting_pb2.Meeting()
        operation.response.Unpack(found)
        return found

    async def transcript(
        self, meeting: str, who: str = "member", **fields: Any
    ) -> meeting_pb2.Transcript:
        """Return the first page of a transcript, as said unless ``view`` says otherwise."""
        request = meeting_service_pb2.GetTranscriptRequest(
            **{"meeting": meeting, "view": meeting_pb2.Transcript.RAW, **fields}
        )
        return (await self.as_(who).GetTranscript(request)).transcript


@asynccontextmanager
async def open_house(
    folder: Path,
    *,
    fakes: Fakes | None = None,
    delegation: FakeDelegation | None = None,
    embedder: Embedder | None = None,
    generator: WholeTextGenerator | None = None,
    clock: Clock | None = None,
    people: Mapping[str, Principal] = PEOPLE,
    **settings: Any,
) -> AsyncIterator[House]:
    """Run the service with fakes, its state in ``folder``; the database is a real one."""
    chosen = settings_in(folder, **settings)
    await asyncio.to_thread(make_database, chosen.database_url)
    jobs, audit = MemoryJobs(), MemoryAuditSink()
    fakes = fakes or Fakes()
    delegation = delegation or FakeDelegation(list(people.values()))
    app = build(
        chosen,
        audit=audit,
        jobs=jobs,
        delegation=delegation,
        engines=fakes.engines,
        embedder=embedder or NoEmbedder(),
        generator=generator or NoGenerator(),
        clock=clock,
        patience=Patience(0.0),
    )
    await jobs.start()
    async with running_server([app], people) as server:
        yield House(app, server, jobs, fakes, delegation, audit, chosen)
    await jobs.close()


async def upload_requests(
    header: meeting_service_pb2.UploadRecordingRequest.Header | None,
    data: bytes,
    *,
    chunk_bytes: int = 1 << 16,
) -> AsyncIterator[meeting_service_pb2.UploadRecordingRequest]:
    """Yield the messages of an upload."""
    if header is not None:
        yield meeting_service_pb2.UploadRecordingRequest(header=header)
    for start in range(0, len(data), chunk_bytes):
        yield meeting_service_pb2.UploadRecordingRequest(chunk=data[start : start + chunk_bytes])
