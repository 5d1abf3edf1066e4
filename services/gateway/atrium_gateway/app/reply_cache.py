"""Replies kept in memory for callers who ask the same again."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from cachetools import LRUCache, TTLCache
from numpy.typing import NDArray

from atrium_gateway.app.caller import Caller
from atrium_gateway.app.dispatch import Dispatch
from atrium_gateway.app.ports import EncoderBackend, TextKind
from atrium_gateway.app.same_question import same_question
from atrium_gateway.domain.generation import CacheMode, FinishReason, Generated, Prompt
from atrium_gateway.domain.models import Capability, Model
from atrium_gateway.domain.similarity import SimilarityScale
from atrium_gateway.domain.tokens import most_encoder_tokens
from atrium_shared.clock import Clock
from atrium_shared.engines import NO_USAGE
from atrium_shared.errors import AtriumError

Vector = NDArray[np.float32]
EmbedQuestion = Callable[[Caller, str], Awaitable[tuple[Vector, SimilarityScale]]]
"""Returns a text's vector, float32, shape (dimensions,), of length 1, and its encoder's scale."""

_TASK = "gateway.cache"
"""Its route may name another encoder; without one it is that of "embed"."""
_REPLY_BYTES = 2_000
"""What a kept reply takes beside its texts, about."""
_NEIGHBOURS = 64
"""Questions of one shelf that are compared; the oldest go first."""
_SHELVES = 10_000
_ASKED = 256
_MOST_COMPARED = 2_000
"""Longer messages are documents rather than questions; only the same bytes answer them."""


class QuestionVectors:
    """Vectors of questions by the tenant's own encoder, charged to the caller.

    Args:
        dispatch: Runs the encoder.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def __call__(self, caller: Caller, text: str) -> tuple[Vector, SimilarityScale]:
        """Return the vector of a question and its encoder's scale.

        Raises:
            AtriumError: See :meth:`Dispatch.encode`.
        """

        async def run(encoder: EncoderBackend) -> tuple[tuple[Vector, SimilarityScale], int]:
            embedding = await encoder.embed([text], TextKind.QUERY)
            return (embedding.vectors[0], encoder.similarity_scale), embedding.tokens

        encoded, _, _ = await self._dispatch.encode(
            replace(caller, task=_TASK), Capability.EMBED, run, most_encoder_tokens([text])
        )
        return encoded


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """A question that was answered."""

    text: str
    vector: Vector
    key: bytes


