"""The gRPC service: requests in, use cases, replies out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from atrium.meeting.v1 import (
    meeting_pb2,
    meeting_service_pb2,
    meeting_service_pb2_grpc,
    minutes_pb2,
)
from atrium_meeting.app.ask_meeting import AskMeeting
from atrium_meeting.app.catch_up import CatchUp
from atrium_meeting.app.clean_text import CleanText
from atrium_meeting.app.create_meeting import CreateMeeting
from atrium_meeting.app.delete_meeting import DeleteMeeting
from atrium_meeting.app.edit_utterance import EditUtterance
from atrium_meeting.app.export_meeting import ExportMeeting
from atrium_meeting.app.get_meeting import GetMeeting
from atrium_meeting.app.get_minutes import GetMinutes
from atrium_meeting.app.get_transcript import GetTranscript
from atrium_meeting.app.give_feedback import GiveFeedback
from atrium_meeting.app.import_transcript import ImportTranscript
from atrium_meeting.app.keep_hotwords import KeepHotwords
from atrium_meeting.app.list_meetings import ListMeetings
from atrium_meeting.app.list_transcript_versions import ListTranscriptVersions
from atrium_meeting.app.name_speaker import NameSpeaker
from atrium_meeting.app.request_minutes import RequestMinutes
from atrium_meeting.app.transcribe_live import TranscribeLive
from atrium_meeting.app.update_meeting import UpdateMeeting
from atrium_meeting.app.upload_recording import UploadRecording
from atrium_meeting.rpc import convert, convert_files, convert_live, convert_minutes
from atrium_shared.rpc.context import principal
from atrium_shared.rpc.operations_servicer import operation_to_proto

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the service can do."""

    create_meeting: CreateMeeting
    get_meeting: GetMeeting
    list_meetings: ListMeetings
    update_meeting: UpdateMeeting
    delete_meeting: DeleteMeeting
    upload_recording: UploadRecording
    hotwords: KeepHotwords
    get_transcript: GetTranscript
    list_transcript_versions: ListTranscriptVersions
    edit_utterance: EditUtterance
    name_speaker: NameSpeaker
    clean_text: CleanText
    import_transcript: ImportTranscript
    export_meeting: ExportMeeting
    write_minutes: RequestMinutes
    get_minutes: GetMinutes
    catch_up: CatchUp
    ask_meeting: AskMeeting
    give_feedback: GiveFeedback
    transcribe_live: TranscribeLive


