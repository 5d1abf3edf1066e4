"""A world inside the real services, and everything that is watched while it is asked."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import types
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.message import Message

from atrium.admin.v1 import admin_pb2, admin_service_pb2
from atrium.knowledge.v1 import knowledge_pb2
from atrium.knowledge.v1 import knowledge_service_pb2 as pb
from atrium_admin.app.create_tenant import TenantDraft
from atrium_admin.bootstrap import AdminApp
from atrium_admin.bootstrap import build as build_admin
from atrium_admin.settings import AdminSettings
from atrium_knowledge.app.stores import point_of
from atrium_knowledge.testing import FakeDelegation, House, open_house, upload_requests
from atrium_shared.errors import AtriumError
from atrium_shared.principal import Principal
from atrium_shared.testing import TEST_SECRET, make_principal

from .recording import (
    Loopback,
    RecordingEmbedder,
    RecordingIndex,
    RecordingReader,
    RepeatingGenerator,
    Wire,
)
from .worlds import Document, Policy, World, canaries_in

TENANT = "acme"
PARENT = "collections/handbook"
OWNER = make_principal("*:*", actor="users/owner", tenant=TENANT)
"""May do and read all; fills the collection."""
_KNOWLEDGE = "atrium.knowledge.v1.KnowledgeService"
_ADMIN = "atrium.admin.v1.AdminService"
_EFFECTS = {True: admin_pb2.Grant.ALLOW, False: admin_pb2.Grant.DENY}


@dataclass
class Tally:
    """What was looked at and what leaked, by channel."""

    looks: Counter[str] = field(default_factory=Counter)
    leaks: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    """Cases, and what became of them."""
    examples: list[str] = field(default_factory=list)

    def look(self, channel: str, data: str | bytes, allowed: Collection[str]) -> None:
        """Count the canaries in ``data`` that are not ``allowed``."""
        self.looks[channel] += 1
        self.leak(channel, canaries_in(data).difference(allowed))

    def leak(self, channel: str, what: Collection[Any]) -> None:
        """Count what should not have been there."""
        if what:
            self.leaks[channel] += len(what)
            if len(self.examples) < 20:
                self.examples.append(f"{channel}: {sorted(what)[:3]}")

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.looks += other.looks
        self.leaks += other.leaks
        self.counts += other.counts
        self.examples += other.examples[: 20 - len(self.examples)]


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # The default formatter adds the stack of an exception.
        self.lines.append(self.format(record))


@contextmanager
def all_logs() -> Iterator[list[str]]:
    """Collect what structlog and the standard library log while the block runs."""
    kept = _Kept()
    root = logging.getLogger()
    before = root.level

    def keep(logger: Any, method: str, event: Any) -> Any:
        kept.lines.append(repr(event))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, keep])
    root.addHandler(kept)
    root.setLevel(logging.INFO)
    try:
        yield kept.lines
    finally:
        root.setLevel(before)
        root.removeHandler(kept)
        structlog.reset_defaults()


@asynccontextmanager
async def running_admin(folder: Path) -> AsyncIterator[AdminApp]:
    """Run the admin service with one tenant."""
    settings = AdminSettings(
        ATRIUM_SECRET=TEST_SECRET.hex(),
        database_url=f"sqlite+aiosqlite:///{folder}/admin.db",
        poll_seconds=1.0,
    )
    app = build_admin(settings)
    await app.service_app.start()
    try:
        await app.bootstrap(
            make_principal(tenant="", actor="services/suite"), TenantDraft(TENANT, "Acme")
        )
        yield app
    finally:
        await app.service_app.stop()


class Directory:
    """Writes a world's policy into the admin service and reads compiled allow-sets back.

    Args:
        app: The admin service.
        prefix: Of ids, since several worlds share a tenant.
    """

    def __init__(self, app: AdminApp, prefix: str) -> None:
        self._app = app
        self._admin = Loopback(app.service_app, _ADMIN)
        self._prefix = prefix
        self._made: set[str] = set()

    async def write(self, policy: Policy) -> None:
        """Make the tenant's policy that of the world."""
        # A role may inherit only one that exists.
        for role in reversed(policy.rules):
            await self._put(
                "Role",
                role,
                admin_pb2.Role(
                    grants=[
                        admin_pb2.Grant(
                            resource=rule.resource,
                            action=rule.action,
                            effect=_EFFECTS[rule.allow],
                        )
                        for rule in policy.rules[role]
                    ],
                    inherits=self._names("roles", policy.inherits[role]),
                ),
            )
        for user, roles in policy.users.items():
            held = ["roles/member", *self._names("roles", roles)]
            await self._put("User", user, admin_pb2.User(roles=held))
        for group, (members, roles) in policy.groups.items():
            await self._put(
                "Group",
                group,
                admin_pb2.Group(
                    members=self._names("users", members), roles=self._names("roles", roles)
                ),
            )

    async def principal(self, user: str) -> Principal:
        """Return a user with the allow-set that the admin service compiles."""
        name = f"{self._prefix}{user}"
        allow_set = await self._app.compile_policy(TENANT, name, 1 << 40)
        return Principal(
            tenant=TENANT,
            actor=f"users/{name}",
            on_behalf_of=None,
            allow_set=allow_set,
            credential="apiKeys/eval",
            token=name,
        )

    def _names(self, collection: str, ids: Iterable[str]) -> list[str]:
        return [f"{collection}/{self._prefix}{one}" for one in ids]

    async def _put(self, kind: str, key: str, value: Any) -> None:
        area, name = kind.lower(), f"{self._prefix}{key}"
        if name in self._made:
            value.name = f"{area}s/{name}"
            request = getattr(admin_service_pb2, f"Update{kind}Request")(**{area: value})
            await self._admin.call(OWNER, f"Update{kind}", request)
            return
        self._made.add(name)
        fields = {f"{area}_id": name, area: value}
        request = getattr(admin_service_pb2, f"Create{kind}Request")(**fields)
        await self._admin.call(OWNER, f"Create{kind}", request)


