"""The gRPC service: requests in, use cases, replies out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from atrium.knowledge.v1 import (
    access_pb2,
    knowledge_pb2,
    knowledge_service_pb2,
    knowledge_service_pb2_grpc,
    statistics_pb2,
    sync_pb2,
    versions_pb2,
)
from atrium_knowledge.app.ask_collection import AskCollection
from atrium_knowledge.app.create_collection import CreateCollection
from atrium_knowledge.app.delete_collection import DeleteCollection
from atrium_knowledge.app.delete_document import DeleteDocument
from atrium_knowledge.app.explain_access import ExplainAccess
from atrium_knowledge.app.get_collection import GetCollection
from atrium_knowledge.app.get_document import GetDocument
from atrium_knowledge.app.get_statistics import GetStatistics
from atrium_knowledge.app.give_feedback import GiveFeedback
from atrium_knowledge.app.list_collections import ListCollections
from atrium_knowledge.app.list_document_versions import ListDocumentVersions
from atrium_knowledge.app.list_documents import ListDocuments
from atrium_knowledge.app.read_passages import ReadPassages
from atrium_knowledge.app.search_collection import SearchCollection
from atrium_knowledge.app.set_document_labels import SetDocumentLabels
from atrium_knowledge.app.sync_documents import SyncDocuments
from atrium_knowledge.app.update_collection import UpdateCollection
from atrium_knowledge.app.upload_document import UploadDocument
from atrium_knowledge.rpc import convert, convert_sync
from atrium_shared.rpc.context import principal
from atrium_shared.rpc.operations_servicer import operation_to_proto

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the service can do."""

    create_collection: CreateCollection
    get_collection: GetCollection
    list_collections: ListCollections
    update_collection: UpdateCollection
    delete_collection: DeleteCollection
    upload_document: UploadDocument
    get_document: GetDocument
    list_documents: ListDocuments
    set_document_labels: SetDocumentLabels
    delete_document: DeleteDocument
    get_statistics: GetStatistics
    list_document_versions: ListDocumentVersions
    explain_access: ExplainAccess
    sync_documents: SyncDocuments
    search: SearchCollection
    ask: AskCollection
    read_passages: ReadPassages
    give_feedback: GiveFeedback


