"""kill -9 at random points of ingestion: what was acknowledged is there once, nothing is half."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from qdrant_edge import CountRequest

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2, knowledge_service_pb2_grpc
from atrium_knowledge.adapters.qdrant_edge_index import QdrantEdgeIndex
from atrium_knowledge.testing import upload_requests

KILLS = int(os.environ.get("FAULTS_KILLS", "2"))
DOCUMENTS_PER_ROUND = 6
SECTIONS = 40
LONGEST_PAUSE_SECONDS = 1.0
PROGRAM = Path(__file__).parent / "knowledge_process.py"


@dataclass
class Ledger:
    """What the client was told."""

    sent: set[str] = field(default_factory=set)
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Operation by document id."""


class Service:
    """The process, and a channel to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            str(self.folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        while not (line := (await self.process.stdout.readline()).strip()).isdigit():
            assert line, "the service did not start"
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{int(line)}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.knowledge = knowledge_service_pb2_grpc.KnowledgeServiceStub(self.channel)
        self.operations = operations_pb2_grpc.OperationsStub(self.channel)

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        """End it in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()
        await self.channel.close()


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Service]:
    service = Service(folder)
    await service.start()
    try:
        yield service
    finally:
        if service.process.returncode is None:
            await service.stop()


def metadata(who: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {who}"),)


def word_of(document_id: str, section: int) -> str:
    """A word that stands in one passage only; of letters, so that no tokenizer takes it apart."""
    spelled = f"{document_id}x{section}".translate(str.maketrans("0123456789-", "bcdfghklmnz"))
    return f"qu{spelled}"


def text_of(document_id: str) -> str:
    """A document of several batches, each passage with a word of its own."""
    parts = [f"# Guide {document_id}"]
    for section in range(SECTIONS):
        parts.append(f"## Section {section}")
        parts.append(f"{word_of(document_id, section)} stands here and in no other place.")
    return "\n\n".join(parts)


async def upload(service: Service, ledger: Ledger, document_id: str) -> None:
    header = knowledge_service_pb2.UploadDocumentRequest.Header(
        parent="collections/handbook",
        document_id=document_id,
        document=knowledge_pb2.Document(filename=f"{document_id}.md"),
    )
    requests = upload_requests(header, text_of(document_id).encode(), chunk_bytes=500)
    ledger.sent.add(document_id)
    with contextlib.suppress(grpc.aio.AioRpcError):
        operation = await service.knowledge.UploadDocument(requests, metadata=metadata("editor"))
        ledger.acknowledged[document_id] = operation.name


async def all_done(service: Service, ledger: Ledger) -> None:
    """Wait until every acknowledged upload is searchable."""
    for document_id, name in ledger.acknowledged.items():
        request = operations_pb2.WaitOperationRequest(name=name)
        request.timeout.FromSeconds(30)
        operation = await service.operations.WaitOperation(request, metadata=metadata("editor"))
        assert operation.done, document_id
        assert not operation.HasField("error"), operation.error


async def nothing_under_way(service: Service) -> list[knowledge_pb2.Document]:
    """Wait until also uploads that were stored and not acknowledged are through; list all."""
    deadline = time.monotonic() + 30
    while True:
        documents: list[knowledge_pb2.Document] = []
        token = ""
        while True:
            page = await service.knowledge.ListDocuments(
                knowledge_service_pb2.ListDocumentsRequest(
                    parent="collections/handbook", page_size=1000, page_token=token
                ),
                metadata=metadata("editor"),
            )
            documents += page.documents
            token = page.next_page_token
            if not token:
                break
        if all(one.state != knowledge_pb2.Document.PROCESSING for one in documents):
            return documents
        assert time.monotonic() < deadline, "documents stay in processing"
        await asyncio.sleep(0.05)


async def check_served(service: Service, ledger: Ledger) -> None:
    await all_done(service, ledger)
    documents = await nothing_under_way(service)
    ids = [one.name.rpartition("/")[2] for one in documents]
    assert len(ids) == len(set(ids))
    assert set(ledger.acknowledged) <= set(ids) <= ledger.sent
    for one in documents:
        assert one.state == knowledge_pb2.Document.READY, one
        assert one.passage_count == SECTIONS
        assert one.version == 1
    for document_id in random.sample(sorted(ids), min(10, len(ids))):
        section = random.randrange(SECTIONS)
        found = await service.knowledge.Search(
            knowledge_service_pb2.SearchRequest(
                parent="collections/handbook", query=word_of(document_id, section)
            ),
            metadata=metadata("employee"),
        )
        hits = [one.passage for one in found.results if one.keyword_rank]
        assert [hit.document.rpartition("/")[2] for hit in hits] == [document_id]
        assert hits[0].text.startswith(word_of(document_id, section))


def check_stored(folder: Path) -> int:
    """Records, files and index hold the same documents, and nothing besides; return how many."""
    with contextlib.closing(sqlite3.connect(folder / "knowledge.db")) as database:
        revisions = dict(database.execute("SELECT uid, seq FROM revisions").fetchall())
        assert database.execute("SELECT count(*) FROM uploads").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM purges").fetchone() == (0,)
        passages = database.execute("SELECT count(*) FROM passages").fetchone()[0]
        unfinished = database.execute("SELECT count(*) FROM operations WHERE NOT done").fetchone()
        assert unfinished == (0,)
        uid = database.execute("SELECT uid FROM collections").fetchone()[0]
    files = {path.name: path for path in (folder / "files" / "acme" / uid).iterdir()}
    assert files.keys() == revisions.keys()
    for path in files.values():
        assert {part.name for part in path.iterdir()} == {"original", "text.json"}
    index = QdrantEdgeIndex(folder / "index")
    shard = index._load(uid, False)
    assert shard is not None
    assert shard.edge.count(CountRequest(exact=True)) == passages == len(revisions) * SECTIONS
    assert shard.revisions() == dict.fromkeys(revisions.values(), SECTIONS)
    shard.edge.close()
    return len(revisions)


async def make_collection(service: Service) -> None:
    await service.knowledge.CreateCollection(
        knowledge_service_pb2.CreateCollectionRequest(
            collection_id="handbook",
            collection=knowledge_pb2.Collection(display_name="Handbook"),
        ),
        metadata=metadata("admin"),
    )


async def test_a_stop_in_order_in_the_middle_of_ingestion_loses_nothing(tmp_path: Path):
    ledger = Ledger()
    async with running(tmp_path) as service:
        await make_collection(service)
        await asyncio.gather(*(upload(service, ledger, f"d{number}") for number in range(6)))
        began = time.monotonic()
    assert service.process.returncode == 0
    assert time.monotonic() - began < 30
    assert len(ledger.acknowledged) == 6
    async with running(tmp_path) as service:
        await check_served(service, ledger)
    assert check_stored(tmp_path) == 6


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_acknowledged_documents_survive_a_kill_at_any_point(tmp_path: Path):
    ledger = Ledger()
    async with running(tmp_path) as service:
        await make_collection(service)
        await upload(service, ledger, "first")
    for kill in range(KILLS):
        service = Service(tmp_path)
        await service.start()
        if kill % 2:
            # Every other time the next blow falls while the last one is being recovered from.
            await check_served(service, ledger)
        uploads = [
            asyncio.create_task(upload(service, ledger, f"d{kill}-{number}"))
            for number in range(DOCUMENTS_PER_ROUND)
        ]
        # Anywhere from the first message to the last batch, on a fast machine and on a slow one.
        waited_for = uploads[: random.randrange(DOCUMENTS_PER_ROUND + 1)]
        await asyncio.gather(*waited_for)
        await asyncio.sleep(random.uniform(0.0, LONGEST_PAUSE_SECONDS))
        await service.kill()
        await asyncio.gather(*uploads)
        await service.channel.close()
    async with running(tmp_path) as service:
        await check_served(service, ledger)
    stored = check_stored(tmp_path)
    print(
        f"{KILLS} kills: {len(ledger.sent)} uploads begun, "
        f"{len(ledger.acknowledged)} acknowledged, {stored} there, each whole"
    )
