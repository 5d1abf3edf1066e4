"""A thin typed client: credentials, uploads, operations and streams over the generated stubs."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import anyio
import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message

from atrium.admin.v1 import (
    admin_service_pb2_grpc,
    audit_service_pb2_grpc,
    directory_service_pb2_grpc,
)
from atrium.gateway.v1 import gateway_service_pb2_grpc, quota_service_pb2_grpc
from atrium.knowledge.v1 import (
    conversation_service_pb2_grpc,
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    knowledge_pb2,
    knowledge_service_pb2,
    knowledge_service_pb2_grpc,
)
from atrium.meeting.v1 import (
    meeting_pb2,
    meeting_service_pb2,
    meeting_service_pb2_grpc,
    minutes_pb2,
)
from atrium_client.credentials import credential_interceptors
from atrium_client.errors import AtriumCallError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_TARGET = "127.0.0.1:7400"
_CHUNK_BYTES = 256 * 1024
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_WAIT_SECONDS = 10

Result = TypeVar("Result", bound=Message)
Progress = TypeVar("Progress", bound=Message)


class AtriumClient:
    """One tenant's way to an installation, for one user or service.

    The generated stubs are at hand as ``admin``, ``audit``, ``directory``, ``gateway``,
    ``catalog``, ``knowledge``, ``conversations``, ``evaluations``, ``meetings`` and
    ``operations``; the methods below save work that every caller would repeat. Stubs raise
    ``grpc.aio.AioRpcError``; wrap calls in :func:`readable_errors` for :class:`AtriumCallError`.

    Args:
        credential: API key (``atr_...``) or token.
        target: ``host:port`` of the installation.
        on_behalf_of: End user for whom a service account calls, such as ``lin``.
        tls: Channel credentials; None speaks plain text, for the loopback only.

    Raises:
        AtriumCallError: The credential or the user's name is none.
    """

    def __init__(
        self,
        credential: str,
        *,
        target: str = DEFAULT_TARGET,
        on_behalf_of: str | None = None,
        tls: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._credential, self._target, self._tls = credential, target, tls
        interceptors = credential_interceptors(credential, on_behalf_of)
        options = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)]
        if tls is None:
            self._channel = grpc.aio.insecure_channel(
                target, options=options, interceptors=interceptors
            )
        else:
            self._channel = grpc.aio.secure_channel(
                target, tls, options=options, interceptors=interceptors
            )
        channel = self._channel
        self.admin: admin_service_pb2_grpc.AdminServiceAsyncStub = (
            admin_service_pb2_grpc.AdminServiceStub(channel)
        )
        self.audit: audit_service_pb2_grpc.AuditServiceAsyncStub = (
            audit_service_pb2_grpc.AuditServiceStub(channel)
        )
        self.directory: directory_service_pb2_grpc.DirectoryServiceAsyncStub = (
            directory_service_pb2_grpc.DirectoryServiceStub(channel)
        )
        self.gateway: gateway_service_pb2_grpc.ModelGatewayAsyncStub = (
            gateway_service_pb2_grpc.ModelGatewayStub(channel)
        )
        self.catalog: gateway_service_pb2_grpc.ModelCatalogAsyncStub = (
            gateway_service_pb2_grpc.ModelCatalogStub(channel)
        )
        self.quotas: quota_service_pb2_grpc.QuotaServiceAsyncStub = (
            quota_service_pb2_grpc.QuotaServiceStub(channel)
        )
        self.knowledge: knowledge_service_pb2_grpc.KnowledgeServiceAsyncStub = (
            knowledge_service_pb2_grpc.KnowledgeServiceStub(channel)
        )
        self.conversations: conversation_service_pb2_grpc.ConversationServiceAsyncStub = (
            conversation_service_pb2_grpc.ConversationServiceStub(channel)
        )
        self.evaluations: evaluation_service_pb2_grpc.EvaluationServiceAsyncStub = (
            evaluation_service_pb2_grpc.EvaluationServiceStub(channel)
        )
        self.meetings: meeting_service_pb2_grpc.MeetingServiceAsyncStub = (
            meeting_service_pb2_grpc.MeetingServiceStub(channel)
        )
        self.operations = operations_pb2_grpc.OperationsStub(channel)

    def as_user(self, user: str) -> AtriumClient:
        """Return a client that calls on behalf of an end user. Close it too."""
        return AtriumClient(self._credential, target=self._target, on_behalf_of=user, tls=self._tls)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def __aenter__(self) -> AtriumClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def upload_document(
        self,
        collection: str,
        source: Path | bytes,
        *,
        filename: str = "",
        document_id: str = "",
        title: str = "",
        labels: Sequence[str] = (),
        section_labels: Mapping[str, Sequence[str]] | None = None,
        request_id: str = "",
    ) -> operations_pb2.Operation:
        """Send a file; returned means durable, not yet searchable (see :meth:`wait`).

        Args:
            collection: ``collections/handbook``.
            source: The file, or its bytes (then with ``filename``).
            filename: Name of the file. Empty: that of ``source``.
            document_id: Id for the document. Empty: the server chooses.
            title: Title. Empty: as found in the file.
            labels: Who reads the document holds one of these. Empty: everyone of the tenant.
            section_labels: Heading to labels that its readers need besides.
            request_id: Repeating an upload with the same id does nothing more.

        Raises:
            AtriumCallError: The server refused it.
            OSError: The file cannot be read.
        """
        name = filename or (source.name if isinstance(source, Path) else "")
        header = knowledge_service_pb2.UploadDocumentRequest.Header(
            parent=collection,
            document_id=document_id,
            request_id=request_id,
            document=knowledge_pb2.Document(
                title=title,
                filename=name,
                media_type=mimetypes.guess_type(name)[0] or "",
                labels=labels,
                section_labels=[
                    knowledge_pb2.SectionLabels(heading=heading, labels=needed)
                    for heading, needed in (section_labels or {}).items()
                ],
            ),
        )

        async def parts() -> AsyncIterator[knowledge_service_pb2.UploadDocumentRequest]:
            yield knowledge_service_pb2.UploadDocumentRequest(header=header)
            async for chunk in _chunks(source):
                yield knowledge_service_pb2.UploadDocumentRequest(chunk=chunk)

        with readable_errors():
            return await self.knowledge.UploadDocument(parts())

    async def wait(
        self,
        operation: operations_pb2.Operation,
        result: type[Result],
        *,
        progress: type[Progress] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Wait until an operation is done and return its result.

        Args:
            operation: As a method returned it.
            result: Message type of the result.
            progress: Message type of the metadata, with ``on_progress``.
            on_progress: Called with each progress that differs from the one before.

        Raises:
            AtriumCallError: The operation failed or was cancelled.
        """
        seen = b""
        while True:
            if progress is not None and on_progress is not None:
                if operation.metadata.value != seen:
                    seen = operation.metadata.value
                    on_progress(progress.FromString(seen))
                seconds = 0.2
            else:
                seconds = float(_WAIT_SECONDS)
            if operation.done:
                break
            timeout = duration_pb2.Duration(nanos=int(seconds % 1 * 1e9), seconds=int(seconds))
            request = operations_pb2.WaitOperationRequest(name=operation.name, timeout=timeout)
            with readable_errors():
                operation = await self.operations.WaitOperation(request)
        if operation.HasField("error"):
            raise AtriumCallError.from_status(operation.error)
        return result.FromString(operation.response.value)

    async def wait_for_document(
        self,
        operation: operations_pb2.Operation,
        on_progress: Callable[[knowledge_service_pb2.UploadDocumentMetadata], None] | None = None,
    ) -> knowledge_pb2.Document:
        """Wait until an uploaded document is searchable.

        Raises:
            AtriumCallError: The file could not be read; nothing of it is searchable.
        """
        return await self.wait(
            operation,
            knowledge_pb2.Document,
            progress=knowledge_service_pb2.UploadDocumentMetadata,
            on_progress=on_progress,
        )

    async def ask(
        self,
        collection: str,
        question: str,
        *,
        mode: knowledge_service_pb2.AskRequest.Mode.ValueType = (
            knowledge_service_pb2.AskRequest.MODE_UNSPECIFIED
        ),
        language: str = "",
        conversation: str = "",
    ) -> AsyncIterator[knowledge_service_pb2.AskResponse]:
        """Yield sources, then text, then the answer.

        Raises:
            AtriumCallError: The server refused the question.
        """
        request = knowledge_service_pb2.AskRequest(
            parent=collection,
            question=question,
            mode=mode,
            language=language,
            conversation=conversation,
        )
        with readable_errors():
            async for event in self.knowledge.Ask(request):
                yield event

    async def import_questions(
        self, collection: str, data: bytes, *, display_name: str = ""
    ) -> evaluation_service_pb2.QuestionSet:
        """Store a set of questions from JSON lines.

        Raises:
            AtriumCallError: A line is not as it should be, or names somebody unknown.
        """

        async def parts() -> AsyncIterator[evaluation_service_pb2.ImportQuestionSetRequest]:
            yield evaluation_service_pb2.ImportQuestionSetRequest(
                header=evaluation_service_pb2.QuestionSet(
                    collection=collection, display_name=display_name
                )
            )
            async for chunk in _chunks(data):
                yield evaluation_service_pb2.ImportQuestionSetRequest(chunk=chunk)

        with readable_errors():
            return await self.evaluations.ImportQuestionSet(parts())

    async def answer(
        self,
        collection: str,
        question: str,
        *,
        mode: knowledge_service_pb2.AskRequest.Mode.ValueType = (
            knowledge_service_pb2.AskRequest.MODE_UNSPECIFIED
        ),
        language: str = "",
    ) -> knowledge_pb2.Answer:
        """Ask and return the whole answer.

        Raises:
            AtriumCallError: The server refused the question.
        """
        answer = knowledge_pb2.Answer()
        async for event in self.ask(collection, question, mode=mode, language=language):
            if event.HasField("answer"):
                answer = event.answer
        return answer

    async def upload_recording(
        self,
        meeting: str,
        source: Path | bytes,
        *,
        filename: str = "",
        write_minutes: bool = False,
        request_id: str = "",
    ) -> operations_pb2.Operation:
        """Send a recording; returned means durable, not yet transcribed.

        Args:
            meeting: ``meetings/m1``, without a transcript.
            source: The file, or its bytes.
            filename: Name of the file. Empty: that of ``source``.
            write_minutes: Whether minutes are written too.
            request_id: Repeating an upload with the same id does nothing more.

        Raises:
            AtriumCallError: The server refused it.
            OSError: The file cannot be read.
        """
        header = meeting_service_pb2.UploadRecordingRequest.Header(
            meeting=meeting,
            filename=filename or (source.name if isinstance(source, Path) else ""),
            write_minutes=write_minutes,
            request_id=request_id,
        )

        async def parts() -> AsyncIterator[meeting_service_pb2.UploadRecordingRequest]:
            yield meeting_service_pb2.UploadRecordingRequest(header=header)
            async for chunk in _chunks(source):
                yield meeting_service_pb2.UploadRecordingRequest(chunk=chunk)

        with readable_errors():
            return await self.meetings.UploadRecording(parts())

    async def wait_for_transcript(
        self,
        operation: operations_pb2.Operation,
        on_progress: Callable[[meeting_service_pb2.UploadRecordingMetadata], None] | None = None,
    ) -> meeting_pb2.Meeting:
        """Wait until an uploaded recording is transcribed.

        Raises:
            AtriumCallError: It could not be transcribed.
        """
        return await self.wait(
            operation,
            meeting_pb2.Meeting,
            progress=meeting_service_pb2.UploadRecordingMetadata,
            on_progress=on_progress,
        )

    async def transcript(
        self,
        meeting: str,
        *,
        view: meeting_pb2.Transcript.View.ValueType = meeting_pb2.Transcript.VIEW_UNSPECIFIED,
        version: int = 0,
    ) -> meeting_pb2.Transcript:
        """Return a whole transcript, all pages of one version of it.

        Raises:
            AtriumCallError: The meeting has none, or the caller may not read it.
        """
        request = meeting_service_pb2.GetTranscriptRequest(
            meeting=meeting, view=view, version=version, page_size=1000
        )
        with readable_errors():
            page = await self.meetings.GetTranscript(request)
            whole = page.transcript
            while page.next_page_token:
                request.version, request.page_token = whole.version, page.next_page_token
                page = await self.meetings.GetTranscript(request)
                whole.utterances.extend(page.transcript.utterances)
        return whole

    async def write_minutes(
        self,
        request: meeting_service_pb2.WriteMinutesRequest,
        on_progress: Callable[[meeting_service_pb2.WriteMinutesMetadata], None] | None = None,
    ) -> minutes_pb2.Minutes:
        """Write minutes and return them.

        Raises:
            AtriumCallError: They could not be written.
        """
        with readable_errors():
            operation = await self.meetings.WriteMinutes(request)
        return await self.wait(
            operation,
            minutes_pb2.Minutes,
            progress=meeting_service_pb2.WriteMinutesMetadata,
            on_progress=on_progress,
        )

    async def export_meeting(
        self, request: meeting_service_pb2.ExportMeetingRequest
    ) -> tuple[str, bytes]:
        """Return the name and the bytes of a file that holds a meeting.

        Raises:
            AtriumCallError: The meeting has no transcript, or the caller may not read it.
        """
        filename, chunks = "", []
        with readable_errors():
            async for part in self.meetings.ExportMeeting(request):
                filename = part.header.filename or filename
                chunks.append(part.chunk)
        return filename, b"".join(chunks)


async def _chunks(source: Path | bytes) -> AsyncIterator[bytes]:
    if isinstance(source, bytes):
        for at in range(0, len(source), _CHUNK_BYTES):
            yield source[at : at + _CHUNK_BYTES]
        return
    # Opened here and not in a thread: who is refused at once is cancelled meanwhile, and what the
    # thread then opens nobody closes.
    with source.open("rb") as file:
        reader = anyio.wrap_file(file)
        while chunk := await reader.read(_CHUNK_BYTES):
            yield chunk


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn ``grpc.aio.AioRpcError`` into :class:`AtriumCallError`."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise AtriumCallError.from_rpc(error) from error
