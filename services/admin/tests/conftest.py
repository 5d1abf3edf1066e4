"""Fixtures: an admin service that runs, empty or with the tenant acme.

``ADMIN_TEST_DATABASE_URL`` runs the tests on PostgreSQL instead of SQLite, each in a database of
its own there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from atrium_admin.app.create_tenant import TenantDraft
from atrium_admin.bootstrap import AdminApp, build
from atrium_shared.testing import FixedClock, make_principal, memory_folder, running_server
from atrium_shared.testing_databases import ServiceDatabases

from .house import House, settings_for
from .scim import client_for

POSTGRES = os.environ.get("ADMIN_TEST_DATABASE_URL", "")
_DATABASES = ServiceDatabases("admin", POSTGRES)


async def found(app: AdminApp) -> str:
    """Make the tenant acme and return its administrator's key."""
    principal = make_principal(tenant="", actor="services/suite")
    return (await app.bootstrap(principal, TenantDraft("acme", "Acme"))).credential


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where the system has one."""
    with memory_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A database with the tenant acme, and its administrator's key; tests take copies."""
    database_url = _DATABASES.url_in(tmp_path_factory.mktemp("founded"))
    _DATABASES.make(database_url)

    async def make() -> str:
        app = build(settings_for(database_url), clock=FixedClock())
        await app.service_app.start()
        key = await found(app)
        await app.service_app.stop()
        return key

    yield database_url, asyncio.run(make())
    _DATABASES.drop(database_url)


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    url = _DATABASES.url_in(tmp_path)
    _DATABASES.make(url)
    yield url
    _DATABASES.drop(url)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@asynccontextmanager
async def running(database_url: str, clock: FixedClock) -> AsyncIterator[House]:
    app = build(settings_for(database_url), clock=clock)
    async with running_server(
        [app.service_app], authenticator=app.authenticator, audit=app.audit, grace_seconds=0.2
    ) as server:
        yield House(app, server, clock, database_url, "")


@pytest.fixture
async def empty_house(database_url: str, clock: FixedClock) -> AsyncIterator[House]:
    """A running admin service before its first tenant."""
    async with running(database_url, clock) as house:
        yield house


@pytest.fixture
async def house(
    founded: tuple[str, str], database_url: str, clock: FixedClock
) -> AsyncIterator[House]:
    """A running admin service with the tenant acme."""
    template, key = founded
    if POSTGRES:
        _DATABASES.drop(database_url)
        _DATABASES.make(database_url, like=str(make_url(template).database))
    else:
        shutil.copy(str(make_url(template).database), str(make_url(database_url).database))
    async with running(database_url, clock) as house:
        house.key = key
        yield house


@pytest.fixture
async def scim(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """The SCIM endpoints, with the administrator's key."""
    async with client_for(house, house.key) as client:
        yield client