class KnowledgeServicer(knowledge_service_pb2_grpc.KnowledgeServiceServicer):
    """Implements ``atrium.knowledge.v1.KnowledgeService``."""

    def __init__(self, do: UseCases) -> None:
        self._do = do

    async def CreateCollection(
        self,
        request: knowledge_service_pb2.CreateCollectionRequest,
        context: Context,
    ) -> knowledge_pb2.Collection:
        made = await self._do.create_collection(
            principal(context),
            request.collection_id,
            request.collection.display_name,
            convert.topics_from_proto(request.collection.restricted_topics),
            convert.versions_kept_from_proto(request.collection),
            keep_questions=request.collection.keep_questions,
        )
        return convert.collection_to_proto(made)

    async def GetCollection(
        self,
        request: knowledge_service_pb2.GetCollectionRequest,
        context: Context,
    ) -> knowledge_pb2.Collection:
        found = await self._do.get_collection(principal(context), request.name)
        return convert.collection_to_proto(found)

    async def ListCollections(
        self,
        request: knowledge_service_pb2.ListCollectionsRequest,
        context: Context,
    ) -> knowledge_service_pb2.ListCollectionsResponse:
        page, next_token = await self._do.list_collections(
            principal(context), request.page_size, request.page_token
        )
        return knowledge_service_pb2.ListCollectionsResponse(
            collections=map(convert.collection_to_proto, page), next_page_token=next_token
        )

    async def UpdateCollection(
        self,
        request: knowledge_service_pb2.UpdateCollectionRequest,
        context: Context,
    ) -> knowledge_pb2.Collection:
        collection = request.collection
        updated = await self._do.update_collection(
            principal(context),
            collection.name,
            etag=collection.etag,
            display_name=collection.display_name,
            topics=convert.topics_from_proto(collection.restricted_topics),
            versions_kept=convert.versions_kept_from_proto(collection),
            keep_questions=convert.keep_questions_from_proto(collection),
            fields=list(request.update_mask.paths),
        )
        return convert.collection_to_proto(updated)

    async def DeleteCollection(
        self,
        request: knowledge_service_pb2.DeleteCollectionRequest,
        context: Context,
    ) -> empty_pb2.Empty:
        await self._do.delete_collection(principal(context), request.name)
        return empty_pb2.Empty()

    async def UploadDocument(
        self,
        request_iterator: AsyncIterator[knowledge_service_pb2.UploadDocumentRequest],
        context: Context,
    ) -> operations_pb2.Operation:
        parts = convert.upload_parts(request_iterator)
        operation = await self._do.upload_document(principal(context), parts)
        return operation_to_proto(operation)

    async def GetDocument(
        self,
        request: knowledge_service_pb2.GetDocumentRequest,
        context: Context,
    ) -> knowledge_pb2.Document:
        found = await self._do.get_document(principal(context), request.name)
        return convert.document_to_proto(found)

    async def ListDocuments(
        self,
        request: knowledge_service_pb2.ListDocumentsRequest,
        context: Context,
    ) -> knowledge_service_pb2.ListDocumentsResponse:
        page, next_token = await self._do.list_documents(
            principal(context), request.parent, request.page_size, request.page_token
        )
        return knowledge_service_pb2.ListDocumentsResponse(
            documents=map(convert.document_to_proto, page), next_page_token=next_token
        )

    async def SetDocumentLabels(
        self,
        request: knowledge_service_pb2.SetDocumentLabelsRequest,
        context: Context,
    ) -> knowledge_pb2.Document:
        labelled, warnings = await self._do.set_document_labels(
            principal(context),
            request.name,
            frozenset(request.labels),
            convert.section_labels_from_proto(request.section_labels),
        )
        document = convert.document_to_proto(labelled)
        document.label_warnings.extend(convert_sync.warnings_to_proto(warnings))
        return document

    async def DeleteDocument(
        self,
        request: knowledge_service_pb2.DeleteDocumentRequest,
        context: Context,
    ) -> empty_pb2.Empty:
        await self._do.delete_document(principal(context), request.name)
        return empty_pb2.Empty()

    async def GetCollectionStatistics(
        self,
        request: statistics_pb2.GetCollectionStatisticsRequest,
        context: Context,
    ) -> statistics_pb2.CollectionStatistics:
        found = await self._do.get_statistics(principal(context), request.name)
        return convert.statistics_to_proto(*found)

    async def ListDocumentVersions(
        self,
        request: versions_pb2.ListDocumentVersionsRequest,
        context: Context,
    ) -> versions_pb2.ListDocumentVersionsResponse:
        page, next_token = await self._do.list_document_versions(
            principal(context), request.parent, request.page_size, request.page_token
        )
        return versions_pb2.ListDocumentVersionsResponse(
            versions=map(convert.version_to_proto, page), next_page_token=next_token
        )

    async def SyncDocuments(
        self,
        request_iterator: AsyncIterator[sync_pb2.SyncDocumentsRequest],
        context: Context,
    ) -> sync_pb2.SyncDocumentsResponse:
        parts = convert_sync.sync_parts(request_iterator)
        outcome = await self._do.sync_documents(principal(context), parts)
        return convert_sync.outcome_to_proto(outcome)

    async def GetSyncState(
        self,
        request: sync_pb2.GetSyncStateRequest,
        context: Context,
    ) -> sync_pb2.SyncState:
        state = await self._do.sync_documents.state(principal(context), request.name)
        return convert_sync.state_to_proto(state)

    async def ExplainAccess(
        self,
        request: access_pb2.ExplainAccessRequest,
        context: Context,
    ) -> access_pb2.ExplainAccessResponse:
        found = await self._do.explain_access(
            principal(context),
            request.name,
            convert.read_time_from_proto(request),
            request.page_size,
            request.page_token,
        )
        return convert.explanation_to_proto(found)

    async def Search(
        self,
        request: knowledge_service_pb2.SearchRequest,
        context: Context,
    ) -> knowledge_service_pb2.SearchResponse:
        hits = await self._do.search(
            principal(context), request.parent, request.query, request.page_size
        )
        return knowledge_service_pb2.SearchResponse(results=map(convert.hit_to_proto, hits))

    async def Ask(
        self,
        request: knowledge_service_pb2.AskRequest,
        context: Context,
    ) -> AsyncIterator[knowledge_service_pb2.AskResponse]:
        events = self._do.ask(
            principal(context),
            request.parent,
            request.question,
            convert.mode_from_proto(request.mode),
            request.language,
            request.conversation,
        )
        async with aclosing(events):
            async for event in events:
                yield convert.ask_event_to_proto(event)

    async def ReadPassages(
        self,
        request: knowledge_service_pb2.ReadPassagesRequest,
        context: Context,
    ) -> knowledge_service_pb2.ReadPassagesResponse:
        passages = await self._do.read_passages(
            principal(context), request.names, request.document, request.start, request.page_size
        )
        return knowledge_service_pb2.ReadPassagesResponse(
            passages=map(convert.passage_to_proto, passages)
        )

    async def GiveFeedback(
        self,
        request: knowledge_service_pb2.GiveFeedbackRequest,
        context: Context,
    ) -> knowledge_service_pb2.Feedback:
        feedback = request.feedback
        stored = await self._do.give_feedback(
            principal(context),
            feedback.answer,
            convert.rating_from_proto(feedback.rating),
            feedback.comment,
        )
        return convert.feedback_to_proto(stored)
