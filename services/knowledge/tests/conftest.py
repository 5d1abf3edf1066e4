from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from atrium_knowledge.testing import House, open_house

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where the system has one: durable writes to disk are most of the time."""
    folder = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="atrium-", dir=folder) as made:
        yield Path(made)


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
