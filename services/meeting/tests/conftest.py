from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from sqlalchemy.engine import make_url

from atrium_meeting.bootstrap import MIGRATIONS
from atrium_meeting.domain.audio import SAMPLE_RATE, Samples
from atrium_meeting.testing_service import (
    POSTGRES,
    House,
    database_url_in,
    drop_database,
    make_database,
    open_house,
)
from atrium_shared.database import Database
from atrium_shared.testing import memory_folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a database without a row, migrated once; tests take copies."""
    url = database_url_in(tmp_path_factory.mktemp("empty"))

    async def make() -> None:
        database = Database(url, migrations=MIGRATIONS, name="meeting")
        await database.start()
        await database.close()

    make_database(url)
    asyncio.run(make())
    yield url
    drop_database(url)


@pytest.fixture
def state(empty_database: str) -> Iterator[Path]:
    """A folder with an empty database, in memory where the system has some to write to."""
    empty = make_url(empty_database).database or ""
    with memory_folder() as folder:
        if POSTGRES:
            make_database(database_url_in(folder), like=empty)
        else:
            shutil.copy(empty, folder)
        yield folder
        if POSTGRES:
            drop_database(database_url_in(folder))


@pytest.fixture
def house_at(state: Path) -> Callable[..., AbstractAsyncContextManager[House]]:
    """Opens the service on one folder; opened again, it finds what it stored before."""

    @asynccontextmanager
    async def opened(**parts: object) -> AsyncIterator[House]:
        async with open_house(state, **parts) as house:
            yield house

    return opened


@pytest.fixture
async def house(state: Path) -> AsyncIterator[House]:
    async with open_house(state) as house:
        yield house


@pytest.fixture(scope="session")
def two_speakers() -> Samples:
    """17.8 s of a scripted stand-up with synthetic voices.

    S1 speaks at 1.071-3.521 s and 15.487-17.517 s, S2 at 4.12-7.87 s and 8.213-14.723 s.
    """
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(str(Path(__file__).parent / "data" / "two_speakers.ogg")) as file:
        frames = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])
