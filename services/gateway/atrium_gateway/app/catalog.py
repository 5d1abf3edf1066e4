"""The models of the installation and what runs each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from atrium_gateway.app.fair_queue import FairQueue
from atrium_gateway.app.outside import OutsideEncoder, OutsideGenerator, OutsideReranker
from atrium_gateway.app.ports import (
    Backend,
    Cleared,
    CompletingBackend,
    EncoderBackend,
    GeneratorBackend,
    ReaderBackend,
    RerankerBackend,
)
from atrium_gateway.app.upstreams import Upstream
from atrium_gateway.domain.errors import ModelNotFound
from atrium_gateway.domain.generation import Completed, Delta, Finished, ToolCallDelta
from atrium_gateway.domain.models import Capability, Location, Model, ModelState, ModelStatus
from atrium_gateway.domain.routes import Candidate

_BEST_FIRST = {ModelState.READY: 0, ModelState.STARTING: 1, ModelState.UNAVAILABLE: 2}


@dataclass(frozen=True, slots=True, eq=False)
class Replica:
    """One server or process that runs a model.

    Attributes:
        upstream: How busy it is, and whether it is well.
        backend: Says whether the model can be used now.
        generator: Writes text, where the model does.
        completer: Gives whole replies, where a generator inside of the installation can.
        encoder: Makes vectors, where the model does.
        reader: Reads passages, where the model does.
        reranker: Scores texts, where the model reads each with the query.
    """

    upstream: Upstream
    backend: Backend
    generator: GeneratorBackend | OutsideGenerator | None = None
    completer: CompletingBackend | None = None
    encoder: EncoderBackend | OutsideEncoder | None = None
    reader: ReaderBackend | None = None
    reranker: RerankerBackend | OutsideReranker | None = None

    @property
    def completes(self) -> bool:
        """Whether it can give a reply in one piece."""
        generator = self.generator
        if isinstance(generator, OutsideGenerator):
            return generator.completes
        return self.completer is not None

    def stream(self, cleared: Cleared) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``."""
        generator = self.generator
        assert generator is not None  # routes lead to models that can do what is asked
        if isinstance(generator, OutsideGenerator):
            return generator.stream(cleared)
        return generator.stream(cleared.prompt)

    async def complete(self, cleared: Cleared) -> Completed:
        """Write a whole reply; only where it :attr:`completes`."""
        generator = self.generator
        if isinstance(generator, OutsideGenerator):
            return await generator.complete(cleared)
        assert self.completer is not None  # callers look at `completes` first
        return await self.completer.complete(cleared.prompt)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model and what runs it.

    Attributes:
        model: What it is.
        replicas: What runs it, at least one; each can do the same.
        queues: Where calls wait for it, one after the other: the model's own, its server's. Empty
            where its backend has a queue of its own.
        adapter: Name of the adapter that its replicas must hold; "" for a base model.
        switched_off: Whether the operator does not run it; routes may still name it.
    """

    model: Model
    replicas: tuple[Replica, ...]
    queues: tuple[FairQueue, ...] = ()
    adapter: str = ""
    switched_off: bool = False

    def __post_init__(self) -> None:
        if self.model.location is Location.RESIDENT:
            return
        for replica in self.replicas:
            guarded = (
                (replica.generator, OutsideGenerator),
                (replica.encoder, OutsideEncoder),
                (replica.reranker, OutsideReranker),
            )
            inside = any(
                backend is not None and not isinstance(backend, kind) for backend, kind in guarded
            )
            if inside or replica.reader is not None or replica.completer is not None:
                raise TypeError(f"{self.model.name} is outside, its backends must be, too")

    @property
    def completes(self) -> bool:
        """Whether its replicas can give a reply in one piece."""
        return self.replicas[0].completes

    @property
    def resting(self) -> bool:
        """Whether none of its replicas is asked now because all of them failed often."""
        return all(replica.upstream.resting for replica in self.replicas)

    def choose(self, tried: Sequence[Replica] = ()) -> Replica | None:
        """Return the replica to ask next: it holds the adapter and has least to do.

        Args:
            tried: Replicas that failed in this call already.

        Returns:
            None when all others rest or were tried.
        """
        if len(self.replicas) == 1:  # nearly always
            only = self.replicas[0]
            return None if only in tried or only.upstream.resting else only
        able = [
            replica
            for replica in self.replicas
            if replica not in tried and not replica.upstream.resting
        ]
        if not able:
            return None
        adapter = self.adapter
        # Equal ones in turn of chance: the first of the list would get every lonely call.
        random.shuffle(able)
        return min(
            able,
            key=lambda replica: (
                # One that rested is due for its probe; passed over, it would never come back.
                not replica.upstream.failing,
                not replica.upstream.holds(adapter),
                replica.upstream.in_flight,
            ),
        )

    async def status(self) -> ModelStatus:
        """Return the state of the replica that is best off, and how many are not."""
        states = await asyncio.gather(*(replica.backend.status() for replica in self.replicas))
        best = min(states, key=lambda status: _BEST_FIRST[status.state])
        missing = [status for status in states if status.state is not ModelState.READY]
        if best.state is ModelState.READY and missing:
            why = f"{len(missing)} of {len(states)} replicas do not answer: {missing[0].reason}"
            return ModelStatus(ModelState.READY, why)
        return best


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model, its state now, and how many servers run it."""

    model: Model
    status: ModelStatus
    replicas: int


