"""Rerankers behind vLLM and servers like it: ``/rerank``, or ``/score`` where there is no other.

Neither call is OpenAI's own; vLLM, Jina and others serve the same one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from atrium_gateway.adapters.openai_server import OpenAIServer, RequestRefused
from atrium_gateway.app.ports import Relevance
from atrium_gateway.domain.errors import UpstreamFailed
from atrium_gateway.domain.models import ModelStatus
from atrium_gateway.domain.tokens import estimate_tokens

_TEXTS_PER_REQUEST = 64
_MOST_RESPONSE_BYTES = 64 << 20
_NO_SUCH_PATH = frozenset({404, 405})
# Query and text are cut by an estimate of their tokens, so a little short of the window.
_WINDOW_SHARE = 0.8
_QUERY_SHARE = 0.5


class OpenAIReranker:
    """A model that reads a query together with each text.

    Args:
        name: Resource name of the model, for errors.
        upstream_model: Its name at the server.
        server: The connection.
        context_tokens: Its window for query and text together, or 0 when it is not known; what is
            longer is cut.
    """

    def __init__(
        self, name: str, upstream_model: str, server: OpenAIServer, *, context_tokens: int = 0
    ) -> None:
        self._name = name
        self._upstream_model = upstream_model
        self._server = server
        self._window = int(context_tokens * _WINDOW_SHARE)
        self._scores_only = False

    async def status(self) -> ModelStatus:
        """Return whether the server answers and has the model."""
        return await self._server.status(self._upstream_model)

    async def rerank(self, query: str, texts: Sequence[str]) -> Relevance:
        """Return how well each text answers the query; see ``RerankerBackend``."""
        asked = _cut(query, int(self._window * _QUERY_SHARE))
        room = self._window - estimate_tokens(asked) if self._window else 0
        given = [_cut(text, room) for text in texts]
        scores: list[float] = []
        tokens = 0
        for start in range(0, len(given), _TEXTS_PER_REQUEST):
            group = given[start : start + _TEXTS_PER_REQUEST]
            found, read = await self._request(asked, group)
            scores += found
            tokens += read
        return Relevance(scores, tokens)

    async def _request(self, query: str, texts: list[str]) -> tuple[list[float], int]:
        if not self._scores_only:
            try:
                body = {"query": query, "documents": texts, "top_n": len(texts)}
                reply = await self._post("/rerank", body)
                return self._read(reply, reply.get("results"), "relevance_score", query, texts)
            except RequestRefused as refused:
                # With a code it is the model that the server does not know, and not the path.
                if refused.status not in _NO_SUCH_PATH or refused.code:
                    raise refused.as_failure(self._name) from refused
                self._scores_only = True
        try:
            reply = await self._post("/score", {"text_1": query, "text_2": texts})
        except RequestRefused as refused:
            raise refused.as_failure(self._name) from refused
        return self._read(reply, reply.get("data"), "score", query, texts)

    async def _post(self, path: str, body: dict[str, Any]) -> Mapping[str, Any]:
        body = {"model": self._upstream_model, **body}
        return await self._server.post_json(self._name, path, body, _MOST_RESPONSE_BYTES)

    def _read(
        self, reply: Mapping[str, Any], rows: object, key: str, query: str, texts: list[str]
    ) -> tuple[list[float], int]:
        scores: list[float | None] = [None] * len(texts)
        try:
            if not isinstance(rows, list):
                raise TypeError("no list")
            for row in rows:
                index, score = row["index"], float(row[key])
                if index < 0 or not math.isfinite(score):
                    raise ValueError("no score")
                scores[index] = score
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise UpstreamFailed(self._name, "it sent something that is no scores") from error
        whole = [score for score in scores if score is not None]
        if len(whole) != len(texts):
            raise UpstreamFailed(self._name, f"it did not send {len(texts)} scores")
        return whole, _tokens(reply.get("usage"), query, texts)


def _tokens(usage: object, query: str, texts: list[str]) -> int:
    if isinstance(usage, Mapping):
        for key in ("prompt_tokens", "total_tokens"):
            counted = usage.get(key)
            if isinstance(counted, int) and counted > 0:
                return counted
    return sum(map(estimate_tokens, texts)) + len(texts) * estimate_tokens(query)


def _cut(text: str, most_tokens: int) -> str:
    tokens = estimate_tokens(text) if most_tokens > 0 else 0
    return text[: len(text) * most_tokens // tokens] if tokens > most_tokens else text