@dataclass
class Asked:
    """What came back of one question."""

    search: pb.SearchResponse
    events: list[pb.AskResponse]
    candidates: list[int]
    prompts: list[str]
    encoded: list[str]
    read: list[str]

    @property
    def answer(self) -> knowledge_pb2.Answer:
        return self.events[-1].answer


class RunningWorld:
    """A world whose documents lie in a running knowledge service."""

    def __init__(
        self,
        house: House,
        index: RecordingIndex,
        embedder: RecordingEmbedder,
        reader: RecordingReader,
        generator: RepeatingGenerator,
    ) -> None:
        self.house = house
        self.loop = Loopback(house.app, _KNOWLEDGE)
        self.users: Loopback | Wire = self.loop
        """How users call; the owner calls by `loop`."""
        self.index, self.embedder, self.reader = index, embedder, reader
        self.generator = generator
        self.canaries_of_point: dict[int, set[str]] = {}
        self.passages: dict[str, str] = {}
        """Name of the passage that holds a canary."""

    async def fill(self, documents: Iterable[Document]) -> None:
        """Make the collection and take the documents in."""
        await self.loop.call(
            OWNER,
            "CreateCollection",
            pb.CreateCollectionRequest(
                collection_id="handbook",
                collection=knowledge_pb2.Collection(display_name="Handbook", keep_questions=True),
            ),
        )
        await self.add(documents)

    async def add(self, documents: Iterable[Document]) -> None:
        """Take documents in, or new versions of them."""
        for one in documents:
            header = pb.UploadDocumentRequest.Header(
                parent=PARENT,
                document_id=one.id,
                document=knowledge_pb2.Document(
                    filename=f"{one.id}.md",
                    title=one.title,
                    labels=sorted(one.labels),
                    section_labels=_section_labels(one),
                ),
            )
            requests = upload_requests(header, one.text().encode())
            operation = await self.loop.call(OWNER, "UploadDocument", requests)
            await self.house.jobs.wait(operation.name.rpartition(".")[2])

    async def apply(self, world: World) -> None:
        """Change the world, here too."""
        relabelled, replaced, gone = world.change()
        for one in relabelled:
            request = pb.SetDocumentLabelsRequest(
                name=f"{PARENT}/documents/{one.id}",
                labels=sorted(one.labels),
                section_labels=_section_labels(one),
            )
            await self.loop.call(OWNER, "SetDocumentLabels", request)
        for document_id in gone:
            request = pb.DeleteDocumentRequest(name=f"{PARENT}/documents/{document_id}")
            await self.loop.call(OWNER, "DeleteDocument", request)
        await self.add(replaced)

    async def learn(self, documents: Iterable[Document]) -> None:
        """Look up which passage and which point of the index holds which canary."""
        for row in stored(self.house, "passages", "revision", "ordinal", "text"):
            self.canaries_of_point[point_of(row[0], row[1])] = canaries_in(row[2])
        self.passages.clear()
        for one in documents:
            request = pb.ReadPassagesRequest(document=f"{PARENT}/documents/{one.id}", page_size=100)
            found = await self.loop.call(OWNER, "ReadPassages", request)
            for passage in found.passages:
                for canary in canaries_in(passage.text):
                    self.passages[canary] = passage.name
        self.forget()

    def forget(self) -> None:
        """Begin to record anew."""
        for record in (
            self.index.candidates, self.generator.prompts, self.embedder.read,
            self.reader.shown, self.house.audit.events,
        ):  # fmt: skip
            record.clear()

    async def ask(self, principal: Principal, question: str, mode: int) -> Asked:
        """Search and ask one question; what was recorded before is forgotten."""
        self.forget()
        search = await self.users.call(
            principal, "Search", pb.SearchRequest(parent=PARENT, query=question)
        )
        request = pb.AskRequest(parent=PARENT, question=question, mode=mode)
        events = await self.users.stream(principal, "Ask", request)
        return Asked(
            search,
            events,
            list(self.index.candidates),
            list(self.generator.prompts),
            list(self.embedder.read),
            list(self.reader.shown),
        )

    async def refused(self, principal: Principal, method: str, request: Message) -> str:
        """Return everything that a caller is told who is refused; empty: they were not."""
        try:
            await self.users.call(principal, method, request)
        except AtriumError as error:
            return f"{error.reason} {error.message} {error.metadata}"
        return ""

    def remembered(self) -> set[str]:
        """Return the canaries in all that the service holds in memory.

        What stands around it is left out: it records what the service does.
        """
        outside: Sequence[object] = (
            self.index, self.embedder, self.reader, self.generator, self.house, self.house.audit,
            self.house.jobs, self.house.parser, self.house.delegation, self.house.readers, self,
        )  # fmt: skip
        found: set[str] = set()
        for text in _texts_within(self.loop.servicers, {id(one) for one in outside}):
            found |= canaries_in(text)
        return found