class TenantModels(Protocol):
    """Models that belong to one tenant alone."""

    def find(self, tenant: str, name: str) -> ServedModel | None:
        """Return a model of a tenant by its name; another tenant's is absent."""

    def names(self, tenant: str) -> list[str]:
        """Return the names of a tenant's models, sorted."""


class Catalog:
    """All models, by name.

    Args:
        served: The models that all tenants share.
        aliases: Further names of models, such as ``"models/remote"``.
        owned: The models of single tenants; none when None.
    """

    def __init__(
        self,
        served: Iterable[ServedModel],
        aliases: dict[str, str] | None = None,
        owned: TenantModels | None = None,
    ) -> None:
        self._served = {each.model.name: each for each in served}
        self._aliases = {alias: self._served[name] for alias, name in (aliases or {}).items()}
        self._owned = owned

    def find(self, name: str, tenant: str = "") -> ServedModel | None:
        """Return a model by its name or alias, or None.

        Args:
            name: Resource name.
            tenant: Who asks; "" finds no model that belongs to a tenant.
        """
        found = self._served.get(name) or self._aliases.get(name)
        if found is None and tenant and self._owned is not None:
            found = self._owned.find(tenant, name)
        return found

    def capabilities_of(self, candidate: Candidate, tenant: str) -> frozenset[Capability] | None:
        """Return what a candidate's model can do.

        None for a model that is not known, and for an optional one that is switched off.
        """
        served = self.find(candidate.model, tenant)
        if served is None or (served.switched_off and candidate.optional):
            return None
        return served.model.capabilities

    def names(self, tenant: str = "") -> list[str]:
        """All names without the aliases, sorted; with those of a tenant where one is given."""
        owned = self._owned.names(tenant) if tenant and self._owned is not None else []
        return sorted([*self._served, *owned])

    @property
    def currency(self) -> str:
        """ISO 4217 code of all prices; "" when no model has one."""
        prices = (served.model.price for served in self._served.values())
        return next((price.currency for price in prices if price is not None), "")

    def running(self) -> list[str]:
        """Names of the models that the operator did not switch off, sorted."""
        return [name for name in self.names() if not self._served[name].switched_off]

    async def view(self, name: str, tenant: str = "") -> ModelView:
        """Return a model and its state.

        Raises:
            ModelNotFound: There is no such model.
        """
        served = self.find(name, tenant)
        if served is None:
            raise ModelNotFound(name)
        return ModelView(served.model, await served.status(), len(served.replicas))

    async def views(self, names: Iterable[str], tenant: str = "") -> list[ModelView]:
        """Return several models and their states, asked for at the same time."""
        return await asyncio.gather(*(self.view(name, tenant) for name in names))
