"""Stores a new version of an adapter and has it rolled out."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from atrium_gateway.app.adapter_fleet import AdapterBase, AdapterFleet
from atrium_gateway.app.adapter_ports import (
    AdapterFacts,
    AdapterReader,
    AdapterStore,
    NewVersion,
    UnreadableAdapter,
)
from atrium_gateway.app.roll_out_adapter import RollOutAdapter
from atrium_gateway.domain.adapter_errors import (
    AdapterBaseUnknown,
    AdapterInvalid,
    AdapterRankTooLarge,
    AdapterTooLarge,
)
from atrium_gateway.domain.adapters import (
    ADAPTER_FILES,
    ADAPTER_PREFIX,
    CONFIG_FILE,
    WEIGHTS_FILE,
    folder_key,
    same_base,
    wrong_shapes,
)
from atrium_shared.audit import AuditEvent, AuditSink, Decision
from atrium_shared.blobs import BlobStore
from atrium_shared.clock import Clock, Ids
from atrium_shared.operations import Operation
from atrium_shared.principal import Principal
from atrium_shared.unbroken import Unbroken

_MOST_CONFIG_BYTES = 1 << 20
_STORING = timedelta(hours=1)
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AdapterHeader:
    """What is coming: adapter, base model, and a note for people."""

    name: str
    base_model: str
    note: str


@dataclass(frozen=True, slots=True)
class AdapterChunk:
    """The next bytes of a file."""

    file: str
    content: bytes


@dataclass(frozen=True, slots=True)
class AdapterLimits:
    """What an adapter may be at most.

    Attributes:
        rank: Largest rank.
        weights_bytes: Largest file of weights.
    """

    rank: int
    weights_bytes: int


class DeployAdapter:
    """Use case of ``DeployAdapter``.

    Files wait in a temporary folder until they are whole and were checked; only then do they go to
    the file store, guarded by a note that they are to go again unless a version is made of them.

    Args:
        store: Keeps adapters.
        blobs: Keeps their files.
        reader: Reads them, unless their base model has a reader of its own.
        fleet: Knows the base models that take adapters.
        roll_out: Brings versions to servers.
        audit: Records the change.
        clock: Tells the time.
        ids: Makes identifiers.
        limits: What an adapter may be at most.
    """

    def __init__(
        self,
        store: AdapterStore,
        blobs: BlobStore,
        reader: AdapterReader,
        fleet: AdapterFleet,
        roll_out: RollOutAdapter,
        audit: AuditSink,
        clock: Clock,
        ids: Ids,
        limits: AdapterLimits,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._reader = reader
        self._fleet = fleet
        self._roll_out = roll_out
        self._audit = audit
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._unbroken = Unbroken()

    async def __call__(
        self, principal: Principal, parts: AsyncIterator[AdapterHeader | AdapterChunk]
    ) -> Operation:
        """Store a version and begin its roll-out; returned means it is stored.

        Args:
            principal: Who asks.
            parts: The header once, then the files. What they raise ends the upload.

        Raises:
            AdapterInvalid: It is no adapter that can be served; nothing was stored.
            AdapterBaseUnknown: The base model is not there or takes no adapters.
            AdapterRankTooLarge: Its rank is above the operator's limit.
            AdapterTooLarge: Its files are above the operator's limit.
            ModelUnavailable: The base model is not there, so nothing can be compared with it.
            BlobStoreUnavailable: The file store failed.
        """
        header = await anext(parts, None)
        if not isinstance(header, AdapterHeader):
            raise AdapterInvalid(
                "", "its header did not come; send adapter and base model before the files"
            )
        base = self._fleet.bases.get(header.base_model)
        if base is None:
            raise AdapterBaseUnknown(header.base_model, sorted(self._fleet.bases))
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="atrium-adapter-"))
            received = _Received(header.name, Path(folder), self._limits.weights_bytes)
            stack.callback(received.close)
            async for part in parts:
                await received.add(part)
            received.end()
            facts = await asyncio.to_thread(self._check, header, base, received)
            detail = f"{header.base_model}, rank {facts.rank}, sha256 {received.sha256}"
            await self._audit.record(
                AuditEvent.of(
                    principal, "gateway.DeployAdapter", header.name, Decision.ALLOWED, detail=detail
                )
            )
            new = NewVersion(
                tenant=principal.tenant,
                owner=principal.subject,
                adapter=header.name.removeprefix(ADAPTER_PREFIX),
                base_model=header.base_model,
                uid=self._ids.new("a"),
                rank=facts.rank,
                size_bytes=received.size_bytes,
                sha256=received.sha256,
                note=header.note,
            )
            # A caller who hangs up now neither stops this halfway nor leaves files behind.
            return await self._unbroken.run(self._keep(new, received))

    async def close(self) -> None:
        """Wait for what goes on although its caller hung up."""
        await self._unbroken.close()

    def _check(self, header: AdapterHeader, base: AdapterBase, received: _Received) -> AdapterFacts:
        try:
            reader = base.reader or self._reader
            facts = reader.read(received.config, received.weights)
        except UnreadableAdapter as error:
            raise AdapterInvalid(header.name, error.why) from error
        if not same_base(facts.base, base.accepted):
            raise AdapterInvalid(
                header.name,
                f"it was trained on {facts.base!r}, but {base.model} is "
                f"{' or '.join(map(repr, base.accepted))}",
            )
        if facts.rank > self._limits.rank:
            raise AdapterRankTooLarge(header.name, facts.rank, self._limits.rank)
        why = wrong_shapes(facts.pairs, facts.ranks, base.hidden_size)
        if why:
            raise AdapterInvalid(header.name, f"its matrices do not fit: {why}")
        return facts

    async def _keep(self, new: NewVersion, received: _Received) -> Operation:
        now = self._clock.now()
        await self._store.begin_upload(new.tenant, new.uid, now + _STORING)
        where = folder_key(new.tenant, new.uid)
        try:
            await self._blobs.put(f"{where}/{CONFIG_FILE}", received.config)
            await self._blobs.put(f"{where}/{WEIGHTS_FILE}", _read(received.weights))
            operation, rollout = await self._store.add_version(new, self._clock.now())
        except BaseException:  # whatever it is, files of no version must not stay
            await self._blobs.delete_folder(where)
            await self._store.end_upload(new.uid)
            raise
        await self._roll_out.submit(rollout)
        return operation


class _Received:
    """The files of an upload on their way.

    Args:
        adapter: Resource name, for errors.
        folder: Where weights wait.
        most_bytes: Largest file of weights.
    """

    def __init__(self, adapter: str, folder: Path, most_bytes: int) -> None:
        self.weights = folder / WEIGHTS_FILE
        self.config = b""
        self.size_bytes = 0
        self._adapter = adapter
        self._most = {CONFIG_FILE: _MOST_CONFIG_BYTES, WEIGHTS_FILE: most_bytes}
        self._sizes = dict.fromkeys(ADAPTER_FILES, 0)
        self._digests = {file: hashlib.sha256() for file in ADAPTER_FILES}
        self._config: list[bytes] = []
        self._came: list[str] = []
        self._open: IO[bytes] | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of what ``sha256sum`` prints of both files, hexadecimal."""
        lines = [f"{self._digests[file].hexdigest()}  {file}\n" for file in sorted(ADAPTER_FILES)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    async def add(self, part: AdapterHeader | AdapterChunk) -> None:
        """Take the next part.

        Raises:
            AdapterInvalid: It does not belong here.
            AdapterTooLarge: Its file is too large with it.
        """
        if isinstance(part, AdapterHeader):
            raise AdapterInvalid(self._adapter, "its header came twice")
        if part.file not in self._sizes:
            raise AdapterInvalid(self._adapter, f"{part.file!r} is no file of an adapter")
        if not self._came or self._came[-1] != part.file:
            if part.file in self._came:
                raise AdapterInvalid(
                    self._adapter, f"parts of another file came between those of {part.file}"
                )
            self._came.append(part.file)
        self._sizes[part.file] += len(part.content)
        if self._sizes[part.file] > self._most[part.file]:
            raise AdapterTooLarge(self._adapter, part.file, self._most[part.file])
        if part.file == CONFIG_FILE:
            self._config.append(part.content)
            self._digests[part.file].update(part.content)
        else:
            await asyncio.to_thread(self._write, part.content)

    def end(self) -> None:
        """Note that nothing follows.

        Raises:
            AdapterInvalid: A file is missing or empty.
        """
        for file in ADAPTER_FILES:
            if not self._sizes[file]:
                raise AdapterInvalid(self._adapter, f"{file} did not come, or is empty")
        self.close()
        self.config = b"".join(self._config)
        self.size_bytes = sum(self._sizes.values())

    def close(self) -> None:
        """Close the file of weights."""
        if self._open is not None:
            self._open.close()

    def _write(self, content: bytes) -> None:
        if self._open is None:
            self._open = self.weights.open("wb")
        self._open.write(content)
        self._digests[WEIGHTS_FILE].update(content)


async def _read(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while part := await asyncio.to_thread(file.read, _READ_BYTES):
            yield part
    finally:
        file.close()
