from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from atrium_gateway.adapters.local_model import LocalModel
from atrium_gateway.domain.errors import ModelUnavailable
from atrium_gateway.domain.models import ModelState
from atrium_gateway.testing import FilesMissing


class Store:
    """A store in which a model may appear, and an engine that notes what is done to it."""

    def __init__(self, *, there: bool = True) -> None:
        self.there = there
        self.broken = False
        self.opened = 0
        self.closed = 0
        self.may_open = asyncio.Event()
        self.may_open.set()

    def locate(self) -> Path:
        if not self.there:
            raise FilesMissing("m")
        return Path("m")

    async def open(self, folder: Path) -> str:
        await self.may_open.wait()
        if self.broken:
            raise FilesMissing("the vocabulary")
        self.opened += 1
        return f"engine over {folder}"

    async def close(self, engine: str) -> None:
        self.closed += 1

    def model(self) -> LocalModel[str]:
        return LocalModel("models/m", "small", self.locate, self.open, self.close)


async def test_an_engine_is_opened_once_for_all_who_wait() -> None:
    store = Store()
    model = store.model()
    engines = await asyncio.gather(*(model.engine() for _ in range(5)))
    assert engines == ["engine over m"] * 5
    assert (await model.status()).state is ModelState.READY
    await model.close()
    assert (store.opened, store.closed) == (1, 1)


async def test_a_model_is_starting_while_it_is_opened() -> None:
    store = Store()
    store.may_open.clear()
    model = store.model()
    model.start()
    assert (await model.status()).state is ModelState.STARTING
    waiting = asyncio.ensure_future(model.engine())
    impatient = asyncio.ensure_future(model.engine())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    store.may_open.set()
    assert await waiting == "engine over m"
    await model.close()


async def test_missing_files_say_what_to_pull_and_are_found_once_they_are_there() -> None:
    store = Store(there=False)
    model = store.model()
    with pytest.raises(ModelUnavailable, match="run `atrium models pull small`"):
        await model.engine()
    status = await model.status()
    assert status.state is ModelState.UNAVAILABLE
    assert "run `atrium models pull small`" in status.reason
    store.there = True
    assert (await model.status()).state is ModelState.STARTING
    assert await model.engine() == "engine over m"
    await model.close()


async def test_a_model_that_cannot_be_opened_says_why() -> None:
    store = Store()
    store.broken = True
    model = store.model()
    with pytest.raises(ModelUnavailable, match="the vocabulary is not there"):
        await model.engine()
    await model.close()
    assert store.closed == 0


async def test_a_model_that_is_closed_stays_closed() -> None:
    store = Store()
    store.may_open.clear()
    model = store.model()
    model.start()
    await asyncio.sleep(0)
    await model.close()
    with pytest.raises(ModelUnavailable, match="stopped"):
        await model.engine()
    assert store.opened == 0
