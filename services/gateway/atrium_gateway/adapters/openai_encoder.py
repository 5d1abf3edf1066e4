"""Sentence vectors from an OpenAI-compatible server: ``/embeddings``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrium_gateway.adapters.openai_server import OpenAIServer, RequestRefused
from atrium_gateway.app.ports import Embedding, TextKind
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.models import ModelStatus
from atrium_gateway.domain.similarity import PLAIN_SCALE, SimilarityScale
from atrium_gateway.domain.tokens import estimate_tokens

_TEXTS_PER_REQUEST = 64
_MOST_RESPONSE_BYTES = 64 << 20
# Texts are cut by an estimate of their tokens, so a little short of the window.
_WINDOW_SHARE = 0.8


class OpenAIEncoder:
    """An embedding model behind an OpenAI-compatible server.

    Args:
        name: Resource name of the model, for errors.
        upstream_model: Its name at the server.
        server: The connection.
        context_tokens: Its window, or 0 when it is not known; longer texts are cut.
        prefixes: What the model wants before each kind of text.
        similarity_scale: What its cosines mean.
    """

    def __init__(
        self,
        name: str,
        upstream_model: str,
        server: OpenAIServer,
        *,
        context_tokens: int = 0,
        prefixes: Mapping[TextKind, str] | None = None,
        similarity_scale: SimilarityScale = PLAIN_SCALE,
    ) -> None:
        self._name = name
        self._upstream_model = upstream_model
        self._server = server
        self._window = int(context_tokens * _WINDOW_SHARE)
        self._prefixes = prefixes or {}
        self._similarity_scale = similarity_scale

    @property
    def similarity_scale(self) -> SimilarityScale:
        """What its cosines mean."""
        return self._similarity_scale

    async def status(self) -> ModelStatus:
        """Return whether the server answers and has the model."""
        return await self._server.status(self._upstream_model)

    async def embed(self, texts: Sequence[str], kind: TextKind) -> Embedding:
        """Return one vector a text; see ``EncoderBackend``."""
        prefix = self._prefixes.get(kind, "")
        cut = [self._cut(prefix + text) for text in texts]
        rows: list[NDArray[np.float32]] = []
        tokens = 0
        for start in range(0, len(cut), _TEXTS_PER_REQUEST):
            group = [text for text, _ in cut[start : start + _TEXTS_PER_REQUEST]]
            vectors, read = await self._request(group)
            rows.append(vectors)
            tokens += read
        try:
            together = np.concatenate(rows)
        except ValueError as error:
            raise UpstreamFailed(self._name, "its vectors have different lengths") from error
        return Embedding(together, tokens, [truncated for _, truncated in cut])

    async def _request(self, texts: list[str]) -> tuple[NDArray[np.float32], int]:
        body = {
            "model": self._upstream_model,
            "input": texts,
            "encoding_format": "base64",  # a quarter of the bytes, and no number is parsed
        }
        try:
            reply = await self._server.post_json(
                self._name, "/embeddings", body, _MOST_RESPONSE_BYTES
            )
        except RequestRefused as refused:
            raise refused.as_failure(self._name) from refused
        vectors = self._vectors(reply.get("data"), len(texts))
        usage = reply.get("usage")
        counted = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        if not isinstance(counted, int):
            counted = sum(map(estimate_tokens, texts))
        return vectors, counted

    def _vectors(self, data: object, expected: int) -> NDArray[np.float32]:
        if not isinstance(data, list) or len(data) != expected:
            raise UpstreamFailed(self._name, f"it did not send {expected} vectors")
        rows: list[NDArray[np.float32] | None] = [None] * expected
        try:
            for place, entry in enumerate(data):
                index = entry.get("index", place)
                rows[index] = _numbers(entry["embedding"])
            vectors = np.stack([row for row in rows if row is not None])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise UpstreamFailed(self._name, "it sent something that is no vectors") from error
        lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        if len(vectors) != expected or not np.isfinite(lengths).all() or not lengths.all():
            raise UpstreamFailed(self._name, "it sent vectors that are missing, zero or no numbers")
        return vectors / lengths

    def _cut(self, text: str) -> tuple[str, bool]:
        if not self._window:
            return text, False
        tokens = estimate_tokens(text)
        if tokens <= self._window:
            return text, False
        return text[: len(text) * self._window // tokens], True


def _numbers(value: Any) -> NDArray[np.float32]:
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError("no base64") from error
        return np.frombuffer(raw, "<f4").astype(np.float32, copy=False)
    row = np.asarray(value, np.float32)
    if row.ndim != 1 or not row.size:
        raise ValueError("no row of numbers")
    return row
