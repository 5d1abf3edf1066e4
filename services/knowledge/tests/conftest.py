from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from atrium_knowledge.bootstrap import MIGRATIONS
from atrium_knowledge.testing import House, open_house
from atrium_shared.database import Database

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row, migrated once; tests take copies."""
    file = tmp_path_factory.mktemp("empty") / "knowledge.db"

    async def make() -> None:
        database = Database(f"sqlite+aiosqlite:///{file}", migrations=MIGRATIONS, name="knowledge")
        await database.start()
        await database.close()

    asyncio.run(make())
    return file


@pytest.fixture
def tmp_path(empty_database: Path) -> Iterator[Path]:
    """A folder with an empty database, in memory where the system has some to write to.

    Durable writes to disk would be most of the time of a test.
    """
    folder = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="atrium-", dir=folder) as made:
        shutil.copy(empty_database, made)
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