def _section_labels(document: Document) -> list[knowledge_pb2.SectionLabels]:
    return [
        knowledge_pb2.SectionLabels(heading=heading, labels=sorted(labels))
        for heading, labels in document.section_labels().items()
    ]


def _texts_within(roots: Iterable[object], seen: set[int]) -> Iterable[str | bytes]:
    """Yield every text that can be reached from some objects, but through code."""
    code = (
        type, types.ModuleType, types.FunctionType, types.CodeType, types.FrameType,
        types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType,
        asyncio.AbstractEventLoop,
    )  # fmt: skip
    waiting: list[object] = []
    for root in roots:
        # A method leads to its object; a function would lead to every module.
        waiting.append(getattr(root, "__self__", root))
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, code):
            continue
        # SQLAlchemy keeps a statement with the values of its first run: nobody can ask for those.
        if type(one).__module__.startswith("sqlalchemy."):
            continue
        seen.add(id(one))
        if isinstance(one, str | bytes):
            yield one
        else:
            waiting += gc.get_referents(one)


@asynccontextmanager
async def running_world(folder: Path, *, blind: bool = False) -> AsyncIterator[RunningWorld]:
    """Run an empty knowledge service with fakes that remember.

    Args:
        folder: Where its state lies.
        blind: Whether its index ignores whose question it is.
    """
    index = RecordingIndex(folder / "index")
    index.blind = blind
    embedder, reader, generator = RecordingEmbedder(), RecordingReader(), RepeatingGenerator()
    async with open_house(
        folder,
        embedder=embedder,
        reader=reader,
        generator=generator,
        index=index,
        delegation=FakeDelegation([OWNER]),
        people={},
    ) as house:
        yield RunningWorld(house, index, embedder, reader, generator)


def stored(house: House, table: str, *columns: str) -> list[Any]:
    """Return columns of a table of the service's database."""
    path = house.settings.database_url.removeprefix("sqlite+aiosqlite:///")
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()


def all_rows(house: House, *, but: Collection[str]) -> list[tuple[str, str]]:
    """Return the name and the content of each table but some."""
    tables = stored(house, "sqlite_master WHERE type = 'table'", "name")
    return [(name, repr(stored(house, name, "*"))) for (name,) in tables if name not in but]
