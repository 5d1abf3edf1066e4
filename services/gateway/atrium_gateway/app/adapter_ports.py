"""What the use cases of adapters need from the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from atrium_gateway.app.ports import ClassifierBackend, CompletingBackend, GeneratorBackend
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.adapters import Adapter, AdapterVersion, HeldVersion
from atrium_shared.errors import AtriumError
from atrium_shared.operations import Operation


class ReplicaUnreachable(Exception):
    """A server does not answer, or says something that cannot be understood. It may come back.

    Args:
        why: What happened.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ReplicaRefused(Exception):
    """A server answered that it does not take an adapter; asking again does not help.

    Args:
        why: What happened, without the server's words.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class AdapterBackend(GeneratorBackend, CompletingBackend, Protocol):
    """Writes text with one adapter on one server, streamed or whole."""


class AdapterReplica(Protocol):
    """One server of a base model. What it holds is lost when it restarts."""

    @property
    def upstream(self) -> Upstream:
        """What dispatch knows of it; whoever loads adapters keeps ``adapters`` up to date."""

    async def held(self) -> frozenset[str]:
        """Return the names of the adapters of ours that it holds now.

        Raises:
            ReplicaUnreachable: It does not answer.
        """

    async def load(self, served_name: str, folder: str) -> None:
        """Hold an adapter; one that it holds already is no error.

        Args:
            served_name: Its name there.
            folder: Folder with its files, as the server sees it.

        Raises:
            ReplicaUnreachable: It does not answer.
            ReplicaRefused: It does not take it.
        """

    async def unload(self, served_name: str) -> None:
        """Hold an adapter no longer; one that it does not hold is no error.

        Raises:
            ReplicaUnreachable: It does not answer.
            ReplicaRefused: It does not let go of it.
        """

    def generator(self, model: str, served_name: str) -> AdapterBackend | None:
        """Return what writes text with an adapter on this server alone; None for an encoder.

        Args:
            model: Resource name, for errors.
            served_name: The adapter's name there.
        """

    def encoder(self, model: str, served_name: str) -> ClassifierBackend | None:
        """Return what makes vectors with an adapter there; None for a generator."""


class AdapterFolders(Protocol):
    """Adapters' files where the servers of one base model read them."""

    async def put(self, version: HeldVersion) -> str:
        """Copy a version's files there unless they are, and return the folder as servers see it.

        Raises:
            BlobNotFound: The version was deleted meanwhile.
            BlobStoreUnavailable: The file store failed.
            AdapterFolderUnavailable: The folder cannot be written.
        """

    async def remove(self, served_name: str) -> None:
        """Remove a version's files; none is no error."""


class AdapterFolderUnavailable(Exception):
    """The folder that servers read cannot be written."""


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What an adapter's files say.

    Attributes:
        base: The base model that its configuration names.
        rank: Largest rank of its matrices by the configuration.
        ranks: Rank of each module.
        pairs: Shapes of A and B by module.
    """

    base: str
    rank: int
    ranks: Mapping[str, int]
    pairs: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]


class UnreadableAdapter(Exception):
    """The files are not those of an adapter that can be served.

    Args:
        why: What was found and what was expected, as part of a sentence.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class AdapterReader(Protocol):
    """Reads an adapter's files and runs nothing that is in them."""

    def read(self, config: bytes, weights: Path) -> AdapterFacts:
        """Return what they say; blocks while it reads.

        Raises:
            UnreadableAdapter: They are not those of an adapter that can be served.
        """


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version whose files are in the file store, and of which nobody knows yet.

    Attributes:
        tenant: Whose it is.
        owner: Who deploys it.
        adapter: Id of the adapter; made when it is new.
        base_model: Model that it belongs to.
        uid: Names its files.
        rank: Largest rank.
        size_bytes: Size of its files together.
        sha256: Over its files.
        note: What it was trained on.
    """

    tenant: str
    owner: str
    adapter: str
    base_model: str
    uid: str
    rank: int
    size_bytes: int
    sha256: str
    note: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """A version on its way to the servers.

    Attributes:
        operation: Name of its Operation.
        id: Its job.
        version: What is rolled out.
    """

    operation: str
    id: str
    version: HeldVersion


@dataclass(frozen=True, slots=True)
class Leftover:
    """Files that are to go.

    Attributes:
        tenant: Whose they are.
        uid: Names them in the file store.
        served_name: Names them where servers read them; "" when they never got there.
    """

    tenant: str
    uid: str
    served_name: str


class AdapterStore(Protocol):
    """Adapters, their versions, what is being rolled out, and files that are to go."""

    async def begin_upload(self, tenant: str, uid: str, remove_after: datetime) -> None:
        """Remember that files come, which are to go unless a version is made of them by then."""

    async def end_upload(self, uid: str) -> None:
        """Forget files that are gone."""

    async def leftovers(self, now: datetime) -> Sequence[Leftover]:
        """Return the files that are to go by now."""

    async def add_version(self, new: NewVersion, now: datetime) -> tuple[Operation, Rollout]:
        """Add a version with its roll-out, and its adapter when it is the first.

        Raises:
            AdapterInvalid: The adapter belongs to another base model.
            AdapterUploadExpired: Its files took so long that they are being removed.
        """

    async def begin_rollback(
        self, tenant: str, owner: str, adapter: str, number: int
    ) -> tuple[Operation, Rollout]:
        """Roll out a version that is stored already.

        Args:
            tenant: Whose adapter.
            owner: Who asks.
            adapter: Id of the adapter.
            number: Which version; 0: the one that answered before.

        Raises:
            AdapterNotFound: The tenant has no such adapter.
            AdapterVersionNotFound: It has no such version.
        """

    async def rollout(self, rollout_id: str) -> Rollout | None:
        """Return a roll-out that is not over, or None."""

    async def unfinished(self) -> Sequence[Rollout]:
        """Return the roll-outs of all tenants that are not over."""

    async def progress(self, rollout: Rollout, ready: int, replicas: int) -> None:
        """Tell the roll-out's Operation how many servers hold it."""

    async def switch(self, rollout: Rollout) -> None:
        """Let the version answer, unless what was asked for later answers already."""

    async def finish(self, rollout: Rollout) -> None:
        """End a roll-out whose version every server holds."""

    async def fail(self, rollout: Rollout, error: AtriumError, why: str) -> None:
        """End a roll-out that failed. A version that answers goes on doing so."""

    async def get(self, tenant: str, adapter: str) -> Adapter:
        """Return an adapter.

        Raises:
            AdapterNotFound: The tenant has no such adapter.
        """

    async def list(self, tenant: str, after: str, limit: int) -> Sequence[Adapter]:
        """Return the tenant's adapters whose ids follow ``after``, in the order of ids."""

    async def delete(self, tenant: str, adapter: str, remove_after: datetime) -> None:
        """Remove an adapter with its versions; its files are to go by then.

        Raises:
            AdapterNotFound: The tenant has no such adapter.
        """

    async def held(self) -> Sequence[HeldVersion]:
        """Return what servers may hold, of all tenants.

        These are the versions that answer, that answered before these, or that are rolled out.
        """

    async def stamp(self) -> object:
        """Return a value that differs when :meth:`held` may return something else."""


ReplicaCount = tuple[int, int]
"""Servers that hold a version now, and servers of its base in all."""


class ReplicaCounts(Protocol):
    """Counts the servers that hold a version."""

    def count(self, adapter: Adapter, version: AdapterVersion) -> ReplicaCount:
        """Return how many hold it now, and how many there are."""
