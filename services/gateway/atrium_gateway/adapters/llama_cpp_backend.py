"""A GGUF model of the model store as a backend, run by llama.cpp in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from atrium_gateway.adapters.llama_server import LlamaServer
from atrium_gateway.adapters.local_model import LocalModel
from atrium_gateway.adapters.openai_generator import OpenAIGenerator
from atrium_gateway.adapters.openai_server import OpenAIServer, RequestRefused
from atrium_gateway.adapters.openai_tools import message_to_body, tools_to_body
from atrium_gateway.adapters.written_calls import (
    held_to_call,
    read_held_call,
    read_written_call,
)
from atrium_gateway.domain.errors import SchemaUnsupported, UpstreamFailed
from atrium_gateway.domain.generation import Delta, Finished, Prompt, ToolCallDelta
from atrium_gateway.domain.models import READY, ModelStatus
from atrium_gateway.domain.tools import allowed_tools

_GGUF = "model.gguf"
_MOST_TOKENIZED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Running:
    """A llama.cpp process and the connections to it."""

    process: LlamaServer
    chat: OpenAIServer
    native: OpenAIServer
    generator: OpenAIGenerator


class LlamaCppBackend:
    """Writes text with a :class:`LlamaServer`: the OpenAI adapter over a process that is watched.

    Args:
        name: Resource name of the model.
        pull: What to pull when the files are missing.
        locate: Returns the model's folder; raises AtriumError while its files are missing.
        threads: Threads of computation.
        parallel: Replies that are written at the same time.
        context_tokens: Prompt plus reply.
    """

    def __init__(
        self,
        name: str,
        pull: str,
        locate: Callable[[], Path],
        *,
        threads: int,
        parallel: int,
        context_tokens: int,
    ) -> None:
        self._name = name
        self._threads = threads
        self._parallel = parallel
        self._context_tokens = context_tokens
        self._local = LocalModel(name, pull, locate, self._open, self._close)

    async def start(self) -> None:
        """Start the process, and return."""
        self._local.start()

    async def close(self) -> None:
        """Stop the process."""
        await self._local.close()

    async def status(self) -> ModelStatus:
        """Return whether the process answers."""
        status = await self._local.status()
        if status is not READY:
            return status
        return (await self._local.engine()).process.status

    async def stream(
        self, prompt: Prompt
    ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``."""
        running = await self._local.engine()
        await running.process.ready()
        async with aclosing(_with_calls(running.generator, prompt)) as events:
            async for event in events:
                yield event

    async def _open(self, folder: Path) -> _Running:
        process = LlamaServer(
            self._name,
            folder / _GGUF,
            context_tokens=self._context_tokens,
            parallel=self._parallel,
            threads=self._threads,
        )
        await process.start()
        chat = OpenAIServer(lambda: process.base_url, process.api_key)
        native = OpenAIServer(lambda: process.base_url.removesuffix("/v1"), process.api_key)

        async def count_tokens(prompt: Prompt) -> int | None:
            return await _count_tokens(self._name, native, prompt)

        generator = OpenAIGenerator(
            self._name,
            self._name.removeprefix("models/"),
            chat,
            context_tokens=self._context_tokens,
            count_tokens=count_tokens,
            named_tool_choice=False,
        )
        return _Running(process, chat, native, generator)

    async def _close(self, running: _Running) -> None:
        await running.chat.close()
        await running.native.close()
        await running.process.close()


async def _with_calls(
    generator: OpenAIGenerator, prompt: Prompt
) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
    """Write a reply, and see to it that calls of tools come out as such."""
    held = held_to_call(prompt) if prompt.tools else None
    if held is not None:
        begun = False
        try:
            async with aclosing(generator.stream(held)) as events:
                async for event in read_held_call(events):
                    begun = True
                    yield event
            return
        except SchemaUnsupported:
            if begun:
                raise
            # Its grammar cannot say what the tool's schema says: the model is only asked to call.
    async with aclosing(generator.stream(prompt)) as events:
        read = read_written_call(events, prompt) if allowed_tools(prompt) else events
        async for event in read:
            yield event


async def _count_tokens(name: str, native: OpenAIServer, prompt: Prompt) -> int | None:
    """Return the tokens of a conversation under the model's own template and vocabulary."""
    chat = {
        "messages": [message_to_body(message) for message in prompt.messages],
        **tools_to_body(prompt, named_choice=False),
    }
    try:
        templated = await native.post_json(name, "/apply-template", chat, _MOST_TOKENIZED_BYTES)
        tokenized = await native.post_json(
            name,
            "/tokenize",
            {"content": templated.get("prompt"), "add_special": False, "parse_special": True},
            _MOST_TOKENIZED_BYTES,
        )
    except (RequestRefused, UpstreamFailed):
        return None  # the server itself will say whether the prompt fits
    tokens = tokenized.get("tokens")
    return len(tokens) if isinstance(tokens, list) else None
