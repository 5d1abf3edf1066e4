"""Protos to domain and back: files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from atrium.meeting.v1 import meeting_pb2, meeting_service_pb2
from atrium_meeting.app.meeting_files import FileFormat, MeetingFile

_CHUNK_BYTES: Final = 256 * 1024
_IMPORTS: Final = {
    meeting_service_pb2.ImportTranscriptRequest.VTT: FileFormat.VTT,
    meeting_service_pb2.ImportTranscriptRequest.SRT: FileFormat.SRT,
    meeting_service_pb2.ImportTranscriptRequest.JSON: FileFormat.JSON,
}
_EXPORTS: Final = {
    meeting_service_pb2.ExportMeetingRequest.MD: FileFormat.MD,
    meeting_service_pb2.ExportMeetingRequest.DOCX: FileFormat.DOCX,
    meeting_service_pb2.ExportMeetingRequest.SRT: FileFormat.SRT,
    meeting_service_pb2.ExportMeetingRequest.VTT: FileFormat.VTT,
    meeting_service_pb2.ExportMeetingRequest.JSON: FileFormat.JSON,
}


def imported_format(request: meeting_service_pb2.ImportTranscriptRequest) -> FileFormat | None:
    """Return the format of a file to import; ``None``: to be found out."""
    return _IMPORTS.get(request.format)


def exported_format(request: meeting_service_pb2.ExportMeetingRequest) -> FileFormat:
    """Return the format to write."""
    return _EXPORTS[request.format]


def shows_clean(view: meeting_pb2.Transcript.View.ValueType) -> bool:
    """Return whether a view leaves disfluencies out."""
    return view != meeting_pb2.Transcript.RAW


def file_to_proto(file: MeetingFile) -> Iterator[meeting_service_pb2.ExportMeetingResponse]:
    """Yield the parts of a file."""
    yield meeting_service_pb2.ExportMeetingResponse(
        header=meeting_service_pb2.ExportMeetingResponse.Header(
            filename=file.filename, media_type=file.media_type
        )
    )
    for at in range(0, len(file.content), _CHUNK_BYTES):
        chunk = file.content[at : at + _CHUNK_BYTES]
        yield meeting_service_pb2.ExportMeetingResponse(chunk=chunk)
