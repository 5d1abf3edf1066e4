"""kill -9 while people speak: the sender goes on by its token; no word is lost or comes twice."""

import asyncio
import os
import random
from pathlib import Path

import grpc
import numpy as np
import pytest

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.domain.audio import Samples
from atrium_meeting.testing import silence
from atrium_meeting.testing_live import LiveClient, live, say, spoken

from .test_meeting_kill import Service

KILLS = int(os.environ.get("FAULTS_KILLS", "3"))
WORDS = 120
_WHO = (("authorization", "Bearer member"),)


class Member:
    """Opens live streams as a member."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def TranscribeLive(self) -> object:
        """Open a stream."""
        return self._service.meetings.TranscribeLive(metadata=_WHO)


def sound() -> Samples:
    """Utterances of different lengths with pauses."""
    parts, word, length = [], 0, 3
    while word < WORDS:
        parts += [say(range(word, min(WORDS, word + length))), silence(0.9)]
        word, length = word + length, 3 + (length * 7) % 29
    return np.concatenate(parts)


async def until_killed(client: LiveClient, part: Samples, offset_ms: int) -> str:
    """Play until the service is gone; return the last token."""
    playing = asyncio.create_task(client.play(part, offset_ms=offset_ms, pace=0.05))
    try:
        while True:
            await client.next()
    except (grpc.aio.AioRpcError, EOFError):
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    return client.events[-1].resume_token if client.events else ""


@pytest.mark.timeout(60 + 20 * KILLS)
async def test_a_live_meeting_survives_kills_word_by_word(tmp_path: Path):
    everything, token, meeting = sound(), "", ""
    heard: dict[str, list[str]] = {}
    for last in [False] * KILLS + [True]:
        service = Service(tmp_path, "live")
        await service.start()
        if not meeting:
            made = await service.meetings.CreateMeeting(
                meeting_service_pb2.CreateMeetingRequest(meeting=meeting_pb2.Meeting(title="m")),
                metadata=_WHO,
            )
            meeting = made.name
        async with live(Member(service), meeting, resume_token=token) as client:
            at_ms = (await client.next("started")).started.expected_offset_ms
            token = client.events[-1].resume_token
            rest = everything[at_ms * 16 :]
            if last:
                await client.play(rest, offset_ms=at_ms)
                await client.end()
                await client.rest()
            else:
                playing = asyncio.create_task(until_killed(client, rest, at_ms))
                await asyncio.sleep(random.uniform(0.2, 1.5))
                await service.kill()
                token = await playing or token
                await service.channel.close()
        for event in client.events:
            if event.HasField("final"):
                # What was told is stored: nobody tells it again as something else.
                said = event.final.utterance
                assert said.id not in heard
                heard[said.id] = [word.text for word in said.words]
        if last:
            reply = await service.meetings.GetTranscript(
                meeting_service_pb2.GetTranscriptRequest(
                    meeting=meeting, view=meeting_pb2.Transcript.RAW
                ),
                metadata=_WHO,
            )
            await service.stop()
    utterances = reply.transcript.utterances
    stored = {one.id: [word.text for word in one.words] for one in utterances}
    assert [word for words in stored.values() for word in words] == spoken(range(WORDS))
    assert heard.items() <= stored.items()