class MemoryReplyCache:
    """Replies of this process, the least recently used dropped first.

    A reply is found again only by the same tenant, permissions, task, model and version, and the
    same request: in every byte (``EXACT``), or up to the wording of its last message
    (``SEMANTIC``), which then must be near by vector and the same by :func:`same_question`. All of
    it is hashed into one key, so nothing is compared across tenants or permissions.

    Args:
        clock: Tells the age of a reply.
        embed: Makes the vectors of questions, charged to their caller.
        most_bytes: Most memory for replies, about. 0 keeps none.
        keep_seconds: Longest use of a reply.
        least_similarity: How near the vectors of two questions must be, on their encoder's scale: 0
            for strangers, 1 for the same in other words.
    """

    def __init__(
        self,
        clock: Clock,
        embed: EmbedQuestion,
        *,
        most_bytes: int = 64 << 20,
        keep_seconds: float = 3600.0,
        least_similarity: float = 0.7,
    ) -> None:
        self._embed = embed
        self._most_bytes = most_bytes
        self._least_similarity = least_similarity
        self._replies: TTLCache[bytes, Generated] = TTLCache(
            most_bytes, keep_seconds, timer=clock.monotonic, getsizeof=_size
        )
        self._shelves: LRUCache[bytes, deque[_Neighbour]] = LRUCache(_SHELVES)
        # A question that is not found is kept a moment later: its vector is made once.
        self._asked: LRUCache[bytes, tuple[Vector, SimilarityScale]] = LRUCache(_ASKED)

    async def find(
        self, caller: Caller, model: Model, prompt: Prompt, mode: CacheMode
    ) -> Generated | None:
        """Return a kept reply, or None; see ``ReplyCache``."""
        if not self._may_keep(prompt):
            return None
        key = _key(caller, model, prompt)
        kept = self._replies.get(key)
        if kept is None and mode is CacheMode.SEMANTIC:
            kept = await self._near(caller, model, prompt, key)
        if kept is None:
            return None
        # An outcome belongs to the call that the model answered.
        return replace(kept, cached=True, usage=NO_USAGE, generation="")

    async def keep(
        self, caller: Caller, model: Model, prompt: Prompt, mode: CacheMode, reply: Generated
    ) -> None:
        """Keep a reply; see ``ReplyCache``."""
        whole = reply.reason in (FinishReason.STOP, FinishReason.TOOL_CALLS)
        # A calculation may rest on the day on which it was asked for.
        if not self._may_keep(prompt) or not whole or reply.calculation is not None:
            return
        if _size(reply) > self._most_bytes:
            return
        key = _key(caller, model, prompt)
        self._replies[key] = reply
        if mode is CacheMode.SEMANTIC:
            found = await self._vector(caller, prompt, key)
            if found is not None:
                shelf = self._shelves.setdefault(
                    _shelf(caller, model, prompt), deque(maxlen=_NEIGHBOURS)
                )
                shelf.append(_Neighbour(_question(prompt), found[0], key))

    async def _near(
        self, caller: Caller, model: Model, prompt: Prompt, key: bytes
    ) -> Generated | None:
        shelf = self._shelves.get(_shelf(caller, model, prompt), ())
        neighbours = [each for each in shelf if each.key in self._replies]
        found = await self._vector(caller, prompt, key)
        if not neighbours or found is None:
            return None
        vector, scale = found
        # Vectors of another encoder, used until its route changed, have nothing to say here.
        alike = [each for each in neighbours if each.vector.shape == vector.shape]
        cosines = [float(each.vector @ vector) for each in alike]
        for cosine, neighbour in sorted(
            zip(cosines, alike, strict=True), key=lambda pair: -pair[0]
        ):
            if scale.normalised(cosine) < self._least_similarity:
                return None
            if same_question(_question(prompt), neighbour.text):
                return self._replies.get(neighbour.key)
        return None

    async def _vector(
        self, caller: Caller, prompt: Prompt, key: bytes
    ) -> tuple[Vector, SimilarityScale] | None:
        text = _question(prompt)
        if not text or len(text) > _MOST_COMPARED:
            return None
        found = self._asked.pop(key, None)
        if found is None:
            try:
                found = await self._embed(caller, text)
            except AtriumError:  # no encoder now: then only the same bytes are found
                return None
            self._asked[key] = found
        return found

    def _may_keep(self, prompt: Prompt) -> bool:
        # A page may say something else by the next call.
        return self._most_bytes > 0 and not prompt.web_pages


def _question(prompt: Prompt) -> str:
    return prompt.messages[-1].content


def _key(caller: Caller, model: Model, prompt: Prompt) -> bytes:
    return _digest(caller, model, asdict(prompt))


def _shelf(caller: Caller, model: Model, prompt: Prompt) -> bytes:
    """Return the key of all requests that differ in the words of the last message alone."""
    *before, last = prompt.messages
    return _digest(
        caller, model, asdict(replace(prompt, messages=(*before, replace(last, content=""))))
    )


def _digest(caller: Caller, model: Model, request: dict[str, Any]) -> bytes:
    whose = [
        caller.tenant,
        caller.principal.allow_set.digest.hex(),
        caller.task,
        model.name,
        model.version,
    ]
    text = json.dumps([whose, request], ensure_ascii=False, default=_as_json)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def _as_json(value: object) -> object:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, dict) or hasattr(value, "items"):
        return dict(value.items())  # the order of a schema's keys is part of the request
    raise TypeError(f"{type(value).__name__} is no part of a request")


def _size(reply: Generated) -> int:
    called = sum(len(call.arguments) for call in reply.tool_calls)
    return _REPLY_BYTES + 4 * (len(reply.text) + called)