class MeetingServicer(meeting_service_pb2_grpc.MeetingServiceServicer):
    """Implements ``atrium.meeting.v1.MeetingService``."""

    def __init__(self, do: UseCases) -> None:
        self._do = do

    async def CreateMeeting(
        self, request: meeting_service_pb2.CreateMeetingRequest, context: Context
    ) -> meeting_pb2.Meeting:
        fields = convert.fields_from_proto(request.meeting)
        made = await self._do.create_meeting(
            principal(context), request.meeting_id, fields, request.request_id
        )
        return convert.meeting_to_proto(made)

    async def GetMeeting(
        self, request: meeting_service_pb2.GetMeetingRequest, context: Context
    ) -> meeting_pb2.Meeting:
        found = await self._do.get_meeting(principal(context), request.name)
        return convert.meeting_to_proto(found)

    async def ListMeetings(
        self, request: meeting_service_pb2.ListMeetingsRequest, context: Context
    ) -> meeting_service_pb2.ListMeetingsResponse:
        page, next_token = await self._do.list_meetings(
            principal(context), request.page_size, request.page_token
        )
        return meeting_service_pb2.ListMeetingsResponse(
            meetings=map(convert.meeting_to_proto, page), next_page_token=next_token
        )

    async def UpdateMeeting(
        self, request: meeting_service_pb2.UpdateMeetingRequest, context: Context
    ) -> meeting_pb2.Meeting:
        fields, mask = convert.fields_from_proto(request.meeting), convert.mask_from_proto(request)
        changed = await self._do.update_meeting(
            principal(context), request.meeting.name, fields, mask
        )
        return convert.meeting_to_proto(changed)

    async def DeleteMeeting(
        self, request: meeting_service_pb2.DeleteMeetingRequest, context: Context
    ) -> empty_pb2.Empty:
        await self._do.delete_meeting(principal(context), request.name)
        return empty_pb2.Empty()

    async def UploadRecording(
        self,
        request_iterator: AsyncIterator[meeting_service_pb2.UploadRecordingRequest],
        context: Context,
    ) -> operations_pb2.Operation:
        parts = convert.upload_parts(request_iterator)
        operation = await self._do.upload_recording(principal(context), parts)
        return operation_to_proto(operation)

    async def TranscribeLive(
        self,
        request_iterator: AsyncIterator[meeting_service_pb2.TranscribeLiveRequest],
        context: Context,
    ) -> AsyncIterator[meeting_service_pb2.TranscribeLiveResponse]:
        parts = convert_live.live_parts(request_iterator)
        async with aclosing(self._do.transcribe_live(principal(context), parts)) as events:
            async for event in events:
                yield convert_live.event_to_proto(event)

    async def GetHotwords(
        self, request: meeting_service_pb2.GetHotwordsRequest, context: Context
    ) -> meeting_service_pb2.Hotwords:
        words = await self._do.hotwords.get(principal(context))
        return meeting_service_pb2.Hotwords(words=words)

    async def UpdateHotwords(
        self, request: meeting_service_pb2.UpdateHotwordsRequest, context: Context
    ) -> meeting_service_pb2.Hotwords:
        words = await self._do.hotwords.update(principal(context), list(request.hotwords.words))
        return meeting_service_pb2.Hotwords(words=words)

    async def GetTranscript(
        self, request: meeting_service_pb2.GetTranscriptRequest, context: Context
    ) -> meeting_service_pb2.GetTranscriptResponse:
        page = await self._do.get_transcript(
            principal(context),
            request.meeting,
            request.version,
            request.page_size,
            request.page_token,
        )
        return convert.transcript_to_proto(page, request.view)

    async def ListTranscriptVersions(
        self, request: meeting_service_pb2.ListTranscriptVersionsRequest, context: Context
    ) -> meeting_service_pb2.ListTranscriptVersionsResponse:
        page, next_token = await self._do.list_transcript_versions(
            principal(context), request.meeting, request.page_size, request.page_token
        )
        return meeting_service_pb2.ListTranscriptVersionsResponse(
            versions=map(convert.version_to_proto, page), next_page_token=next_token
        )

    async def EditUtterance(
        self, request: meeting_service_pb2.EditUtteranceRequest, context: Context
    ) -> meeting_pb2.Utterance:
        edited = await self._do.edit_utterance(
            principal(context),
            request.meeting,
            request.utterance,
            request.text,
            request.speaker,
            request.version,
        )
        return convert.utterance_to_proto(edited, raw=True)

    async def NameSpeaker(
        self, request: meeting_service_pb2.NameSpeakerRequest, context: Context
    ) -> meeting_pb2.Meeting:
        change = convert.speaker_change(request)
        meeting = await self._do.name_speaker(
            principal(context), request.meeting, request.speaker, version=request.version, **change
        )
        return convert.meeting_to_proto(meeting)

    async def CleanText(
        self, request: meeting_service_pb2.CleanTextRequest, context: Context
    ) -> meeting_service_pb2.CleanTextResponse:
        cleaned = await self._do.clean_text(request.text, request.language)
        return convert.cleaned_to_proto(cleaned)

    async def ImportTranscript(
        self, request: meeting_service_pb2.ImportTranscriptRequest, context: Context
    ) -> meeting_pb2.Meeting:
        kind = convert_files.imported_format(request)
        meeting = await self._do.import_transcript(
            principal(context), request.meeting, request.content, kind
        )
        return convert.meeting_to_proto(meeting)

    async def ExportMeeting(
        self, request: meeting_service_pb2.ExportMeetingRequest, context: Context
    ) -> AsyncIterator[meeting_service_pb2.ExportMeetingResponse]:
        file = await self._do.export_meeting(
            principal(context),
            request.meeting,
            convert_files.exported_format(request),
            clean=convert_files.shows_clean(request.view),
            minutes=request.minutes,
            language=request.language,
        )
        for part in convert_files.file_to_proto(file):
            yield part

    async def WriteMinutes(
        self, request: meeting_service_pb2.WriteMinutesRequest, context: Context
    ) -> operations_pb2.Operation:
        wanted = convert_minutes.wanted_from_proto(request)
        operation = await self._do.write_minutes(
            principal(context), request.meeting, wanted, request.request_id
        )
        return operation_to_proto(operation)

    async def GetMinutes(
        self, request: meeting_service_pb2.GetMinutesRequest, context: Context
    ) -> minutes_pb2.Minutes:
        written = await self._do.get_minutes(principal(context), request.name)
        return convert_minutes.minutes_to_proto(written)

    async def ListMinutes(
        self, request: meeting_service_pb2.ListMinutesRequest, context: Context
    ) -> meeting_service_pb2.ListMinutesResponse:
        page, next_token = await self._do.get_minutes.list(
            principal(context), request.parent, request.page_size, request.page_token
        )
        return meeting_service_pb2.ListMinutesResponse(
            minutes=[convert_minutes.minutes_to_proto(one, sections=False) for one in page],
            next_page_token=next_token,
        )

    async def CatchUp(
        self, request: meeting_service_pb2.CatchUpRequest, context: Context
    ) -> minutes_pb2.CatchUpReply:
        missed = await self._do.catch_up(
            principal(context),
            request.meeting,
            joined_at_ms=request.joined_at_ms if request.HasField("joined_at_ms") else None,
            left_at_ms=request.left_at_ms if request.HasField("left_at_ms") else None,
            speaker=request.speaker,
            language=request.language,
            mode=convert_minutes.mode_from_proto(request.mode),
        )
        return convert_minutes.missed_to_proto(missed)

    async def AskMeeting(
        self, request: meeting_service_pb2.AskMeetingRequest, context: Context
    ) -> AsyncIterator[meeting_service_pb2.AskMeetingResponse]:
        events = self._do.ask_meeting(
            principal(context),
            request.meeting,
            request.question,
            language=request.language,
            mode=convert_minutes.mode_from_proto(request.mode),
        )
        async with aclosing(events):
            async for event in events:
                yield convert_minutes.ask_event_to_proto(event)

    async def GiveFeedback(
        self, request: meeting_service_pb2.GiveFeedbackRequest, context: Context
    ) -> meeting_service_pb2.Feedback:
        feedback = request.feedback
        stored = await self._do.give_feedback(
            principal(context),
            feedback.minutes,
            feedback.sentence,
            convert_minutes.rating_from_proto(feedback.rating),
            comment=feedback.comment,
            correction=feedback.correction,
        )
        return convert_minutes.feedback_to_proto(stored)
