"""What tests of knowledge need: fakes of its ports, and the service wired with them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Collection as AnyCollection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from google.longrunning import operations_pb2, operations_pb2_grpc

from atrium.knowledge.v1 import knowledge_pb2, knowledge_service_pb2, knowledge_service_pb2_grpc
from atrium_documents import BlockKind, DocumentBroken, ParsedDocument, ParseLimits
from atrium_documents.builder import DocumentBuilder
from atrium_knowledge.adapters.qdrant_edge_index import QdrantEdgeIndex
from atrium_knowledge.app.ports import (
    DocumentParser,
    ErasedUser,
    PassageIndex,
    Reader,
    ReaderPage,
    Readings,
    Relation,
)
from atrium_knowledge.bootstrap import Patience, build
from atrium_knowledge.domain.access import AccessGrant, AccessReader
from atrium_knowledge.domain.answering.extraction import PassageToRead
from atrium_knowledge.settings import KnowledgeSettings
from atrium_shared.audit import MemoryAuditSink
from atrium_shared.clock import Clock
from atrium_shared.engines import Engine, EngineKind, Usage
from atrium_shared.errors import AtriumError, NotFound
from atrium_shared.jobs import MemoryJobs
from atrium_shared.models import ChatMessage, Embedding, Finish, Generated, Generator
from atrium_shared.principal import Principal
from atrium_shared.rpc.server import ServiceApp
from atrium_shared.testing import RunningServer, make_principal, running_server
from atrium_shared.testing_databases import ServiceDatabases
from atrium_shared.testing_models import NoGenerator, NoModel

POSTGRES: Final = os.environ.get("KNOWLEDGE_TEST_DATABASE_URL", "")
"""A server, ``postgresql+asyncpg://user@host/name``, on which tests keep records; "": SQLite."""

IMPATIENT = Patience(encoder_seconds=0.0, others_seconds=0.0, poll_seconds=0.01)
"""Waits for nothing."""


_WORDS = re.compile(r"[a-z0-9]+|[\u4e00-\u9fff]")


