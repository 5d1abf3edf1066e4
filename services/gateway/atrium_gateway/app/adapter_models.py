"""Tenants' adapters as models: what routes name, and what runs them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

from atrium_gateway.app.adapter_fleet import AdapterBase, AdapterFleet
from atrium_gateway.app.adapter_ports import AdapterBackend
from atrium_gateway.app.catalog import Replica, ServedModel
from atrium_gateway.app.outside import OutsideEncoder, OutsideGenerator
from atrium_gateway.app.ports import (
    Classification,
    ClassifierBackend,
    Embedding,
    TextKind,
)
from atrium_gateway.domain.adapters import ADAPTER_MODEL_PREFIX, HeldVersion
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.generation import Completed, Delta, Finished, Prompt, ToolCallDelta
from atrium_gateway.domain.models import (
    READY,
    Location,
    ModelState,
    ModelStatus,
    Tier,
)
from atrium_gateway.domain.similarity import SimilarityScale

_MOST_KEPT = 10_000


class AdapterModels:
    """The adapters that answer, each a model of its tenant alone.

    Args:
        fleet: The servers.
        bases: Base models of the fleet, others among them.
    """

    def __init__(self, fleet: AdapterFleet, bases: Iterable[ServedModel]) -> None:
        self._fleet = fleet
        self._bases = {served.model.name: served for served in bases}
        self._made: dict[str, ServedModel] = {}

    def find(self, tenant: str, name: str) -> ServedModel | None:
        """Return an adapter of a tenant by its model name, or None.

        Another tenant's adapter is absent like one that never was.
        """
        if not name.startswith(ADAPTER_MODEL_PREFIX):
            return None
        version = self._fleet.serving(tenant, name.removeprefix(ADAPTER_MODEL_PREFIX))
        if version is None:
            return None
        made = self._made.get(version.served_name)
        if made is None:
            base = self._fleet.bases.get(version.base_model)
            served = self._bases.get(version.base_model)
            if base is None or served is None:
                return None  # the operator took the base model away
            if len(self._made) >= _MOST_KEPT:  # versions that answered once; cheap to make again
                self._made.clear()
            made = self._made[version.served_name] = self._make(version, base, served, name)
        return made

    def names(self, tenant: str) -> list[str]:
        """Return the model names of the tenant's adapters that answer, sorted."""
        return [ADAPTER_MODEL_PREFIX + id_ for id_ in self._fleet.serving_ids(tenant)]

    def _make(
        self, version: HeldVersion, base: AdapterBase, served: ServedModel, name: str
    ) -> ServedModel:
        model = replace(
            served.model,
            name=name,
            tier=Tier.VERTICAL,
            version=f"{version.number}-{version.uid}",
        )
        replicas = []
        outside = model.location is not Location.RESIDENT
        for place, replica in enumerate(base.replicas):
            held = _Held(self._fleet, version, place)
            encodes = replica.encoder(name, version.served_name)
            if encodes is not None:
                encoder = AdapterEncoder(held, encodes)
                guarded = OutsideEncoder(name, encoder) if outside else encoder
                replicas.append(Replica(replica.upstream, encoder, encoder=guarded))
                continue
            writes = replica.generator(name, version.served_name)
            assert writes is not None  # a replica does one or the other
            generator = AdapterGenerator(held, writes)
            replicas.append(
                Replica(
                    replica.upstream,
                    generator,
                    OutsideGenerator(name, generator, generator) if outside else generator,
                    None if outside else generator,
                )
            )
        # The queues are the base's, so that the servers' limits hold for both together.
        return ServedModel(model, tuple(replicas), served.queues, adapter=version.served_name)


class _Held:
    """One version of an adapter on one server.

    Args:
        fleet: The servers.
        version: The version.
        place: Which server, in the order of the base's.
    """

    def __init__(self, fleet: AdapterFleet, version: HeldVersion, place: int) -> None:
        self._fleet = fleet
        self._version = version
        self._place = place

    async def status(self) -> ModelStatus:
        """Return whether the server holds it."""
        if self._fleet.holds(self._version, self._place):
            return READY
        return ModelStatus(
            ModelState.STARTING,
            "The server does not hold the adapter; the next call that finds it on no other loads "
            f"it. If that fails, look at the servers of {self._version.base_model}.",
        )

    async def ensure(self) -> None:
        """Load it where it is missing."""
        await self._fleet.ensure(self._version, self._place)

    async def again(self) -> None:
        """Load it although the server was thought to hold it.

        It restarted since it was asked what it holds, or another gateway unloaded it.
        """
        self._fleet.forgot(self._version, self._place)
        await self.ensure()


class AdapterEncoder:
    """Makes vectors, and classes, with one version of an adapter on one server.

    Args:
        held: The version there.
        encoder: Does the work.
    """

    def __init__(self, held: _Held, encoder: ClassifierBackend) -> None:
        self._held = held
        self._encoder = encoder

    @property
    def similarity_scale(self) -> SimilarityScale:
        """What its cosines mean."""
        return self._encoder.similarity_scale

    async def status(self) -> ModelStatus:
        """Return whether the server holds it."""
        return await self._held.status()

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Return one vector a text; see ``EncoderBackend``."""
        await self._held.ensure()
        return await self._encoder.embed(texts, kind)

    async def labels(self) -> tuple[str, ...]:
        """Return the labels that its classifier knows; see ``ClassifierBackend``."""
        await self._held.ensure()
        return await self._encoder.labels()

    async def classify(self, texts: Sequence[str]) -> Classification:
        """Return how well each label fits each text; see ``ClassifierBackend``."""
        await self._held.ensure()
        return await self._encoder.classify(texts)


class AdapterGenerator:
    """Writes text with one version of an adapter on one server.

    Args:
        held: The version there.
        generator: Does the work.
    """

    def __init__(self, held: _Held, generator: AdapterBackend) -> None:
        self._held = held
        self._generator = generator

    async def status(self) -> ModelStatus:
        """Return whether the server holds it."""
        return await self._held.status()

    async def stream(
        self, prompt: Prompt
    ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``. Loads the adapter first where it is missing."""
        await self._held.ensure()
        shown = False
        try:
            async with aclosing(self._generator.stream(prompt)) as events:
                async for event in events:
                    shown = True
                    yield event
            return
        except UpstreamFailed as error:
            if shown or not _lost(error):
                raise
        await self._held.again()
        async with aclosing(self._generator.stream(prompt)) as events:
            async for event in events:
                yield event

    async def complete(self, prompt: Prompt) -> Completed:
        """Write a reply and return it whole; see ``CompletingBackend``."""
        await self._held.ensure()
        try:
            return await self._generator.complete(prompt)
        except UpstreamFailed as error:
            if not _lost(error):
                raise
        await self._held.again()
        return await self._generator.complete(prompt)


def _lost(error: UpstreamFailed) -> bool:
    """Return whether a server does not know the adapter."""
    return error.metadata.get("status") == "404"
