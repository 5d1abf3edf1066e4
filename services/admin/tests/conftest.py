"""Fixtures: an admin service that runs, empty or with the tenant acme.

``ADMIN_TEST_DATABASE_URL`` runs the tests on PostgreSQL instead of SQLite; it drops the schema
``admin`` there before each test.
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
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from atrium_admin.app.create_tenant import TenantDraft
from atrium_admin.bootstrap import AdminApp, build
from atrium_shared.testing import FixedClock, make_principal, memory_folder, running_server

from .house import House, settings_for
from .scim import client_for

POSTGRES = os.environ.get("ADMIN_TEST_DATABASE_URL", "")


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
def founded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database file with the tenant acme, and its administrator's key; tests take copies."""
    database = tmp_path_factory.mktemp("founded") / "admin.db"

    async def make() -> str:
        app = build(settings_for(f"sqlite+aiosqlite:///{database}"), clock=FixedClock())
        await app.service_app.start()
        key = await found(app)
        await app.service_app.stop()
        return key

    return database, asyncio.run(make())


@pytest.fixture
async def database_url(tmp_path: Path) -> str:
    """An empty database."""
    if not POSTGRES:
        return f"sqlite+aiosqlite:///{tmp_path}/admin.db"
    engine = create_async_engine(POSTGRES)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA IF EXISTS admin CASCADE"))
    await engine.dispose()
    return POSTGRES


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
    founded: tuple[Path, str], database_url: str, tmp_path: Path, clock: FixedClock
) -> AsyncIterator[House]:
    """A running admin service with the tenant acme."""
    template, key = founded
    shutil.copy(template, tmp_path / "admin.db")
    async with running(database_url, clock) as house:
        house.key = await found(house.app) if POSTGRES else key
        yield house


@pytest.fixture
async def scim(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """The SCIM endpoints, with the administrator's key."""
    async with client_for(house, house.key) as client:
        yield client
