"""Wires knowledge: what there is, and what it is made of."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from atrium.knowledge.v1 import (
    conversation_service_pb2_grpc,
    evaluation_service_pb2_grpc,
    knowledge_service_pb2_grpc,
)
from atrium_documents import DocumentParser as FileParser
from atrium_documents import ParseLimits
from atrium_knowledge.adapters.qdrant_edge_index import QdrantEdgeIndex
from atrium_knowledge.adapters.sql_answers import SqlAnswers
from atrium_knowledge.adapters.sql_collections import SqlCollections
from atrium_knowledge.adapters.sql_conversations import SqlConversations
from atrium_knowledge.adapters.sql_documents import SqlDocuments
from atrium_knowledge.adapters.sql_erasures import SqlErasures
from atrium_knowledge.adapters.sql_evaluations import SqlEvaluations
from atrium_knowledge.adapters.sql_passage_counts import SqlPassageCounts
from atrium_knowledge.adapters.sql_sync import SqlSync
from atrium_knowledge.app.access_classes import AccessClasses
from atrium_knowledge.app.answer_access import AnswerAccess
from atrium_knowledge.app.answer_log import RecentAnswers
from atrium_knowledge.app.apply_labels import ApplyLabels
from atrium_knowledge.app.ask_collection import AskCollection
from atrium_knowledge.app.ask_question import AskQuestion
from atrium_knowledge.app.centred_embedder import CentredEmbedder
from atrium_knowledge.app.clean_up import CleanUp
from atrium_knowledge.app.compile_topics import CompileTopics
from atrium_knowledge.app.consult_reader import ConsultReader
from atrium_knowledge.app.converse import Converse
from atrium_knowledge.app.create_collection import CreateCollection
from atrium_knowledge.app.delete_collection import DeleteCollection
from atrium_knowledge.app.delete_document import DeleteDocument
from atrium_knowledge.app.encode import Encode
from atrium_knowledge.app.explain_access import ExplainAccess
from atrium_knowledge.app.export_bad_cases import ExportBadCases
from atrium_knowledge.app.finish_sync import SYNC_JOB, FinishSync
from atrium_knowledge.app.forget_old import ForgetOld
from atrium_knowledge.app.get_collection import GetCollection
from atrium_knowledge.app.get_document import GetDocument
from atrium_knowledge.app.get_statistics import GetStatistics
from atrium_knowledge.app.give_feedback import GiveFeedback
from atrium_knowledge.app.index_passages import IndexPassages
from atrium_knowledge.app.ingest_document import IngestDocument
from atrium_knowledge.app.interpret_question import InterpretQuestion
from atrium_knowledge.app.keep_index import KeepIndex
from atrium_knowledge.app.label_warnings import LabelWarnings
from atrium_knowledge.app.list_bad_cases import ListBadCases
from atrium_knowledge.app.list_collections import ListCollections
from atrium_knowledge.app.list_document_versions import ListDocumentVersions
from atrium_knowledge.app.list_documents import ListDocuments
from atrium_knowledge.app.locks import CollectionLocks
from atrium_knowledge.app.ports import (
    Delegation,
    DocumentParser,
    ErasedUsers,
    PassageIndex,
    Reader,
    ReaderDirectory,
    RoleHolders,
)
from atrium_knowledge.app.question_sets import QuestionSets
from atrium_knowledge.app.read_passages import ReadPassages
from atrium_knowledge.app.receive_file import INGEST_JOB, ReceiveFile
from atrium_knowledge.app.recover import Recover
from atrium_knowledge.app.remove_document import RemoveDocument
from atrium_knowledge.app.run_evaluation import EVALUATE_JOB, RunEvaluation
from atrium_knowledge.app.search_collection import SearchCollection
from atrium_knowledge.app.search_passages import SearchPassages
from atrium_knowledge.app.set_document_labels import SetDocumentLabels
from atrium_knowledge.app.sync_documents import SyncDocuments
from atrium_knowledge.app.update_collection import UpdateCollection
from atrium_knowledge.app.upload_document import UploadDocument
from atrium_knowledge.domain.terms import preload
from atrium_knowledge.rpc import convert, convert_evaluations, convert_sync
from atrium_knowledge.rpc.conversation_servicer import ConversationServicer
from atrium_knowledge.rpc.evaluation_servicer import EvaluationServicer
from atrium_knowledge.rpc.servicer import KnowledgeServicer, UseCases
from atrium_knowledge.settings import KnowledgeSettings
from atrium_shared.audit import AuditSink
from atrium_shared.audit_trail import AuditTrail
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Clock, Ids, RandomIds, SystemClock
from atrium_shared.database import Database
from atrium_shared.jobs import JobRunner
from atrium_shared.models import Embedder, Generator
from atrium_shared.operations import OperationStore
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.tasks import cancel_and_wait

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Patience:
    """How long ingestion waits for what is away, in seconds; tests wait less."""

    encoder_seconds: float = 60.0
    others_seconds: float = 6 * 3600.0
    poll_seconds: float = 1.0
    """How often what a sync left under way is looked at."""


def build(
    settings: KnowledgeSettings,
    *,
    audit: AuditSink,
    jobs: JobRunner,
    embedder: Embedder,
    generator: Generator,
    delegation: Delegation,
    role_holders: RoleHolders,
    reader_directory: ReaderDirectory,
    reader: Reader | None = None,
    erased_users: ErasedUsers | None = None,
    index: PassageIndex | None = None,
    parser: DocumentParser | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    patience: Patience = Patience(),
) -> ServiceApp:
    """Return knowledge, ready to be served.

    Args:
        settings: What the operator set.
        audit: Where calls are recorded.
        jobs: Runs ingestion. The caller starts it after all services of the process are built and
            before they start, and closes it after they have stopped.
        embedder: Makes vectors.
        generator: Writes answers.
        delegation: Says who the uploader of a document is when it is taken in, and who is meant by
            the users of an evaluation.
        role_holders: Finds users who stand for a role in an evaluation.
        reader_directory: Knows who held which labels when.
        reader: Says which sentences answer; ``None`` where there is no such model.
        erased_users: Says of whom nothing is to be kept; nobody is forgotten when ``None``.
        index: Finds passages; Qdrant Edge in ``settings.index_dir`` when ``None``.
        parser: Reads files; ``atrium_documents`` in processes of its own when ``None``.
        clock: Tells the time.
        ids: Makes identifiers.
        patience: How long ingestion waits for what is away.
    """
    clock, ids = clock or SystemClock(), ids or RandomIds()
    database = Database(settings.database_url, migrations=MIGRATIONS, name="knowledge")
    operations = OperationStore(database, "knowledge", clock=clock)
    blobs = BlobStore(settings.blob_url)
    index = index or QdrantEdgeIndex(
        settings.index_dir, max_open=settings.index_shards_open, threads=settings.index_threads
    )
    files = FileParser(workers=settings.parser_processes, limits=_limits(settings))
    collections = SqlCollections(database, operations)
    documents = SqlDocuments(
        database,
        operations,
        progress_message=convert.progress_to_proto,
        document_message=convert.document_to_proto,
        clock=clock,
        ids=ids,
        replica=settings.replica,
    )
    answers = SqlAnswers(database)
    conversations = SqlConversations(database)
    evaluations = SqlEvaluations(
        database,
        operations,
        progress_message=convert_evaluations.progress_to_proto,
        run_message=convert_evaluations.run_to_proto,
    )
    conversations_kept = timedelta(days=settings.conversations_kept_days)
    sync = SqlSync(
        database,
        operations,
        progress_message=convert_sync.progress_to_proto,
        report_message=convert_sync.report_to_proto,
        clock=clock,
        ids=ids,
    )

    trail = AuditTrail(audit, "knowledge")
    locks = CollectionLocks()
    classes = AccessClasses(collections)
    centred = CentredEmbedder(embedder)
    encode = Encode(centred, patience_seconds=patience.encoder_seconds)
    topics = CompileTopics(collections, encode)
    recent = RecentAnswers(answers, clock)
    clean_up = CleanUp(documents, index, blobs, locks)
    receive = ReceiveFile(documents, blobs, jobs, ids)
    index_passages = IndexPassages(documents, index, encode, locks)
    ingest = IngestDocument(
        collections,
        documents,
        blobs,
        parser or files,
        index_passages,
        clean_up,
        delegation,
        locks,
        clock,
        patience_seconds=patience.others_seconds,
    )
    keep_index = KeepIndex(
        collections,
        documents,
        answers,
        index,
        index_passages,
        encode,
        topics,
        delegation,
        locks,
        clock,
        every_seconds=settings.upkeep_seconds,
        answers_kept=timedelta(days=settings.answers_kept_days),
    )
    recover = Recover(documents, index, blobs, jobs, clean_up, locks, sync)
    apply_labels = ApplyLabels(documents, index, locks)
    remove = RemoveDocument(documents, recent, jobs, clean_up)
    warnings = LabelWarnings(reader_directory, clock)
    finish_sync = FinishSync(
        sync,
        remove,
        delegation,
        trail,
        patience_seconds=patience.others_seconds,
        poll_seconds=patience.poll_seconds,
    )
    search = SearchPassages(collections, documents, index, classes, centred, keep_index.tell)
    ask = AskQuestion(
        search=search,
        topics=topics,
        embedder=centred,
        reader=ConsultReader(reader),
        generator=generator,
        answers=recent,
        audit=audit,
        clock=clock,
        ids=ids,
    )
    sync_documents = SyncDocuments(
        collections,
        documents,
        sync,
        receive,
        apply_labels,
        remove,
        jobs,
        warnings,
        trail,
        ids,
        replica=settings.replica,
        max_bytes=settings.max_upload_bytes,
    )
    servicer = KnowledgeServicer(
        UseCases(
            create_collection=CreateCollection(collections, topics, trail, clock, ids),
            get_collection=GetCollection(collections, trail),
            list_collections=ListCollections(collections, trail),
            update_collection=UpdateCollection(collections, topics, clean_up, trail),
            delete_collection=DeleteCollection(collections, recent, clean_up, trail),
            upload_document=UploadDocument(
                collections,
                documents,
                receive,
                classes,
                trail,
                ids,
                max_bytes=settings.max_upload_bytes,
            ),
            get_document=GetDocument(collections, documents, classes, trail),
            list_documents=ListDocuments(collections, documents, classes, trail),
            set_document_labels=SetDocumentLabels(
                collections, documents, apply_labels, classes, warnings, trail
            ),
            delete_document=DeleteDocument(collections, documents, remove, trail),
            list_document_versions=ListDocumentVersions(collections, documents, trail),
            explain_access=ExplainAccess(collections, documents, reader_directory, trail, clock),
            sync_documents=sync_documents,
            get_statistics=GetStatistics(collections, SqlPassageCounts(database), classes, trail),
            search=SearchCollection(collections, search, trail),
            ask=AskCollection(
                collections, conversations, InterpretQuestion(generator), ask, trail, clock
            ),
            read_passages=ReadPassages(collections, documents, classes, trail),
            give_feedback=GiveFeedback(answers, recent, trail, clock, ids),
        )
    )

    converse = Converse(collections, conversations, trail, clock, ids, kept=conversations_kept)
    sets = QuestionSets(collections, evaluations, delegation, role_holders, trail, clock, ids)
    runs = RunEvaluation(
        collections, evaluations, ask, delegation, role_holders, jobs, trail, clock, ids
    )
    forget_old = ForgetOld(
        conversations,
        SqlErasures(database),
        erased_users,
        recent,
        clock,
        conversations_kept=conversations_kept,
        every_seconds=settings.upkeep_seconds,
    )

    async def cancel(operation: str) -> None:
        operation_id = operation.rpartition(".")[2]
        await jobs.cancel(operation_id)
        await ingest.cancel(operation_id)
        await runs.cancel(operation_id)
        await finish_sync.cancel(operation_id)

    operations.on_cancel(cancel)
    jobs.register(INGEST_JOB, ingest.handle, concurrency=settings.ingest_concurrency)
    jobs.register(
        EVALUATE_JOB, runs.handle, concurrency=settings.evaluation_concurrency, soon=False
    )
    jobs.register(SYNC_JOB, finish_sync.handle, concurrency=8, soon=False)
    running = AsyncExitStack()

    async def start() -> None:
        async with AsyncExitStack() as stack:
            await database.start()
            stack.push_async_callback(database.close)
            stack.push_async_callback(index.close)
            stack.push_async_callback(receive.close)
            stack.push_async_callback(sync_documents.close)
            if parser is None:
                await stack.enter_async_context(files)
            await recover()
            await runs.resume()
            ingest.open()
            stack.push_async_callback(ingest.close)
            runs.gate.open()
            stack.push_async_callback(runs.gate.close)
            finish_sync.gate.open()
            stack.push_async_callback(finish_sync.gate.close)
            # Beside the start, so that the first question need not wait for them.
            reading = asyncio.create_task(asyncio.to_thread(preload), name="dictionaries")
            stack.push_async_callback(asyncio.wait, [reading])
            upkeep = asyncio.create_task(keep_index.run(), name="knowledge upkeep")
            stack.push_async_callback(cancel_and_wait, upkeep)
            forgetting = asyncio.create_task(forget_old.run(), name="knowledge forgetting")
            stack.push_async_callback(cancel_and_wait, forgetting)
            running.push_async_exit(stack.pop_all())

    return ServiceApp(
        name="knowledge",
        services={
            "atrium.knowledge.v1.KnowledgeService": partial(
                knowledge_service_pb2_grpc.add_KnowledgeServiceServicer_to_server, servicer
            ),
            "atrium.knowledge.v1.ConversationService": partial(
                conversation_service_pb2_grpc.add_ConversationServiceServicer_to_server,
                ConversationServicer(converse),
            ),
            "atrium.knowledge.v1.EvaluationService": partial(
                evaluation_service_pb2_grpc.add_EvaluationServiceServicer_to_server,
                EvaluationServicer(
                    sets,
                    runs,
                    ListBadCases(collections, documents, evaluations, classes, trail),
                    ExportBadCases(
                        collections,
                        evaluations,
                        AnswerAccess(documents, clock),
                        delegation,
                        role_holders,
                        trail,
                    ),
                ),
            ),
        },
        start=start,
        stop=running.aclose,
        operations=operations,
    )


def _limits(settings: KnowledgeSettings) -> ParseLimits:
    default = ParseLimits()
    return replace(default, max_bytes=max(default.max_bytes, settings.max_upload_bytes))
