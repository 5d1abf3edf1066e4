"""What OpenAI clients get."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from atrium_gateway.app.embed_texts import Embedded
from atrium_gateway.domain.generation import (
    Delta,
    FinishReason,
    Generated,
    ToolCall,
    ToolCallDelta,
)
from atrium_gateway.domain.routes import Route, RouteOrigin
from atrium_shared.engines import Engine, Usage

_REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.FILTERED: "content_filter",
    FinishReason.TOOL_CALLS: "tool_calls",
}


def completion(generated: Generated, id_: str, created: int, *, one_call: bool) -> dict[str, Any]:
    """Return a whole reply.

    Args:
        generated: The reply.
        id_: Names it.
        created: Seconds since 1970.
        one_call: Whether it may hold one tool call at most.
    """
    message: dict[str, Any] = {"role": "assistant", "content": generated.text, "refusal": None}
    calls = generated.tool_calls[:1] if one_call else generated.tool_calls
    if calls:
        message["content"] = generated.text or None
        message["tool_calls"] = [_call(call) for call in calls]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _REASONS[generated.reason],
    }
    return {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": generated.engine.model,
        "choices": [choice],
        "usage": _usage(generated.usage),
        "atrium": _of(generated),
    }


class Chunks:
    """Parts of one reply as ``chat.completion.chunk`` objects.

    Args:
        id_: Names the reply.
        created: Seconds since 1970.
        task: Stands for the model until it is known which one wrote.
        one_call: Whether the reply may hold one tool call at most.
        include_usage: Whether the usage comes last.
    """

    def __init__(
        self, id_: str, created: int, task: str, *, one_call: bool, include_usage: bool
    ) -> None:
        self._frame = {"id": id_, "object": "chat.completion.chunk", "created": created}
        self._model = task
        self._one_call = one_call
        self._include_usage = include_usage

    def first(self) -> dict[str, Any]:
        """Return the chunk that says who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def part(self, event: Delta | ToolCallDelta) -> dict[str, Any] | None:
        """Return the chunk of a part, or None when it is not to be shown."""
        if isinstance(event, Delta):
            return self._chunk({"content": event.text})
        if self._one_call and event.index > 0:
            return None
        call: dict[str, Any] = {
            "index": event.index,
            "function": {"arguments": event.arguments},
        }
        if event.id:
            call |= {"id": event.id, "type": "function"}
            call["function"]["name"] = event.name
        return self._chunk({"tool_calls": [call]})

    def last(self, generated: Generated) -> list[dict[str, Any]]:
        """Return the chunks of the end."""
        self._model = generated.engine.model
        end = self._chunk({}, _REASONS[generated.reason])
        end["atrium"] = _of(generated)
        if not self._include_usage:
            return [end]
        frame = {**self._frame, "model": self._model}
        return [end, {**frame, "choices": [], "usage": _usage(generated.usage)}]

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunk = {**self._frame, "model": self._model, "choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None
        return chunk


def embeddings(embedded: Embedded, *, as_base64: bool) -> dict[str, Any]:
    """Return vectors."""
    vectors = np.ascontiguousarray(embedded.embedding.vectors, "<f4")
    rows = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if as_base64 else row,
        }
        for index, row in enumerate(vectors)
    ]
    truncated = [index for index, cut in enumerate(embedded.embedding.truncated) if cut]
    tokens = embedded.usage.encoder_tokens
    return {
        "object": "list",
        "data": rows,
        "model": embedded.engine.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "atrium": {**_made_by(embedded.engine), "truncated": truncated},
    }


def model(route: Route, tenant: str) -> dict[str, Any]:
    """Return a task as the model that it is to a client."""
    own = route.origin is RouteOrigin.TENANT
    return {
        "id": route.task,
        "object": "model",
        "created": 0,
        "owned_by": tenant if own else "atrium",
        "atrium": {"models": [candidate.model for candidate in route.candidates]},
    }


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }


def _of(generated: Generated) -> dict[str, Any]:
    """Return what OpenAI's API has no field for."""
    return {
        **_made_by(generated.engine),
        "generation": generated.generation,
        "cached": generated.cached,
        "dropped_sentences": generated.dropped_sentences,
        "redacted_values": generated.redacted_values,
    }


def _made_by(engine: Engine) -> dict[str, Any]:
    return {
        "model": engine.model,
        "backend": engine.backend,
        "degraded": engine.degraded,
        "degraded_reason": engine.degraded_reason,
    }
