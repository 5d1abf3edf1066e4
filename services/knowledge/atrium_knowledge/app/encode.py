"""Make vectors for many texts, as far as there is an encoder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_delay,
    wait_exponential_jitter,
)

from atrium_knowledge.app.ports import Vectors
from atrium_knowledge.domain.collections import VectorSpace
from atrium_shared.errors import AtriumError, Denied, Unavailable
from atrium_shared.models import Embedder
from atrium_shared.principal import Principal

EMBED_TASK: Final = "knowledge.embed"
BATCH: Final = 32
"""Passages encoded and indexed at a time: what a crash makes to be done again, at most."""
NO_ENCODER: Final = "TASK_HAS_NO_MODEL"
_BUSY: Final = "ENCODER_QUEUE_FULL"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of some texts, or none because there is no encoder."""

    vectors: Vectors | None
    """(texts, dimensions); ``None`` without an encoder."""
    space: VectorSpace | None
    tokens: int
    seconds: float


class Encode:
    """Encodes passages. An encoder that is away for longer than a while counts as none.

    Args:
        embedder: Makes vectors.
        patience_seconds: How long an encoder that does not answer is waited for.
    """

    def __init__(self, embedder: Embedder, *, patience_seconds: float = 60.0) -> None:
        self._embedder = embedder
        self._patience_seconds = patience_seconds

    async def __call__(
        self,
        principal: Principal,
        texts: Sequence[str],
        kind: Literal["query", "passage"] = "passage",
    ) -> Encoded:
        """Return the vectors of texts, all in one space; none if the principal may not use it.

        Raises:
            AtriumError: The encoder refuses these texts.
        """
        began = time.perf_counter()
        parts: list[Vectors] = []
        space: VectorSpace | None = None
        tokens = 0
        try:
            for first in range(0, len(texts), BATCH):
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception(is_passing),
                    wait=wait_exponential_jitter(multiplier=0.1, max=5.0),
                    stop=stop_after_delay(self._patience_seconds),
                    reraise=True,
                ):
                    with attempt:
                        part = await self._embedder.embed(
                            principal, texts[first : first + BATCH], kind
                        )
                if space is not None and VectorSpace.of(part) != space:
                    # The encoder was changed meanwhile: begin again with the new one.
                    return await self(principal, texts, kind)
                space = VectorSpace.of(part)
                parts.append(part.vectors)
                tokens += part.tokens
        except AtriumError as error:
            if not is_absence(error):
                raise
            if error.reason != NO_ENCODER:
                _log.warning("no vectors made", reason=error.reason)
            parts, space = [], None
        vectors = np.concatenate(parts) if parts else None
        return Encoded(vectors, space, tokens, time.perf_counter() - began)


def is_passing(error: BaseException) -> bool:
    """Say whether the same call may succeed a little later."""
    if not isinstance(error, AtriumError) or error.reason == NO_ENCODER:
        return False
    return isinstance(error, Unavailable) or error.reason == _BUSY


def is_absence(error: AtriumError) -> bool:
    """Say whether there is, for this principal and now, no encoder: keywords must do."""
    return isinstance(error, Unavailable | Denied) or error.reason == _BUSY
