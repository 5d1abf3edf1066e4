"""A model that the installation knows and does not run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from atrium_gateway.app.ports import Embedding, Reading, TextKind
from atrium_gateway.domain.errors import ModelUnavailable
from atrium_gateway.domain.generation import Delta, Finished, Prompt
from atrium_gateway.domain.models import ModelState, ModelStatus
from atrium_gateway.domain.reading import ReadPassage, Relation
from atrium_gateway.domain.similarity import PLAIN_SCALE, SimilarityScale


class AbsentBackend:
    """Says why a model is not there, to whoever lists it and to whoever calls it.

    Args:
        name: Resource name of the model.
        why: Why it is not there, and what to do.
    """

    similarity_scale: SimilarityScale = PLAIN_SCALE

    def __init__(self, name: str, why: str) -> None:
        self._name = name
        self._why = why

    async def status(self) -> ModelStatus:
        """Return that it is unavailable."""
        return ModelStatus(ModelState.UNAVAILABLE, self._why)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Finished, None]:
        """Raise ModelUnavailable."""
        if self._why:  # always; the yield makes this an async generator, as the port asks
            raise ModelUnavailable(self._name, self._why)
        yield Delta("")

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Raise ModelUnavailable."""
        raise ModelUnavailable(self._name, self._why)

    async def read(
        self, question: str, passages: Sequence[ReadPassage], relation: Relation, scope: str
    ) -> Reading:
        """Raise ModelUnavailable."""
        raise ModelUnavailable(self._name, self._why)
