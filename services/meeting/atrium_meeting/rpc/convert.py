"""Protos to domain and back: meetings, recordings, transcripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.app.clean_text import CleanedText
from atrium_meeting.app.get_transcript import TranscriptPage
from atrium_meeting.app.meeting_fields import MeetingFields
from atrium_meeting.app.stores import VersionInfo
from atrium_meeting.app.upload_recording import UploadHeader
from atrium_meeting.domain.meetings import (
    ChineseScript,
    Meeting,
    MeetingState,
    SpeakerSummary,
)
from atrium_meeting.domain.recordings import Origin, RecordingProgress, Stage
from atrium_meeting.domain.transcript import Disfluency, Utterance, Word, join
from atrium_shared.engines import Engine, EngineKind
from atrium_shared.rpc.engines import engine_to_proto
from atrium_shared.rpc.status import FieldInvalid

_STATES: Final = {
    MeetingState.EMPTY: meeting_pb2.Meeting.EMPTY,
    MeetingState.TRANSCRIBING: meeting_pb2.Meeting.TRANSCRIBING,
    MeetingState.LIVE: meeting_pb2.Meeting.LIVE,
    MeetingState.READY: meeting_pb2.Meeting.READY,
    MeetingState.FAILED: meeting_pb2.Meeting.FAILED,
}
_SCRIPTS: Final = {
    ChineseScript.SIMPLIFIED: meeting_pb2.SIMPLIFIED,
    ChineseScript.TRADITIONAL: meeting_pb2.TRADITIONAL,
}
_STAGES: Final = {
    Stage.DECODING: meeting_service_pb2.UploadRecordingMetadata.DECODING,
    Stage.RECOGNIZING: meeting_service_pb2.UploadRecordingMetadata.RECOGNIZING,
    Stage.DIARIZING: meeting_service_pb2.UploadRecordingMetadata.DIARIZING,
    Stage.CLEANING: meeting_service_pb2.UploadRecordingMetadata.CLEANING,
    Stage.WRITING: meeting_service_pb2.UploadRecordingMetadata.WRITING,
    Stage.DONE: meeting_service_pb2.UploadRecordingMetadata.DONE,
}
_DISFLUENCIES: Final[Mapping[Disfluency | None, meeting_pb2.Disfluency.ValueType]] = {
    None: meeting_pb2.DISFLUENCY_UNSPECIFIED,
    Disfluency.FILLER: meeting_pb2.FILLER,
    Disfluency.REPETITION: meeting_pb2.REPETITION,
    Disfluency.REPAIR: meeting_pb2.REPAIR,
    Disfluency.FALSE_START: meeting_pb2.FALSE_START,
}


def fields_from_proto(meeting: meeting_pb2.Meeting) -> MeetingFields:
    """Return what a caller says of a meeting.

    Raises:
        FieldInvalid: Its time is outside of the years 1 to 9999, or malformed.
    """
    traditional = meeting.chinese_script == meeting_pb2.TRADITIONAL
    return MeetingFields(
        title=meeting.title,
        start_time=_time_from_proto(meeting),
        languages=tuple(meeting.languages),
        chinese_script=ChineseScript.TRADITIONAL if traditional else ChineseScript.SIMPLIFIED,
        hotwords=tuple(meeting.hotwords),
        agenda=tuple(meeting.agenda),
        labels=frozenset(meeting.labels),
        speaker_count=meeting.speaker_count,
    )


def mask_from_proto(request: meeting_service_pb2.UpdateMeetingRequest) -> Sequence[str]:
    """Return which fields to take: those of the mask, without one those that are set."""
    if request.update_mask.paths:
        return list(request.update_mask.paths)
    return [field.name for field, _ in request.meeting.ListFields() if field.name in _CHANGEABLE]


_CHANGEABLE: Final = frozenset(MeetingFields.__dataclass_fields__)


def meeting_to_proto(meeting: Meeting) -> meeting_pb2.Meeting:
    """Convert a meeting."""
    return meeting_pb2.Meeting(
        name=meeting.name,
        title=meeting.title,
        start_time=timestamp(meeting.start_time) if meeting.start_time else None,
        languages=meeting.languages,
        chinese_script=_SCRIPTS[meeting.chinese_script],
        hotwords=meeting.hotwords,
        agenda=meeting.agenda,
        labels=sorted(meeting.labels),
        speaker_count=meeting.speaker_count,
        state=_STATES[meeting.state],
        duration=duration(meeting.duration_ms),
        speakers=map(_speaker_to_proto, meeting.speakers),
        transcript_version=meeting.transcript_version,
        failure_reason=meeting.failure_reason,
        failure_message=meeting.failure_message,
        create_time=timestamp(meeting.create_time),
        truncated=meeting.truncated,
    )


async def upload_parts(
    requests: AsyncIterator[meeting_service_pb2.UploadRecordingRequest],
) -> AsyncIterator[UploadHeader | bytes]:
    """Convert the messages of an upload as they come; a message without a part says nothing."""
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                header = request.header
                yield UploadHeader(
                    meeting=header.meeting,
                    filename=header.filename,
                    write_minutes=header.write_minutes,
                    request_id=header.request_id,
                )
            case "chunk":
                yield request.chunk


def progress_to_proto(
    meeting: str, progress: RecordingProgress
) -> meeting_service_pb2.UploadRecordingMetadata:
    """Convert how far a recording of ``meeting`` is."""
    return meeting_service_pb2.UploadRecordingMetadata(
        meeting=meeting,
        stage=_STAGES[progress.stage],
        pieces_done=progress.pieces_done,
        pieces_total=progress.pieces_total,
        duration_ms=progress.duration_ms,
        speech_ms=progress.speech_ms,
        stage_times=[
            meeting_service_pb2.UploadRecordingMetadata.StageTime(
                stage=_STAGES[stage], seconds=seconds
            )
            for stage, seconds in progress.stage_seconds.items()
        ],
        minutes=progress.minutes,
    )


def transcript_to_proto(
    page: TranscriptPage, view: meeting_pb2.Transcript.View.ValueType
) -> meeting_service_pb2.GetTranscriptResponse:
    """Convert a page of a transcript; in the clean view utterances without words are left out."""
    raw = view == meeting_pb2.Transcript.RAW
    shown = page.utterances if raw else [one for one in page.utterances if one.clean_words]
    times = {one.id: one for one in page.meeting.speakers}
    return meeting_service_pb2.GetTranscriptResponse(
        transcript=meeting_pb2.Transcript(
            meeting=page.meeting.name,
            version=page.version.version,
            view=meeting_pb2.Transcript.RAW if raw else meeting_pb2.Transcript.CLEAN,
            speakers=[
                _speaker_to_proto(
                    SpeakerSummary(
                        one.id,
                        one.display_name,
                        times[one.id].speaking_ms if one.id in times else 0,
                        one.suggested_name,
                    )
                )
                for one in page.version.speakers
            ],
            utterances=[utterance_to_proto(one, raw=raw) for one in shown],
            origin=_origin_to_proto(page.version.origin),
        ),
        next_page_token=page.next_page_token,
    )


def utterance_to_proto(utterance: Utterance, *, raw: bool) -> meeting_pb2.Utterance:
    """Convert an utterance, with all words or with those of the clean view."""
    words = utterance.words if raw else utterance.clean_words
    return meeting_pb2.Utterance(
        id=utterance.id,
        speaker=utterance.speaker,
        language=utterance.language,
        start_ms=utterance.start_ms,
        end_ms=utterance.end_ms,
        text=join(word.text for word in words),
        words=map(_word_to_proto, words),
    )


def version_to_proto(version: VersionInfo) -> meeting_pb2.TranscriptVersion:
    """Convert a version of a transcript."""
    return meeting_pb2.TranscriptVersion(
        version=version.version,
        create_time=timestamp(version.create_time),
        author=version.author,
        change=version.change,
    )


def cleaned_to_proto(cleaned: CleanedText) -> meeting_service_pb2.CleanTextResponse:
    """Convert a text and what is left out of it."""
    return meeting_service_pb2.CleanTextResponse(
        clean_text=cleaned.clean_text,
        removals=[
            meeting_service_pb2.CleanTextResponse.Removal(
                start=one.start, end=one.end, disfluency=_DISFLUENCIES[one.disfluency]
            )
            for one in cleaned.removals
        ],
        engine=engine_to_proto(Engine(EngineKind.ENCODER, "atrium", cleaned.model)),
    )


def speaker_change(request: meeting_service_pb2.NameSpeakerRequest) -> dict[str, str]:
    """Return what is to be done with a speaker.

    Raises:
        FieldInvalid: The request does not say.
    """
    match request.WhichOneof("change"):
        case "display_name":
            return {"display_name": request.display_name}
        case "same_as":
            return {"same_as": request.same_as}
    raise FieldInvalid([("change", "expected `display_name` or `same_as`")])


def disfluency_to_proto(disfluency: Disfluency | None) -> meeting_pb2.Disfluency.ValueType:
    """Convert why a word is left out."""
    return _DISFLUENCIES[disfluency]


def timestamp(moment: datetime) -> Timestamp:
    """Convert a time."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def duration(milliseconds: int) -> Duration:
    """Convert a length of time."""
    length = Duration()
    length.FromMilliseconds(milliseconds)
    return length


def _time_from_proto(meeting: meeting_pb2.Meeting) -> datetime | None:
    if not meeting.HasField("start_time"):
        return None
    try:
        return meeting.start_time.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        problem = [("meeting.start_time", "expected a time in the years 1 to 9999")]
        raise FieldInvalid(problem) from error


def _speaker_to_proto(speaker: SpeakerSummary) -> meeting_pb2.Speaker:
    return meeting_pb2.Speaker(
        id=speaker.id,
        display_name=speaker.display_name,
        speaking_time=duration(speaker.speaking_ms),
        suggested_name=speaker.suggested_name,
    )


def _word_to_proto(word: Word) -> meeting_pb2.Word:
    return meeting_pb2.Word(
        text=word.text,
        start_ms=word.start_ms,
        end_ms=word.end_ms,
        confidence=word.confidence,
        disfluency=_DISFLUENCIES[word.disfluency],
    )


def _origin_to_proto(origin: Origin) -> meeting_pb2.Origin:
    return meeting_pb2.Origin(
        recognition_model=origin.recognition_model,
        diarization_model=origin.diarization_model,
        cleanup_model=origin.cleanup_model,
        degraded=origin.degraded,
        degraded_reason=origin.degraded_reason,
    )
