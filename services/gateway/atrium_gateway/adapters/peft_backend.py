"""A transformers model as a backend, run with peft in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from atrium_gateway.adapters.llama_server import LlamaServer, WatchTimes
from atrium_gateway.adapters.openai_generator import OpenAIGenerator
from atrium_gateway.adapters.openai_server import OpenAIServer
from atrium_gateway.app.adapter_ports import AdapterBackend
from atrium_gateway.domain.errors import ModelUnavailable, UpstreamFailed
from atrium_gateway.domain.generation import Delta, Finished, Prompt, ToolCallDelta
from atrium_gateway.domain.models import MODEL_PREFIX, ModelStatus

WORKER = "atrium_gateway.adapters.peft_worker"


class PeftBackend:
    """Writes text with :mod:`atrium_gateway.adapters.peft_worker`, started and watched.

    The worker takes adapters as vLLM does, at :attr:`server`.

    Args:
        folder: The model as transformers saves it; its name is the model's.
        python: A Python that has torch, transformers, peft and this package.
        threads: Threads of computation.
        times: How patiently the worker is watched.
    """

    def __init__(
        self, folder: Path, python: Path, *, threads: int, times: WatchTimes | None = None
    ) -> None:
        self.name = MODEL_PREFIX + folder.name
        self._process = LlamaServer(
            self.name,
            folder,
            command=(
                *(str(python), "-m", WORKER),
                *("--model", str(folder)),
                *("--threads", str(threads)),
            ),
            times=times,
        )
        self.server = OpenAIServer(self._address, self._process.api_key)
        self._generator = self.generator(self.name, folder.name)

    def generator(self, model: str, served_name: str) -> AdapterBackend:
        """Return what writes text with an adapter that the worker holds.

        Args:
            model: Resource name, for errors.
            served_name: The adapter's name at the worker.
        """
        return OpenAIGenerator(model, served_name, self.server)

    async def start(self) -> None:
        """Start the process, and return; a missing folder shows in :meth:`status`."""
        try:
            await self._process.start()
        except ModelUnavailable:
            return

    async def close(self) -> None:
        """Stop the process."""
        await self.server.close()
        await self._process.close()

    async def status(self) -> ModelStatus:
        """Return whether the process answers."""
        return self._process.status

    async def stream(
        self, prompt: Prompt
    ) -> AsyncGenerator[Delta | ToolCallDelta | Finished, None]:
        """Write a reply; see ``GeneratorBackend``."""
        await self._process.ready()
        async with aclosing(self._generator.stream(prompt)) as events:
            async for event in events:
                yield event

    def _address(self) -> str:
        try:
            return self._process.base_url
        except ModelUnavailable as error:  # to whoever asks the server it is one that is away
            raise UpstreamFailed(self.name, error.why) from error
