"""Text from an OpenAI-compatible server: ``/chat/completions`` as a stream of events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp

from atrium_gateway.adapters.event_stream import Event, EventStreamDecoder, EventTooLarge
from atrium_gateway.adapters.openai_server import (
    OpenAIServer,
    RequestRefused,
    error_code,
    parse_object,
    read_body,
)
from atrium_gateway.adapters.openai_tools import (
    CallReader,
    CallsMalformed,
    message_to_body,
    storable,
    tools_to_body,
)
from atrium_gateway.domain.errors import (
    PromptTooLong,
    SchemaUnsupported,
    UpstreamFailed,
    UpstreamTimedOut,
)
from atrium_gateway.domain.generation import (
    Completed,
    Delta,
    Finished,
    FinishReason,
    Prompt,
    ToolCallDelta,
)
from atrium_gateway.domain.models import ModelStatus
from atrium_gateway.domain.tokens import (
    estimate_prompt_tokens,
    estimate_tokens,
    most_prompt_tokens,
)
from atrium_gateway.domain.tool_errors import ToolsUnsupported
from atrium_gateway.domain.tools import CallAssembler
from atrium_shared.engines import Usage
from atrium_shared.errors import AtriumError

CountTokens = Callable[[Prompt], Awaitable[int | None]]
"""Returns the exact tokens of a conversation and its tools, or None when that cannot be told."""

# A prompt is refused unasked only when it is too long by more than the estimate may be wrong.
_ESTIMATE_MARGIN = 0.75
# A prompt so far beyond the context needs no exact count, which would take long.
_HOPELESS = 4
# After the last words usage and the end of the stream follow at once, or not at all.
_TRAILER_SECONDS = 5.0
_MOST_WHOLE_BYTES = 16 << 20
# No token of a common vocabulary is longer; a server that writes more does not keep to max_tokens.
_MOST_CHARACTERS_PER_TOKEN = 256

_TOO_LONG_CODES = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
)
_TOO_LONG_WORDS = re.compile(
    r"context (length|size|window)|maximum (context|model) length|too many tokens|"
    r"(prompt|input) is too long|max_model_len",
    re.IGNORECASE,
)
_SCHEMA_WORDS = re.compile(r"schema|grammar|response_format|guided|structured", re.IGNORECASE)
_TOOL_WORDS = re.compile(r"\btools?\b|tool[_-]choice|tool[_-]call|function call", re.IGNORECASE)
_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.FILTERED,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
}


class OpenAIGenerator:
    """A chat model behind an OpenAI-compatible server.

    Args:
        name: Resource name of the model, for errors.
        upstream_model: Its name at the server.
        server: The connection.
        context_tokens: Its context, or 0 when it is not known; then the server alone decides.
        count_tokens: Counts a prompt exactly, where the server can.
        idle_seconds: Longest pause between two parts of a reply.
        named_tool_choice: Whether the server can be told to call one tool by its name.
    """

    def __init__(
        self,
        name: str,
        upstream_model: str,
        server: OpenAIServer,
        *,
        context_tokens: int = 0,
        count_tokens: CountTokens | None = None,
        idle_seconds: float = 60.0,
        named_tool_choice: bool = True,
    ) -> None:
        self._name = name
        self._upstream_model = upstream_model
        self._server = server
        self._context_tokens = context_tokens
        self._count_tokens = count_tokens
        self._idle_seconds = idle_seconds
        self._named_tool_choice = named_tool_choice

    async def status(self) -> ModelStatus:
        """Return whether the server answers and has the model."""
        return await self._server.status(self._upstream_model)

    async def stream(
        self, prompt: Prompt
    ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``.

        Words that arrived together go on together: each step on the way to the caller costs as
        much for one word as for many.
        """
        await self._check_size(prompt)
        reply = _Reply(self._name, prompt)
        body = self._body(prompt) | {"stream": True, "stream_options": {"include_usage": True}}
        try:
            async with (
                self._server.post(self._name, "/chat/completions", body) as response,
                aclosing(self._events(response, reply)) as arrivals,
            ):
                async for events in arrivals:
                    parts, failure = reply.take_all(events)
                    for part in parts:
                        yield part
                    if failure is not None:
                        raise failure
        except RequestRefused as refused:
            raise self._refusal(refused, prompt) from refused
        yield reply.finished()

    async def complete(self, prompt: Prompt) -> Completed:
        """Write a reply and return it whole; see ``CompletingBackend``.

        One JSON object costs a small part of what a stream of events does. Servers that stream
        nevertheless are understood.
        """
        await self._check_size(prompt)
        reply = _Reply(self._name, prompt)
        try:
            path, body = "/chat/completions", self._body(prompt)
            async with self._server.post(self._name, path, body) as response:
                if _is_json(response):
                    whole = Event("message", await self._whole(response))
                    parts = list(reply.take(whole))
                else:
                    async with aclosing(self._events(response, reply)) as arrivals:
                        parts = [
                            part
                            async for events in arrivals
                            for event in events
                            for part in reply.take(event)
                        ]
        except RequestRefused as refused:
            raise self._refusal(refused, prompt) from refused
        finished = reply.finished()
        calls = CallAssembler()
        for part in parts:
            if isinstance(part, ToolCallDelta):
                calls.take(part)
        text = "".join(part.text for part in parts if isinstance(part, Delta))
        return Completed(text, finished.reason, finished.usage, calls.calls())

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._upstream_model,
            "messages": [message_to_body(message) for message in prompt.messages],
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
        }
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if prompt.seed is not None:
            body["seed"] = prompt.seed
        if prompt.response_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "reply",
                    "strict": True,
                    "schema": dict(prompt.response_schema),
                },
            }
        body |= tools_to_body(prompt, named_choice=self._named_tool_choice)
        return body

    async def _events(
        self, response: aiohttp.ClientResponse, reply: _Reply
    ) -> AsyncGenerator[list[Event], None]:
        """Give the events of a response, those together that arrived together.

        The first may take as long as the caller waits.
        """
        try:
            if _is_json(response):
                # The server does not stream: it sends the whole reply as one object.
                yield [Event("message", await self._whole(response))]
                return
            decoder = EventStreamDecoder()
            loop = asyncio.get_running_loop()
            until: float | None = None
            while True:
                async with asyncio.timeout_at(until):
                    chunk = await response.content.readany()
                events = decoder.feed(chunk) if chunk else decoder.end()
                if events:
                    yield events
                if not chunk:
                    return
                if events:
                    # Comments and empty lines keep a connection open, but show no progress.
                    patience = _TRAILER_SECONDS if reply.ended else self._idle_seconds
                    until = loop.time() + patience
        except TimeoutError as error:
            if reply.ended:
                return  # the reply is whole; only the server's goodbye is missing
            raise UpstreamTimedOut(
                self._name, self._idle_seconds, waiting_for="the next part of the reply"
            ) from error
        except EventTooLarge as error:
            raise UpstreamFailed(self._name, "it sent an endless event") from error
        except aiohttp.ClientError as error:
            raise UpstreamFailed(self._name, "the connection broke off") from error

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            raw = await read_body(response, _MOST_WHOLE_BYTES)
        except aiohttp.ClientError as error:
            raise UpstreamFailed(self._name, "the connection broke off") from error
        if raw is None:
            raise UpstreamFailed(self._name, "it sent an endless event")
        return raw

    async def _check_size(self, prompt: Prompt) -> None:
        context = self._context_tokens
        room = context - prompt.max_tokens
        if not context or most_prompt_tokens(prompt.messages, prompt.tools) <= room:
            return
        tokens, exact = _estimate(prompt), False
        too_long = tokens * _ESTIMATE_MARGIN > room
        if self._count_tokens is not None and tokens <= context * _HOPELESS:
            counted = await self._count_tokens(prompt)
            if counted is not None:
                tokens, exact, too_long = counted, True, counted > room
        if too_long:
            raise PromptTooLong(
                self._name,
                prompt_tokens=tokens,
                max_tokens=prompt.max_tokens,
                context_tokens=context,
                exact=exact,
            )

    def _refusal(self, refused: RequestRefused, prompt: Prompt) -> AtriumError:
        message = str(refused.details.get("message", ""))
        if refused.code in _TOO_LONG_CODES or _TOO_LONG_WORDS.search(message):
            counted: Any = refused.details.get("n_prompt_tokens")
            context: Any = refused.details.get("n_ctx")
            known = isinstance(counted, int)
            return PromptTooLong(
                self._name,
                prompt_tokens=int(counted) if known else _estimate(prompt),
                max_tokens=prompt.max_tokens,
                context_tokens=int(context) if isinstance(context, int) else self._context_tokens,
                exact=known,
            )
        if prompt.tools and _TOOL_WORDS.search(message):
            return ToolsUnsupported(self._name)
        if prompt.response_schema is not None and _SCHEMA_WORDS.search(message):
            return SchemaUnsupported("its server refused the schema", model=self._name)
        return refused.as_failure(self._name)


