"""The meeting service in a process of its own, for tests that kill it.

Records, jobs and files are the real ones. Who calls, the decoder and the models are fakes, so that
it starts fast and needs no other service. Each piece of work that a fake does is a line in the
folder's `work.log`, written when it begins. It prints its port when it answers.

    python meeting_process.py STATE_FOLDER [live]

With `live` it understands tones, as live streams of tests are made of.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from atrium_meeting.app.ports import (
    RecognitionHints,
    RecognizedSegment,
    SpeakerPiece,
)
from atrium_meeting.bootstrap import build
from atrium_meeting.domain.audio import AudioPiece, Region, Samples, to_pcm16
from atrium_meeting.domain.transcript import Disfluency, SpeakerTurn
from atrium_meeting.testing import FakeDiarizer, FakeTranscriber
from atrium_meeting.testing_live import ToneTranscriber
from atrium_meeting.testing_service import (
    PEOPLE,
    FakeCleaner,
    FakeDecoder,
    FakeDelegation,
    Fakes,
    settings_in,
)
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.jobs import Jobs
from atrium_shared.rpc.server import RpcServer
from atrium_shared.testing import FakeAuthenticator
from atrium_shared.testing_models import NoEmbedder, NoGenerator

PIECE_SECONDS = 4.0


class WorkLog:
    """Remembers over kills what was begun."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def begin(self, work: str, of: bytes) -> None:
        """Note that a piece of work begins, and take a while for it."""
        digest = hashlib.blake2b(of, digest_size=8).hexdigest()
        os.write(self._file, f"{work} {digest}\n".encode())
        time.sleep(random.uniform(0.002, 0.03))


class SlowDecoder(FakeDecoder):
    """Takes a while for each piece."""

    def __init__(self, log: WorkLog) -> None:
        super().__init__(PIECE_SECONDS)
        self._log = log

    def decode(self, path: Path) -> Iterator[AudioPiece]:
        """Yield the pieces of a recording."""
        self._log.begin("decode", path.read_bytes())
        for piece in super().decode(path):
            time.sleep(random.uniform(0.0, 0.01))
            yield piece


class SlowTranscriber(FakeTranscriber):
    """Says how long each region is, after a while."""

    def __init__(self, log: WorkLog) -> None:
        super().__init__()
        self._log = log

    def transcribe(
        self, samples: Samples, speech: Sequence[Region], hints: RecognitionHints
    ) -> list[RecognizedSegment]:
        """Return one segment for each region."""
        self._log.begin("recognize", to_pcm16(samples))
        return super().transcribe(samples, speech, hints)


class SlowDiarizer(FakeDiarizer):
    """Takes a while for each piece, and for all of them."""

    def __init__(self, log: WorkLog) -> None:
        super().__init__()
        self._log = log

    def examine(self, samples: Samples, speech: Sequence[Region], offset_ms: int) -> SpeakerPiece:
        """Return what a piece tells of its speakers."""
        self._log.begin("examine", to_pcm16(samples))
        return super().examine(samples, speech, offset_ms)

    def assign(self, pieces: Sequence[SpeakerPiece], speakers: int = 0) -> list[SpeakerTurn]:
        """Return who spoke when."""
        self._log.begin("assign", b"".join(piece.data for piece in pieces))
        return super().assign(pieces, speakers)


class SlowCleaner(FakeCleaner):
    """Takes a while."""

    def __init__(self, log: WorkLog) -> None:
        super().__init__()
        self._log = log

    def mark(
        self, language: str, utterances: Sequence[Sequence[str]]
    ) -> list[list[Disfluency | None]]:
        """Return a label for each word."""
        self._log.begin("mark", repr(utterances).encode())
        return super().mark(language, utterances)


async def main(folder: Path, *, live: bool) -> None:
    """Serve until killed or stopped."""
    settings = settings_in(folder, live_keep_seconds=0.1, live_partial_seconds=0.4)
    jobs = Jobs(settings.jobs_url, executor_id=settings.replica, name="meeting")
    audit = MemoryAuditSink()
    log = WorkLog(folder / "work.log")
    fakes = Fakes(
        decoder=SlowDecoder(log),
        transcriber=ToneTranscriber(0.01) if live else SlowTranscriber(log),
        diarizer=SlowDiarizer(log),
        cleaner=SlowCleaner(log),
    )
    app = build(
        settings,
        audit=audit,
        jobs=jobs,
        delegation=FakeDelegation(list(PEOPLE.values())),
        engines=fakes.engines,
        embedder=NoEmbedder(),
        generator=NoGenerator(),
    )
    server = RpcServer(
        [app], address="127.0.0.1:0", authenticator=FakeAuthenticator(PEOPLE), audit=audit
    )
    await jobs.start()
    port = await server.start()
    print(port, flush=True)
    # Whoever started this process ends it by closing its standard input.
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1.0)
    await jobs.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), live="live" in sys.argv[2:]))
