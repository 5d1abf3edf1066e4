from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from atrium_knowledge.testing import House, open_house


@pytest.fixture
def house_at(
    tmp_path: Path,
) -> Callable[..., AbstractAsyncContextManager[House]]:
    """Opens the service on one folder; opened again, it finds what it stored before."""

    @asynccontextmanager
    async def opened(**parts: object) -> AsyncIterator[House]:
        async with open_house(tmp_path, **parts) as house:
            yield house

    return opened


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as house:
        yield house