class _Reply:
    """What came of one reply so far.

    Args:
        model: Resource name of the model, for errors.
        prompt: What was asked.
    """

    def __init__(self, model: str, prompt: Prompt) -> None:
        self._model = model
        self._prompt = prompt
        self._left = (prompt.max_tokens + 64) * _MOST_CHARACTERS_PER_TOKEN
        self._parts: list[str] = []
        self._calls = CallReader()
        self._reason: FinishReason | None = None
        self._usage: Mapping[str, Any] = {}

    @property
    def ended(self) -> bool:
        """Whether the server said why it stopped."""
        return self._reason is not None

    def take_all(
        self, events: Sequence[Event]
    ) -> tuple[list[Delta | ToolCallDelta], UpstreamFailed | None]:
        """Read events; return what of the reply is in them, and what went wrong after that."""
        parts: list[Delta | ToolCallDelta] = []
        try:
            for event in events:
                for part in self.take(event):
                    before = parts[-1] if parts else None
                    if isinstance(part, Delta) and isinstance(before, Delta):
                        parts[-1] = Delta(before.text + part.text)
                    else:
                        parts.append(part)
        except UpstreamFailed as error:
            return parts, error
        return parts, None

    def take(self, event: Event) -> Iterator[Delta | ToolCallDelta]:
        """Read an event and give what of the reply is in it."""
        if event.data.strip() == b"[DONE]":
            return
        chunk = parse_object(event.data)
        if chunk is None:
            raise UpstreamFailed(self._model, "it sent something that is not a JSON object")
        error = chunk.get("error")
        if event.type == "error" or error:
            code = error_code(error if isinstance(error, Mapping) else chunk)
            raise UpstreamFailed(
                self._model, f"it failed while it wrote{f' ({code})' if code else ''}"
            )
        usage = chunk.get("usage")
        if isinstance(usage, Mapping):
            self._usage = usage
        choices = chunk.get("choices")
        if not choices:
            return
        for part in self._choice(choices):
            if isinstance(part, Delta):
                self._left -= len(part.text)
                self._parts.append(part.text)
            else:
                self._left -= len(part.name) + len(part.arguments)
            if self._left < 0:
                raise UpstreamFailed(self._model, "it writes on beyond max_tokens")
            yield part

    def finished(self) -> Finished:
        """Return how the reply ended and what it cost.

        Raises:
            UpstreamFailed: It broke off.
        """
        if self._reason is None:
            begun = self._parts or self._calls
            what = "in the middle of its reply" if begun else "without a reply"
            raise UpstreamFailed(self._model, f"it ended {what}")
        reason = self._reason
        if self._calls and reason is FinishReason.STOP:
            reason = FinishReason.TOOL_CALLS  # some servers say "stop" after calls, too
        return Finished(reason, self._count())

    def _choice(self, choices: object) -> Iterator[Delta | ToolCallDelta]:
        first = choices[0] if isinstance(choices, list) else None
        if isinstance(first, Mapping):
            reason = first.get("finish_reason")
            if isinstance(reason, str):
                self._reason = _FINISH_REASONS.get(reason, FinishReason.STOP)
            message = first.get("delta") or first.get("message") or {}
            if isinstance(message, Mapping):
                text = message.get("content")
                if text is None or isinstance(text, str):
                    if text:
                        yield Delta(storable(text))
                    yield from self._read_calls(message.get("tool_calls"))
                    return
        raise UpstreamFailed(self._model, "it sent an event without the fields of a reply")

    def _read_calls(self, parts: object) -> Iterator[ToolCallDelta]:
        if not parts:
            return
        try:
            yield from self._calls.read(parts)
        except CallsMalformed as error:
            raise UpstreamFailed(
                self._model, "it sent calls of tools without the fields"
            ) from error

    def _count(self) -> Usage:
        prompt = _count_in(self._usage, "prompt_tokens")
        completion = _count_in(self._usage, "completion_tokens")
        details = self._usage.get("prompt_tokens_details")
        cached = _count_in(details, "cached_tokens") if isinstance(details, Mapping) else None
        if prompt is None:
            prompt = _estimate(self._prompt)
        if completion is None:
            completion = estimate_tokens("".join(self._parts) + self._calls.text)
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_prompt_tokens=min(cached or 0, prompt),
        )


def _is_json(response: aiohttp.ClientResponse) -> bool:
    return "json" in response.headers.get("content-type", "")


def _estimate(prompt: Prompt) -> int:
    return estimate_prompt_tokens(prompt.messages, prompt.tools)


def _count_in(counts: Mapping[str, Any], key: str) -> int | None:
    value = counts.get(key)
    return value if isinstance(value, int) and value >= 0 else None
