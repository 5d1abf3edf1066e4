"""kill -9 at random points of transcription: it goes on where it was, and repeats a step at most.

What was acknowledged is transcribed once and whole; of what was not, nothing is left.
"""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2, meeting_service_pb2_grpc
from atrium_meeting.domain.audio import Samples
from atrium_meeting.testing import silence, tone
from atrium_meeting.testing_service import recording_of, upload_requests
from atrium_shared.testing import eventually

KILLS = int(os.environ.get("FAULTS_KILLS", "3"))
PROGRAM = Path(__file__).parent / "meeting_process.py"
PIECES = 5
PIECE_SECONDS = 4
RECORDINGS_AT_ONCE = 2
LONGEST_PAUSE_SECONDS = 0.9
_WHO = (("authorization", "Bearer member"),)


@dataclass
class Ledger:
    """What the client was told."""

    uploads: dict[str, int] = field(default_factory=dict)
    """Number of the recording by name of the meeting."""
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Operation by name of the meeting."""


class Service:
    """The process, and a channel to it."""

    def __init__(self, folder: Path, *modes: str) -> None:
        self.folder = folder
        self._modes = modes

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            str(self.folder),
            *self._modes,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        while not (line := (await self.process.stdout.readline()).strip()).isdigit():
            assert line, "the service did not start"
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{int(line)}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.meetings = meeting_service_pb2_grpc.MeetingServiceStub(self.channel)
        self.operations = operations_pb2_grpc.OperationsStub(self.channel)

    async def kill(self) -> None:
        """End it as a power cut would. The channel stays: its calls are to hear of it."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        """End it in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()
        await self.channel.close()


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Service]:
    service = Service(folder)
    await service.start()
    try:
        yield service
    finally:
        if service.process.returncode is None:
            await service.stop()


def length_ms(recording: int, piece: int) -> int:
    """How long somebody speaks in a piece; no two pieces are alike."""
    return 500 + 10 * (recording * PIECES + piece)


def sound_of(recording: int) -> bytes:
    """A recording of several pieces, each with one region of speech."""
    parts: list[Samples] = []
    for piece in range(PIECES):
        spoken = length_ms(recording, piece) / 1000
        parts += [tone(spoken), silence(PIECE_SECONDS - spoken)]
    return recording_of(np.concatenate(parts))


async def upload(service: Service, ledger: Ledger) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError):
        meeting = await service.meetings.CreateMeeting(
            meeting_service_pb2.CreateMeetingRequest(meeting=meeting_pb2.Meeting(title="m")),
            metadata=_WHO,
        )
        number = ledger.uploads[meeting.name] = len(ledger.uploads)
        header = meeting_service_pb2.UploadRecordingRequest.Header(
            meeting=meeting.name, write_minutes=True
        )
        requests = upload_requests(header, sound_of(number), chunk_bytes=50_000)
        operation = await service.meetings.UploadRecording(requests, metadata=_WHO)
        ledger.acknowledged[meeting.name] = operation.name


async def check_served(service: Service, ledger: Ledger) -> set[str]:
    """Wait until every recording is through; return the meetings that have a transcript."""
    for name in ledger.acknowledged.values():
        request = operations_pb2.WaitOperationRequest(name=name)
        request.timeout.FromSeconds(60)
        operation = await service.operations.WaitOperation(request, metadata=_WHO)
        assert operation.done
        assert not operation.HasField("error"), operation.error
    there = set()
    for name, number in ledger.uploads.items():
        async with asyncio.timeout(60):
            while True:
                meeting = await service.meetings.GetMeeting(
                    meeting_service_pb2.GetMeetingRequest(name=name), metadata=_WHO
                )
                # Stored, and killed before it was acknowledged: it is transcribed all the same.
                if meeting.state != meeting_pb2.Meeting.TRANSCRIBING:
                    break
                await asyncio.sleep(0.05)
        if meeting.state == meeting_pb2.Meeting.EMPTY:
            assert name not in ledger.acknowledged
            continue
        there.add(name)
        found = await service.meetings.GetTranscript(
            meeting_service_pb2.GetTranscriptRequest(meeting=name, view=1), metadata=_WHO
        )
        assert meeting.state == meeting_pb2.Meeting.READY
        assert meeting.transcript_version == 1
        assert [one.text for one in found.transcript.utterances] == [
            f"region {length_ms(number, piece)} ms" for piece in range(PIECES)
        ]
    return there


async def cleaned_up(folder: Path) -> None:
    """Wait until what follows the end of operations is done."""
    await eventually(lambda: not count_in(folder, "purges"), seconds=30)


def count_in(folder: Path, what: str) -> int:
    with contextlib.closing(sqlite3.connect(folder / "meeting.db")) as database:
        return int(database.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


def check_stored(folder: Path, transcribed: int) -> None:
    """Records and files hold the transcribed meetings, and nothing besides."""

    def count(what: str) -> int:
        return count_in(folder, what)

    assert count("recordings WHERE state = 'done'") == count("recordings") == transcribed
    assert count("utterances") == transcribed * PIECES
    assert count("transcript_versions") == count("minutes") == transcribed
    assert count("minutes_parts") == 0
    assert count("uploads") == count("purges") == count("operations WHERE NOT done") == 0
    files = [path for path in (folder / "files").rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["original"] * transcribed


def check_work(folder: Path, transcribed: int, kills: int) -> int:
    """Each step was done, and a kill repeated one for each recording under way; return repeats."""
    work = Counter((folder / "work.log").read_text().splitlines())
    kinds = Counter(line.split(" ")[0] for line in work)
    assert kinds["recognize"] == kinds["examine"] == transcribed * PIECES
    assert kinds["decode"] == kinds["assign"] == kinds["mark"] == transcribed
    repeats = work.total() - len(work)
    assert repeats <= kills * RECORDINGS_AT_ONCE
    return repeats


@pytest.mark.timeout(60 + 20 * KILLS)
async def test_a_transcription_that_is_killed_at_any_point_goes_on(tmp_path: Path):
    ledger = Ledger()
    for kill in range(KILLS):
        service = Service(tmp_path)
        await service.start()
        if kill % 3 == 2:
            # Now and then the blow falls on nothing but what was left of the last ones.
            uploads = []
        else:
            uploads = [asyncio.create_task(upload(service, ledger)) for _ in range(2)]
        # Anywhere from the first message to the last step, on a fast machine and on a slow one.
        await asyncio.gather(*uploads[: random.randrange(3)])
        await asyncio.sleep(random.uniform(0.0, LONGEST_PAUSE_SECONDS))
        await service.kill()
        await asyncio.gather(*uploads)
        await service.channel.close()
    async with running(tmp_path) as service:
        await upload(service, ledger)
        transcribed = await check_served(service, ledger)
        await cleaned_up(tmp_path)
    check_stored(tmp_path, len(transcribed))
    repeats = check_work(tmp_path, len(transcribed), KILLS)
    print(
        f"{KILLS} kills: {len(ledger.uploads)} uploads begun, {len(ledger.acknowledged)} "
        f"acknowledged, {len(transcribed)} transcribed, each once and whole; {repeats} steps "
        "repeated"
    )
