"""Models outside of the installation: nothing reaches them that the residency guard has not seen.

The backends in here take ``Cleared`` and ``ClearedTexts`` alone, which only the guard makes. Code
that forgets the guard does not type-check, and is refused where it runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.ports import (
    Cleared,
    ClearedTexts,
    CompletingBackend,
    Embedding,
    EncoderBackend,
    GeneratorBackend,
    Relevance,
    RerankerBackend,
    ResidencyGuard,
    TextKind,
)
from atrium_gateway.domain.generation import Completed, Delta, Finished, ToolCallDelta
from atrium_gateway.domain.models import Model, ModelStatus
from atrium_gateway.domain.similarity import SimilarityScale


class NotCleared(Exception):
    """Code tried to send something outside past the residency guard; nothing was sent."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is outside and takes only what was cleared for it")


class OutsideGenerator:
    """A generator outside of the installation.

    Args:
        model: Resource name of its model.
        generator: Writes text.
        completer: Gives whole replies, where it can.
    """

    def __init__(
        self,
        model: str,
        generator: GeneratorBackend,
        completer: CompletingBackend | None = None,
    ) -> None:
        self._model = model
        self._generator = generator
        self._completer = completer

    @property
    def completes(self) -> bool:
        """Whether it can give a reply in one piece."""
        return self._completer is not None

    def stream(self, cleared: Cleared) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``.

        Raises:
            NotCleared: The prompt was not cleared for this model.
        """
        return self._generator.stream(self._checked(cleared).prompt)

    async def complete(self, cleared: Cleared) -> Completed:
        """Write a whole reply; see ``CompletingBackend``.

        Raises:
            NotCleared: The prompt was not cleared for this model.
        """
        assert self._completer is not None  # callers look at `completes` first
        return await self._completer.complete(self._checked(cleared).prompt)

    def _checked(self, cleared: Cleared) -> Cleared:
        if not isinstance(cleared, Cleared) or cleared.model != self._model:
            raise NotCleared(self._model)
        return cleared


class OutsideEncoder:
    """An encoder outside of the installation.

    Args:
        model: Resource name of its model.
        encoder: Makes vectors.
    """

    def __init__(self, model: str, encoder: EncoderBackend) -> None:
        self._model = model
        self._encoder = encoder

    @property
    def similarity_scale(self) -> SimilarityScale:
        """What its cosines mean."""
        return self._encoder.similarity_scale

    async def status(self) -> ModelStatus:
        """Return whether it can be used now."""
        return await self._encoder.status()

    async def embed(self, cleared: ClearedTexts, kind: TextKind) -> Embedding:
        """Return one vector a text; see ``EncoderBackend``.

        Raises:
            NotCleared: The texts were not cleared for this model.
        """
        if not isinstance(cleared, ClearedTexts) or cleared.model != self._model:
            raise NotCleared(self._model)
        return await self._encoder.embed(cleared.texts, kind)

    def of(self, caller: Caller, model: Model, guard: ResidencyGuard) -> EncoderBackend:
        """Return an encoder for one call, which clears every text before it leaves."""
        return _ClearingEncoder(self, caller, model, guard)


class OutsideReranker:
    """A reranker outside of the installation.

    Args:
        model: Resource name of its model.
        reranker: Scores texts.
    """

    def __init__(self, model: str, reranker: RerankerBackend) -> None:
        self._model = model
        self._reranker = reranker

    async def status(self) -> ModelStatus:
        """Return whether it can be used now."""
        return await self._reranker.status()

    async def rerank(self, cleared: ClearedTexts) -> Relevance:
        """Return one score a text behind the first, which is the query.

        Raises:
            NotCleared: The texts were not cleared for this model.
        """
        if not isinstance(cleared, ClearedTexts) or cleared.model != self._model:
            raise NotCleared(self._model)
        query, *texts = cleared.texts
        return await self._reranker.rerank(query, texts)

    def of(self, caller: Caller, model: Model, guard: ResidencyGuard) -> RerankerBackend:
        """Return a reranker for one call, which clears every text before it leaves."""
        return _ClearingReranker(self, caller, model, guard)


class _ClearingReranker:
    def __init__(
        self, outside: OutsideReranker, caller: Caller, model: Model, guard: ResidencyGuard
    ) -> None:
        self._outside = outside
        self._caller = caller
        self._model = model
        self._guard = guard

    async def status(self) -> ModelStatus:
        """Return whether it can be used now."""
        return await self._outside.status()

    async def rerank(self, query: str, texts: Sequence[str]) -> Relevance:
        """Return one score a text; see ``RerankerBackend``."""
        # Together, so that what is replaced in the query is replaced alike in the texts.
        cleared = await self._guard.clear_texts(self._caller, self._model, [query, *texts])
        return await self._outside.rerank(cleared)


class _ClearingEncoder:
    def __init__(
        self, outside: OutsideEncoder, caller: Caller, model: Model, guard: ResidencyGuard
    ) -> None:
        self._outside = outside
        self._caller = caller
        self._model = model
        self._guard = guard

    @property
    def similarity_scale(self) -> SimilarityScale:
        """What its cosines mean."""
        return self._outside.similarity_scale

    async def status(self) -> ModelStatus:
        """Return whether it can be used now."""
        return await self._outside.status()

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Return one vector a text; see ``EncoderBackend``."""
        cleared = await self._guard.clear_texts(self._caller, self._model, texts)
        return await self._outside.embed(cleared, kind)
