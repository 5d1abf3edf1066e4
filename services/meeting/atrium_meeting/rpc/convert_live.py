"""Protos to domain and back: live streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from atrium.meeting.v1 import meeting_service_pb2
from atrium_meeting.app.live_ear import Encoding, LiveFrame
from atrium_meeting.app.live_session import (
    FinalResult,
    LiveConfig,
    LiveEnd,
    LiveEvent,
    LiveFinished,
    LivePart,
    LiveStarted,
    PartialResult,
)
from atrium_meeting.domain.audio import SAMPLE_RATE
from atrium_meeting.rpc.convert import meeting_to_proto, utterance_to_proto
from atrium_shared.rpc.status import FieldInvalid

_LOWEST_RATE: Final = 8_000


async def live_parts(
    requests: AsyncIterator[meeting_service_pb2.TranscribeLiveRequest],
) -> AsyncIterator[LivePart]:
    """Convert the messages of a live stream as they come; one without a part says nothing.

    Raises:
        FieldInvalid: The rate of PCM is too low.
    """
    async for request in requests:
        match request.WhichOneof("part"):
            case "config":
                yield _config(request.config)
            case "frame":
                frame = request.frame
                offset_ms = frame.offset_ms if frame.HasField("offset_ms") else None
                yield LiveFrame(frame.audio, offset_ms)
            case "end":
                yield LiveEnd()


def event_to_proto(event: LiveEvent) -> meeting_service_pb2.TranscribeLiveResponse:
    """Convert what happened on a live stream."""
    reply = meeting_service_pb2.TranscribeLiveResponse(
        resume_token=event.resume_token,
        received_until_ms=event.received_until_ms,
        kept_until_ms=event.kept_until_ms,
    )
    match event.result:
        case LiveStarted(expected_offset_ms):
            reply.started.expected_offset_ms = expected_offset_ms
        case PartialResult(utterance, stable_words):
            reply.partial.utterance.CopyFrom(utterance_to_proto(utterance, raw=True))
            reply.partial.stable_words = stable_words
        case FinalResult(utterance):
            reply.final.utterance.CopyFrom(utterance_to_proto(utterance, raw=True))
        case LiveFinished(meeting):
            reply.finished.meeting.CopyFrom(meeting_to_proto(meeting))
    return reply


def _config(config: meeting_service_pb2.TranscribeLiveRequest.Config) -> LiveConfig:
    rate = config.sample_rate_hertz or SAMPLE_RATE
    if rate < _LOWEST_RATE:
        raise FieldInvalid(
            [("config.sample_rate_hertz", f"expected 0, or {_LOWEST_RATE} to 48000")]
        )
    opus = config.encoding == meeting_service_pb2.TranscribeLiveRequest.Config.OPUS
    return LiveConfig(
        meeting=config.meeting,
        encoding=Encoding.OPUS if opus else Encoding.PCM_S16LE,
        rate=rate,
        resume_token=config.resume_token,
        partial_results=config.partial_results,
    )
