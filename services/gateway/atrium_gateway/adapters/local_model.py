"""An engine over files of the model store: opened when the files are there, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from atrium_gateway.domain.errors import ModelUnavailable
from atrium_gateway.domain.models import READY, ModelState, ModelStatus
from atrium_shared.errors import AtriumError

E = TypeVar("E")

_log = structlog.get_logger(__name__)


class LocalModel(Generic[E]):
    """Opens an engine in the background and gives it to whoever waits for it.

    Files that are missing are looked for again whenever the model is asked for, so a model that
    is pulled while the gateway runs works without a restart.

    Args:
        name: Resource name of the model, for errors.
        pull: What to pull, for the hint: ``"small"``.
        locate: Returns the model's folder; raises AtriumError while its files are missing. Reads
            the disk.
        open_engine: Opens the engine over the folder.
        close_engine: Closes it.
    """

    def __init__(
        self,
        name: str,
        pull: str,
        locate: Callable[[], Path],
        open_engine: Callable[[Path], Awaitable[E]],
        close_engine: Callable[[E], Awaitable[None]],
    ) -> None:
        self._name = name
        self._pull = pull
        self._locate = locate
        self._open_engine = open_engine
        self._close_engine = close_engine
        self._engine: E | None = None
        self._opening: asyncio.Task[E] | None = None
        self._closed = False

    def start(self) -> None:
        """Start opening, and return."""
        if self._opening is None and self._engine is None and not self._closed:
            self._opening = asyncio.create_task(self._open(), name=f"open {self._name}")
            self._opening.add_done_callback(self._opened)

    async def engine(self) -> E:
        """Return the engine, after waiting until it is open.

        Raises:
            ModelUnavailable: Its files are missing or cannot be opened.
        """
        if self._engine is not None:
            return self._engine
        self.start()
        if self._opening is None:
            raise ModelUnavailable(self._name, "it was stopped")
        # One who gives up must not stop the opening for the others.
        return await asyncio.shield(self._opening)

    async def status(self) -> ModelStatus:
        """Return whether the engine is open, and otherwise why not and what to do."""
        if self._engine is not None:
            return READY
        if self._opening is None:
            try:
                await self._folder()
            except ModelUnavailable as error:
                return ModelStatus(ModelState.UNAVAILABLE, error.why)
            self.start()
        return ModelStatus(ModelState.STARTING, "it is being loaded")

    async def close(self) -> None:
        """Close the engine."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError, ModelUnavailable):
                await self._opening
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await self._close_engine(engine)

    async def _open(self) -> E:
        folder = await self._folder()
        try:
            engine = await self._open_engine(folder)
        except ModelUnavailable:
            raise
        except AtriumError as error:
            raise ModelUnavailable(self._name, error.message) from error
        self._engine = engine
        _log.info("model_opened", model=self._name)
        return engine

    def _opened(self, opening: asyncio.Task[E]) -> None:
        self._opening = None
        if not opening.cancelled() and (error := opening.exception()) is not None:
            why = error.why if isinstance(error, ModelUnavailable) else repr(error)
            _log.warning("model_not_opened", model=self._name, why=why)

    async def _folder(self) -> Path:
        try:
            return await asyncio.to_thread(self._locate)
        except AtriumError as error:
            why = f"its files are missing or incomplete; run `atrium models pull {self._pull}`"
            raise ModelUnavailable(self._name, why) from error
