"""Protos to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from atrium.knowledge.v1 import (
    access_pb2,
    knowledge_pb2,
    knowledge_service_pb2,
    statistics_pb2,
    versions_pb2,
)
from atrium_documents.cleaning import one_line
from atrium_knowledge.app.ask_collection import AskReply, Reply
from atrium_knowledge.app.ask_question import AskMode, Delta, Sources
from atrium_knowledge.app.stores import Progress
from atrium_knowledge.app.upload_document import UploadHeader
from atrium_knowledge.domain.access import AccessExplanation, AccessReader, ClauseOrigin
from atrium_knowledge.domain.answers import Decision, Feedback, Rating
from atrium_knowledge.domain.collections import Collection, RestrictedTopic, Statistics
from atrium_knowledge.domain.documents import (
    Document,
    DocumentState,
    RevisionState,
    SectionLabels,
)
from atrium_knowledge.domain.history import DocumentVersion, LabelPeriod
from atrium_knowledge.domain.passages import Hit, Passage
from atrium_shared.rpc.engines import engine_to_proto, usage_to_proto
from atrium_shared.rpc.status import FieldInvalid

_STATES: Final = {
    DocumentState.PROCESSING: knowledge_pb2.Document.PROCESSING,
    DocumentState.READY: knowledge_pb2.Document.READY,
    DocumentState.FAILED: knowledge_pb2.Document.FAILED,
}
_VERSION_STATES: Final = {
    RevisionState.PROCESSING: versions_pb2.DocumentVersion.PROCESSING,
    RevisionState.LIVE: versions_pb2.DocumentVersion.CURRENT,
    RevisionState.SUPERSEDED: versions_pb2.DocumentVersion.SUPERSEDED,
    RevisionState.FAILED: versions_pb2.DocumentVersion.FAILED,
}
_ORIGINS: Final = {
    ClauseOrigin.DOCUMENT: access_pb2.AccessClause.DOCUMENT,
    ClauseOrigin.SECTION: access_pb2.AccessClause.SECTION,
}
_STAGES: Final = {
    "PARSING": knowledge_service_pb2.UploadDocumentMetadata.PARSING,
    "ENCODING": knowledge_service_pb2.UploadDocumentMetadata.ENCODING,
    "INDEXING": knowledge_service_pb2.UploadDocumentMetadata.INDEXING,
    "DONE": knowledge_service_pb2.UploadDocumentMetadata.DONE,
}
_MODES: Final = {
    knowledge_service_pb2.AskRequest.EXTRACTIVE: AskMode.EXTRACTIVE,
    knowledge_service_pb2.AskRequest.GENERATIVE: AskMode.GENERATIVE,
}
DECISIONS: Final = {
    Decision.ANSWERED: knowledge_pb2.Answer.ANSWERED,
    Decision.REFUSED: knowledge_pb2.Answer.REFUSED,
    Decision.NOT_FOUND: knowledge_pb2.Answer.NOT_FOUND,
}
_RATINGS: Final = {
    knowledge_service_pb2.Feedback.HELPFUL: Rating.HELPFUL,
    knowledge_service_pb2.Feedback.NOT_HELPFUL: Rating.NOT_HELPFUL,
}
_RATINGS_TO_PROTO: Final = {rating: number for number, rating in _RATINGS.items()}


def collection_to_proto(collection: Collection) -> knowledge_pb2.Collection:
    """Convert a collection."""
    return knowledge_pb2.Collection(
        name=collection.name,
        display_name=collection.display_name,
        restricted_topics=[_topic_to_proto(topic) for topic in collection.restricted_topics],
        create_time=timestamp(collection.create_time),
        etag=collection.etag,
        versions_kept=collection.versions_kept,
        keep_questions=collection.keep_questions,
    )


def statistics_to_proto(
    collection: Collection, statistics: Statistics
) -> statistics_pb2.CollectionStatistics:
    """Convert counts."""
    return statistics_pb2.CollectionStatistics(
        collection=collection.name,
        documents=statistics.documents,
        passages=statistics.passages,
        languages=[
            statistics_pb2.CollectionStatistics.Language(language=language, passages=passages)
            for language, passages in statistics.languages
        ],
    )


def versions_kept_from_proto(collection: knowledge_pb2.Collection) -> int | None:
    """Return how many superseded versions keep their text, where it is said."""
    return collection.versions_kept if collection.HasField("versions_kept") else None


def keep_questions_from_proto(collection: knowledge_pb2.Collection) -> bool | None:
    """Return whether words of bad cases are kept, where it is said."""
    return collection.keep_questions if collection.HasField("keep_questions") else None


def topics_from_proto(
    topics: Iterable[knowledge_pb2.RestrictedTopic],
) -> tuple[RestrictedTopic, ...]:
    """Convert restricted topics."""
    return tuple(
        RestrictedTopic(
            id=topic.id,
            description=topic.description,
            examples=tuple(topic.examples),
            counter_examples=tuple(topic.counter_examples),
            labels=frozenset(topic.labels),
            refusals=dict(topic.refusals),
        )
        for topic in topics
    )


def document_to_proto(document: Document) -> knowledge_pb2.Document:
    """Convert a document."""
    return knowledge_pb2.Document(
        name=document.name,
        title=document.title,
        filename=document.filename,
        labels=sorted(document.labels),
        section_labels=_section_labels_to_proto(document.section_labels),
        state=_STATES[document.state],
        media_type=document.media_type,
        size_bytes=document.size_bytes,
        version=document.version,
        language=document.language,
        passage_count=document.passage_count,
        page_count=document.page_count,
        error_reason=document.error_reason,
        error_message=document.error_message,
        warnings=document.warnings,
        create_time=timestamp(document.create_time),
        update_time=timestamp(document.update_time),
    )


def version_to_proto(version: DocumentVersion) -> versions_pb2.DocumentVersion:
    """Convert a version of a document."""
    revision = version.revision
    return versions_pb2.DocumentVersion(
        name=version.name,
        version=revision.version,
        state=_VERSION_STATES[revision.state],
        filename=revision.filename,
        media_type=revision.media_type,
        size_bytes=revision.size_bytes,
        content_hash=revision.content_hash,
        actor=revision.actor,
        on_behalf_of=revision.on_behalf_of or "",
        create_time=timestamp(revision.create_time),
        text_kept=revision.text_kept,
        label_periods=map(_period_to_proto, version.periods),
        error_reason=revision.error_reason,
        error_message=revision.error_message,
    )


def explanation_to_proto(found: AccessExplanation) -> access_pb2.ExplainAccessResponse:
    """Convert who could read something, and why."""
    return access_pb2.ExplainAccessResponse(
        name=found.name,
        read_time=timestamp(found.read_time),
        version=found.version,
        clauses=[
            access_pb2.AccessClause(origin=_ORIGINS[one.origin], labels=sorted(one.labels))
            for one in found.clauses
        ],
        labels_time=timestamp(found.labels_time),
        labelled_sections=found.labelled_sections,
        readers=map(_access_reader_to_proto, found.readers),
        next_page_token=found.next_page_token,
        policy_version=found.policy_version,
        policy_time=timestamp(found.policy_time),
    )


def read_time_from_proto(request: access_pb2.ExplainAccessRequest) -> datetime | None:
    """Return the time that is asked about; ``None``: now.

    Raises:
        FieldInvalid: It is outside the years 1 to 9999, or malformed.
    """
    if not request.HasField("read_time"):
        return None
    try:
        return request.read_time.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise FieldInvalid([("read_time", "expected a time in the years 1 to 9999")]) from error


def section_labels_from_proto(
    section_labels: Iterable[knowledge_pb2.SectionLabels],
) -> tuple[SectionLabels, ...]:
    """Convert labels of sections."""
    return tuple(SectionLabels(one.heading, frozenset(one.labels)) for one in section_labels)


async def upload_parts(
    requests: AsyncIterator[knowledge_service_pb2.UploadDocumentRequest],
) -> AsyncIterator[UploadHeader | bytes]:
    """Convert the messages of an upload as they come; a message without a part says nothing."""
    async for request in requests:
        match request.WhichOneof("part"):
            case "header":
                yield _header_from_proto(request.header)
            case "chunk":
                yield request.chunk


def progress_to_proto(
    document: str, progress: Progress
) -> knowledge_service_pb2.UploadDocumentMetadata:
    """Convert how far an upload of ``document`` is."""
    return knowledge_service_pb2.UploadDocumentMetadata(
        document=document,
        stage=_STAGES[progress.stage],
        passages_done=progress.passages_done,
        passages_total=progress.passages_total,
        parse_seconds=progress.parse_seconds,
        encode_seconds=progress.encode_seconds,
        index_seconds=progress.index_seconds,
        encoder_tokens=progress.encoder_tokens,
    )


def passage_to_proto(passage: Passage) -> knowledge_pb2.Passage:
    """Convert a passage."""
    return knowledge_pb2.Passage(
        name=passage.name,
        document=passage.document,
        document_title=passage.document_title,
        section_path=passage.section_path,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        page=passage.page,
        version=passage.version,
        paragraph=passage.paragraph,
    )


def hit_to_proto(hit: Hit) -> knowledge_pb2.SearchResult:
    """Convert what a search found."""
    return knowledge_pb2.SearchResult(
        passage=passage_to_proto(hit.passage),
        score=hit.score,
        keyword_rank=hit.keyword_rank,
        vector_rank=hit.vector_rank,
    )


def mode_from_proto(mode: knowledge_service_pb2.AskRequest.Mode.ValueType) -> AskMode:
    """Convert how an answer is to be made."""
    return _MODES.get(mode, AskMode.AUTO)


def ask_event_to_proto(event: AskReply) -> knowledge_service_pb2.AskResponse:
    """Convert a part of an answer."""
    match event:
        case Sources():
            sources = knowledge_service_pb2.AskResponse.Sources(
                results=map(hit_to_proto, event.hits)
            )
            return knowledge_service_pb2.AskResponse(sources=sources)
        case Delta():
            return knowledge_service_pb2.AskResponse(delta=event.text)
        case Reply():
            return knowledge_service_pb2.AskResponse(answer=_answer_to_proto(event))


def rating_from_proto(rating: knowledge_service_pb2.Feedback.Rating.ValueType) -> Rating:
    """Convert a thumb."""
    return _RATINGS[rating]


def feedback_to_proto(feedback: Feedback) -> knowledge_service_pb2.Feedback:
    """Convert feedback."""
    return knowledge_service_pb2.Feedback(
        name=feedback.name,
        answer=f"answers/{feedback.answer_id}",
        rating=_RATINGS_TO_PROTO[feedback.rating],
        comment=feedback.comment,
    )


def _answer_to_proto(reply: Reply) -> knowledge_pb2.Answer:
    answer = reply.answer
    return knowledge_pb2.Answer(
        name=answer.name,
        decision=DECISIONS[answer.decision],
        text=answer.text,
        citations=[
            knowledge_pb2.Citation(
                number=one.number,
                passage=passage_to_proto(one.passage),
                quote=one.quote,
                start=one.start,
                end=one.end,
            )
            for one in answer.citations
        ],
        restricted_topic=answer.restricted_topic,
        engine=engine_to_proto(answer.engine),
        usage=usage_to_proto(answer.usage),
        dropped_sentences=answer.dropped_sentences,
        interpreted_question=reply.interpreted_question,
    )


def _section_labels_to_proto(
    section_labels: Iterable[SectionLabels],
) -> list[knowledge_pb2.SectionLabels]:
    return [
        knowledge_pb2.SectionLabels(heading=one.heading, labels=sorted(one.labels))
        for one in section_labels
    ]


def _period_to_proto(period: LabelPeriod) -> versions_pb2.DocumentVersion.LabelPeriod:
    return versions_pb2.DocumentVersion.LabelPeriod(
        labels=sorted(period.labels),
        section_labels=_section_labels_to_proto(period.section_labels),
        start_time=timestamp(period.start_time),
        end_time=timestamp(period.end_time) if period.end_time is not None else None,
    )


def _access_reader_to_proto(reader: AccessReader) -> access_pb2.AccessReader:
    return access_pb2.AccessReader(
        user=reader.user,
        grants=[
            access_pb2.AccessReader.Through(
                role=one.role, via=one.via, grant=one.grant, permission=one.permission
            )
            for one in reader.grants
        ],
    )


def _header_from_proto(
    header: knowledge_service_pb2.UploadDocumentRequest.Header,
) -> UploadHeader:
    return UploadHeader(
        parent=header.parent,
        document_id=header.document_id,
        title=one_line(header.document.title),
        filename=header.document.filename,
        labels=frozenset(header.document.labels),
        section_labels=section_labels_from_proto(header.document.section_labels),
        request_id=header.request_id,
    )


def _topic_to_proto(topic: RestrictedTopic) -> knowledge_pb2.RestrictedTopic:
    return knowledge_pb2.RestrictedTopic(
        id=topic.id,
        description=topic.description,
        examples=topic.examples,
        counter_examples=topic.counter_examples,
        labels=sorted(topic.labels),
        refusals=topic.refusals,
    )


def timestamp(moment: datetime) -> Timestamp:
    """Convert a time."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
