"""The models of the installation and what runs each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from atrium_gateway.app.fair_queue import FairQueue
from atrium_gateway.app.ports import Backend, EncoderBackend, GeneratorBackend, ReaderBackend
from atrium_gateway.domain.errors import ModelNotFound
from atrium_gateway.domain.models import Capability, Model, ModelStatus
from atrium_gateway.domain.routes import Candidate


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model and the backend that runs it.

    Attributes:
        model: What it is.
        backend: Says whether it can be used now.
        generator: Writes text, where the model does.
        encoder: Makes vectors, where the model does.
        reader: Reads passages, where the model does.
        queue: Where calls wait for the backend; None when it has a queue of its own.
        switched_off: Whether the operator does not run it; routes may still name it.
    """

    model: Model
    backend: Backend
    generator: GeneratorBackend | None = None
    encoder: EncoderBackend | None = None
    reader: ReaderBackend | None = None
    queue: FairQueue | None = None
    switched_off: bool = False


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model and its state now."""

    model: Model
    status: ModelStatus


class Catalog:
    """All models, by name.

    Args:
        served: The models.
        aliases: Further names of models, such as ``"models/remote"``.
    """

    def __init__(
        self, served: Iterable[ServedModel], aliases: dict[str, str] | None = None
    ) -> None:
        self._served = {each.model.name: each for each in served}
        self._aliases = {alias: self._served[name] for alias, name in (aliases or {}).items()}

    def find(self, name: str) -> ServedModel | None:
        """Return a model by its name or alias, or None."""
        return self._served.get(name) or self._aliases.get(name)

    def capabilities_of(self, candidate: Candidate) -> frozenset[Capability] | None:
        """Return what a candidate's model can do.

        None for a model that is not known, and for an optional one that is switched off.
        """
        served = self.find(candidate.model)
        if served is None or (served.switched_off and candidate.optional):
            return None
        return served.model.capabilities

    def names(self) -> list[str]:
        """All names without the aliases, sorted."""
        return sorted(self._served)

    def running(self) -> list[str]:
        """Names of the models that the operator did not switch off, sorted."""
        return [name for name in self.names() if not self._served[name].switched_off]

    async def view(self, name: str) -> ModelView:
        """Return a model and its state.

        Raises:
            ModelNotFound: There is no such model.
        """
        served = self.find(name)
        if served is None:
            raise ModelNotFound(name)
        return ModelView(served.model, await served.backend.status())

    async def views(self, names: Iterable[str]) -> list[ModelView]:
        """Return several models and their states, asked for at the same time."""
        return await asyncio.gather(*(self.view(name) for name in names))