class HashEmbedder:
    """Makes vectors out of the words of a text: texts that share words are near each other.

    Attributes:
        encoder: Name of the model; another name makes other vectors.
        failure: Raised instead, while it is set.
        texts: Every text that was embedded.
    """

    def __init__(self, encoder: str = "models/hash-1", dimensions: int = 32) -> None:
        self.encoder = encoder
        self.dimensions = dimensions
        self.failure: AtriumError | None = None
        self.texts: list[str] = []

    async def embed(
        self, principal: Principal, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> Embedding:
        """Return a vector a text."""
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.texts += texts
        vectors = np.stack([_hash_vector(self.encoder, self.dimensions, text) for text in texts])
        engine = Engine(EngineKind.ENCODER, "fake", self.encoder)
        return Embedding(vectors, sum(len(text) for text in texts), engine)


@lru_cache(maxsize=20_000)
def _hash_vector(encoder: str, dimensions: int, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    total = np.full(dimensions, 1e-3, dtype=np.float32)
    for word in _WORDS.findall(text.lower()):
        total += _word_vector(encoder, dimensions, word)
    unit: np.ndarray[Any, np.dtype[np.float32]] = total / np.linalg.norm(total)
    return unit


@lru_cache(maxsize=20_000)
def _word_vector(encoder: str, dimensions: int, word: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    seed = hashlib.blake2b(f"{encoder} {word}".encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(seed, "big"))
    return random.standard_normal(dimensions).astype(np.float32)


class WordReader:
    """Says that a segment answers when it has enough of the question's words.

    Args:
        log_odds: Said of every segment instead.

    Attributes:
        failure: Raised instead, while it is set.
        questions: Every question that was read.
    """

    def __init__(self, log_odds: float | None = None) -> None:
        self._log_odds = log_odds
        self.failure: AtriumError | None = None
        self.questions: list[tuple[str, Relation]] = []

    async def read(
        self,
        principal: Principal,
        question: str,
        passages: Sequence[PassageToRead],
        relation: Relation,
    ) -> Readings:
        """Return 9 times the share of words, less 3."""
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.questions.append((question, relation))
        wanted = set(_WORDS.findall(question.lower()))
        log_odds = []
        for passage in passages:
            parts = [passage.text[start:end].lower() for start, end in passage.segments]
            shares = [len(wanted & set(_WORDS.findall(part))) / len(wanted) for part in parts]
            said = [9 * share - 3 for share in shares]
            log_odds.append(tuple(said if self._log_odds is None else [self._log_odds] * len(said)))
        return Readings(tuple(log_odds), 1, Engine(EngineKind.ENCODER, "fake", "models/words"))


class ScriptedGenerator:
    """Writes what it was told to, a few characters at a time, and remembers what it was asked."""

    def __init__(
        self, text: str, *, fail_after: int | None = None, finish: Finish = Finish.STOP
    ) -> None:
        self.text = text
        self.finish = finish
        self.fail_after = fail_after
        self.asked: list[Sequence[ChatMessage]] = []

    async def stream(
        self,
        principal: Principal,
        task: str,
        messages: Sequence[ChatMessage],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        response_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str | Generated]:
        """Yield the text; fail after ``fail_after`` characters where that is set."""
        self.asked.append(messages)
        for start in range(0, len(self.text), 5):
            if self.fail_after is not None and start >= self.fail_after:
                raise NoModel
            yield self.text[start : start + 5]
        engine = Engine(EngineKind.GENERATIVE, "scripted", "scripted")
        yield Generated(self.text, engine, Usage(100, 20), self.finish)


class FakeParser:
    """Reads Markdown-like text: ``#`` lines are headings, others paragraphs.

    A file that begins with "broken" is refused, one that begins with "bug" makes it raise.

    Attributes:
        gate: Reading waits for it; cleared, files stay in processing.
        parsed: Names of files that were read.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.parsed: list[str] = []

    async def parse(self, data: bytes | Path, filename: str) -> ParsedDocument:
        """Return the text with its headings."""
        await self.gate.wait()
        content = data if isinstance(data, bytes) else await asyncio.to_thread(_read, data)
        text = content.decode()
        if text.startswith("broken"):
            raise DocumentBroken("The file is broken.")
        if text.startswith("bug"):
            raise RuntimeError("a bug")
        self.parsed.append(filename)
        return parse_text(text)


def _read(path: Path) -> bytes:
    return path.read_bytes()


def parse_text(text: str) -> ParsedDocument:
    """Return Markdown-like text as a parsed document."""
    builder = DocumentBuilder(ParseLimits())
    for line in text.splitlines():
        heading = re.match(r"(#+) (.*)", line)
        if heading is not None:
            builder.add(BlockKind.HEADING, heading[2], level=len(heading[1]))
        elif line.startswith("|"):
            builder.add(BlockKind.TABLE_ROW, line.strip("|"))
        elif line.strip():
            builder.add(BlockKind.PARAGRAPH, line)
    return builder.build("text/markdown")


class FakeDelegation:
    """Knows principals by tenant and subject.

    Attributes:
        principals: By (tenant, subject).
        failure: Raised instead, while it is set.
    """

    def __init__(self, principals: Sequence[Principal] = ()) -> None:
        self.principals = {(one.tenant, one.subject): one for one in principals}
        self.failure: AtriumError | None = None

    async def delegate(self, tenant: str, actor: str, on_behalf_of: str | None) -> Principal:
        """Return the principal as it is now."""
        if self.failure is not None:
            raise self.failure
        runner = self.principals.get((tenant, actor))
        if on_behalf_of is not None and runner is not None:
            runner.require(f"{on_behalf_of}:impersonate")
        found = self.principals.get((tenant, on_behalf_of or actor))
        if found is None:
            raise NoSuchUser(on_behalf_of or actor)
        return found


class NoSuchUser(NotFound):
    """What the admin service answers about somebody who does not exist."""

    reason = "USER_NOT_FOUND"

    def __init__(self, user: str) -> None:
        super().__init__(f"User {user!r} does not exist.", user=user)


class FakeErasedUsers:
    """A list of erased users.

    Attributes:
        erased: Who was erased, in order.
    """

    def __init__(self) -> None:
        self.erased: list[ErasedUser] = []

    async def after(self, sequence: int) -> Sequence[ErasedUser]:
        """Return the next two at most, so that reading on is tried."""
        return [one for one in self.erased if one.sequence > sequence][:2]


class FakeRoleHolders:
    """Knows who holds a role.

    Attributes:
        by_role: Users by role, such as ``{"roles/hr-partner": "users/partner"}``.
    """

    def __init__(self) -> None:
        self.by_role = {"roles/hr-partner": "users/partner", "roles/member": "users/employee"}

    async def holders(self, principal: Principal, roles: Sequence[str]) -> Mapping[str, str]:
        """Return the users of those roles that somebody holds."""
        return {role: self.by_role[role] for role in roles if role in self.by_role}


class FakeReaders:
    """Knows who holds which labels; whoever holds none of a clause is no reader.

    Attributes:
        held: Labels by user.
        asked: Clauses and time of every call.
        failure: Raised instead, while it is set.
    """

    def __init__(self, held: Mapping[str, Sequence[str]] | None = None) -> None:
        self.held = dict(held or {})
        self.asked: list[tuple[list[list[str]], datetime]] = []
        self.failure: AtriumError | None = None

    async def list_readers(
        self,
        principal: Principal,
        clauses: Sequence[AnyCollection[str]],
        read_time: datetime,
        page_size: int,
        page_token: str,
    ) -> ReaderPage:
        """Return who holds one label of every clause."""
        if self.failure is not None:
            raise self.failure
        self.asked.append(([sorted(labels) for labels in clauses], read_time))
        users = sorted(
            user
            for user, held in self.held.items()
            if all(set(labels) & set(held) for labels in clauses) and user > page_token
        )
        readers = tuple(
            AccessReader(
                user,
                tuple(
                    AccessGrant(
                        "roles/r", ("roles/r",), f"labels/{label}:read", f"labels/{label}:read"
                    )
                    for labels in clauses
                    for label in sorted(set(labels) & set(self.held[user]))
                ),
            )
            for user in users[:page_size]
        )
        following = users[page_size - 1] if len(users) > page_size else ""
        return ReaderPage(readers, following, 7, datetime(2026, 1, 1, tzinfo=UTC))


def _grant(label: str) -> AccessGrant:
    permission = f"labels/{label}:read"
    return AccessGrant("roles/r", ("roles/r",), permission, permission)


_DATABASES: Final = ServiceDatabases("knowledge", POSTGRES)
database_url_in: Final = _DATABASES.url_in
engine_of: Final = _DATABASES.engine_of
run_sql: Final = _DATABASES.run_sql
away: Final = _DATABASES.away
make_database: Final = _DATABASES.make
drop_database: Final = _DATABASES.drop


def settings_in(folder: Path, **values: Any) -> KnowledgeSettings:
    """Return settings whose state lies in ``folder``."""
    return KnowledgeSettings(
        **{
            "database_url": database_url_in(folder),
            "jobs_url": f"sqlite:///{folder}/jobs.db",
            "blob_url": f"file://{folder}/files",
            "index_dir": folder / "index",
            "upkeep_seconds": 3600.0,
            **values,
        }
    )


EMPLOYEE = make_principal(
    "knowledge.collections:read",
    "knowledge.documents:read",
    "knowledge.answers:ask",
    "gateway.models:use",
    actor="users/employee",
)
PARTNER = make_principal(
    "knowledge.collections:read",
    "knowledge.documents:read",
    "knowledge.answers:ask",
    "gateway.models:use",
    labels=["hr/*"],
    actor="users/partner",
)
AUDITOR = make_principal("admin.audit:read", actor="users/auditor")
EDITOR = make_principal(
    "knowledge.collections:read",
    "knowledge.documents:*",
    "knowledge.answers:ask",
    "gateway.models:use",
    actor="users/editor",
)
WRITER = make_principal(
    "knowledge.documents:read",
    "knowledge.documents:write",
    "gateway.models:use",
    actor="users/writer",
    max_upload_bytes=1000,
)
ADMIN = make_principal("*:*", actor="users/admin")
STRANGER = make_principal("*:*", labels=["*"], actor="users/stranger", tenant="other")

PEOPLE: Final = {
    "employee": EMPLOYEE,
    "partner": PARTNER,
    "auditor": AUDITOR,
    "editor": EDITOR,
    "writer": WRITER,
    "admin": ADMIN,
    "stranger": STRANGER,
}
"""Who may do what in tests, by token."""


@dataclass
class House:
    """The service, running, and everything around it."""

    app: ServiceApp
    server: RunningServer
    jobs: MemoryJobs
    embedder: HashEmbedder
    parser: Any
    delegation: FakeDelegation
    audit: MemoryAuditSink
    index: PassageIndex
    readers: FakeReaders
    settings: KnowledgeSettings

    def as_(self, who: str) -> knowledge_service_pb2_grpc.KnowledgeServiceAsyncStub:
        """Return a client of one of `PEOPLE`."""
        return knowledge_service_pb2_grpc.KnowledgeServiceStub(self.server.open_channel(who))

    def operations(self, who: str) -> operations_pb2_grpc.OperationsAsyncStub:
        """Return a client of the operations of one of `PEOPLE`."""
        return operations_pb2_grpc.OperationsStub(self.server.open_channel(who))

    def stored_files(self) -> list[str]:
        """Return the names of all files in the file store, hidden and partial ones too."""
        folder = Path(self.settings.blob_url.removeprefix("file://"))
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def stored_rows(self, table: str) -> list[Any]:
        """Return the rows of a table."""
        return run_sql(self.settings.database_url, f'SELECT * FROM "{table}"')  # noqa: S608 - no input

    async def collection(
        self, collection_id: str = "handbook", **fields: Any
    ) -> knowledge_pb2.Collection:
        """Make a collection."""
        return await self.as_("admin").CreateCollection(
            knowledge_service_pb2.CreateCollectionRequest(
                collection_id=collection_id,
                collection=knowledge_pb2.Collection(**{"display_name": "Handbook", **fields}),
            )
        )

    async def upload(
        self,
        text: str | bytes,
        *,
        who: str = "editor",
        parent: str = "collections/handbook",
        document_id: str = "",
        filename: str = "file.md",
        request_id: str = "",
        **document: Any,
    ) -> operations_pb2.Operation:
        """Upload a file and return its operation."""
        data = text if isinstance(text, bytes) else text.encode()
        header = knowledge_service_pb2.UploadDocumentRequest.Header(
            parent=parent,
            document_id=document_id,
            request_id=request_id,
            document=knowledge_pb2.Document(filename=filename, **document),
        )
        return await self.as_(who).UploadDocument(upload_requests(header, data))

    async def done(
        self, operation: operations_pb2.Operation, who: str = "editor"
    ) -> operations_pb2.Operation:
        """Return the operation when it is done."""
        request = operations_pb2.WaitOperationRequest(name=operation.name)
        request.timeout.FromSeconds(20)
        return await self.operations(who).WaitOperation(request)

    async def add(self, text: str | bytes, **fields: Any) -> knowledge_pb2.Document:
        """Upload a file, wait until it is searchable, and return the document."""
        operation = await self.done(await self.upload(text, **fields), fields.get("who", "editor"))
        assert not operation.HasField("error"), operation.error
        document = knowledge_pb2.Document()
        operation.response.Unpack(document)
        return document

    async def find(
        self,
        query: str,
        who: str = "employee",
        *,
        parent: str = "collections/handbook",
        most: int = 10,
    ) -> list[str]:
        """Return the texts that a search finds."""
        found = await self.search(query, who, parent=parent, most=most)
        return [result.passage.text for result in found.results]

    async def search(
        self,
        query: str,
        who: str = "employee",
        *,
        parent: str = "collections/handbook",
        most: int = 10,
    ) -> knowledge_service_pb2.SearchResponse:
        """Search."""
        return await self.as_(who).Search(
            knowledge_service_pb2.SearchRequest(parent=parent, query=query, page_size=most)
        )


@asynccontextmanager
async def open_house(
    folder: Path,
    *,
    embedder: HashEmbedder | None = None,
    parser: DocumentParser | None = None,
    index: PassageIndex | None = None,
    delegation: FakeDelegation | None = None,
    readers: FakeReaders | None = None,
    generator: Generator | None = None,
    erased_users: FakeErasedUsers | None = None,
    reader: Reader | None = None,
    clock: Clock | None = None,
    people: Mapping[str, Principal] = PEOPLE,
    **settings: Any,
) -> AsyncIterator[House]:
    """Run the service with fakes, its state in ``folder``; database and Qdrant Edge are real."""
    chosen = settings_in(folder, **settings)
    await asyncio.to_thread(make_database, chosen.database_url)
    jobs, audit = MemoryJobs(), MemoryAuditSink()
    embedder, parser = embedder or HashEmbedder(), parser or FakeParser()
    delegation = delegation or FakeDelegation(list(people.values()))
    index = index or QdrantEdgeIndex(chosen.index_dir)
    readers = readers or FakeReaders()
    app = build(
        chosen,
        audit=audit,
        jobs=jobs,
        embedder=embedder,
        generator=generator or NoGenerator(),
        delegation=delegation,
        role_holders=FakeRoleHolders(),
        erased_users=erased_users or FakeErasedUsers(),
        reader=reader,
        reader_directory=readers,
        index=index,
        parser=parser,
        clock=clock,
        patience=IMPATIENT,
    )
    await jobs.start()
    async with running_server([app], people) as server:
        yield House(app, server, jobs, embedder, parser, delegation, audit, index, readers, chosen)
    await jobs.close()


async def upload_requests(
    header: knowledge_service_pb2.UploadDocumentRequest.Header | None,
    data: bytes,
    *,
    chunk_bytes: int = 1 << 16,
) -> AsyncIterator[knowledge_service_pb2.UploadDocumentRequest]:
    """Yield the messages of an upload."""
    if header is not None:
        yield knowledge_service_pb2.UploadDocumentRequest(header=header)
    for start in range(0, len(data), chunk_bytes):
        yield knowledge_service_pb2.UploadDocumentRequest(chunk=data[start : start + chunk_bytes])
