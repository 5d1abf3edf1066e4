"""Tenants' adapters as models: what routes name, and what runs them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace

from atrium_gateway.app.adapter_fleet import AdapterBase, AdapterFleet
from atrium_gateway.app.catalog import Replica, ServedModel
from atrium_gateway.app.outside import OutsideGenerator
from atrium_gateway.domain.adapters import ADAPTER_MODEL_PREFIX, HeldVersion
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.generation import Delta, Finished, Prompt, ToolCallDelta
from atrium_gateway.domain.models import (
    READY,
    Capability,
    Location,
    ModelState,
    ModelStatus,
    Tier,
)

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
            capabilities=frozenset({Capability.GENERATE}),
            tier=Tier.VERTICAL,
            version=f"{version.number}-{version.uid}",
        )
        replicas = []
        for place, replica in enumerate(base.replicas):
            generator = AdapterGenerator(self._fleet, version, name, place)
            outside = model.location is not Location.RESIDENT
            replicas.append(
                Replica(
                    replica.upstream,
                    generator,
                    OutsideGenerator(name, generator) if outside else generator,
                )
            )
        # The queues are the base's, so that the servers' limits hold for both together.
        return ServedModel(model, tuple(replicas), served.queues, adapter=version.served_name)


class AdapterGenerator:
    """Writes text with one version of an adapter on one server.

    Args:
        fleet: The servers.
        version: The version.
        name: Resource name of the model.
        place: Which server, in the order of the base's.
    """

    def __init__(self, fleet: AdapterFleet, version: HeldVersion, name: str, place: int) -> None:
        self._fleet = fleet
        self._version = version
        self._place = place
        replica = fleet.bases[version.base_model].replicas[place]
        self._generator = replica.generator(name, version.served_name)

    async def status(self) -> ModelStatus:
        """Return whether the server holds it."""
        if self._fleet.holds(self._version, self._place):
            return READY
        return ModelStatus(
            ModelState.STARTING,
            "The server does not hold the adapter; the next call that finds it on no other loads "
            f"it. If that fails, look at the servers of {self._version.base_model}.",
        )

    async def stream(
        self, prompt: Prompt
    ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``. Loads the adapter first where it is missing."""
        await self._fleet.ensure(self._version, self._place)
        shown = False
        try:
            async with aclosing(self._generator.stream(prompt)) as events:
                async for event in events:
                    shown = True
                    yield event
            return
        except UpstreamFailed as error:
            if shown or error.metadata.get("status") != "404":
                raise
        # It restarted since it was asked what it holds, or another gateway unloaded it.
        self._fleet.forgot(self._version, self._place)
        await self._fleet.ensure(self._version, self._place)
        async with aclosing(self._generator.stream(prompt)) as events:
            async for event in events:
                yield event
