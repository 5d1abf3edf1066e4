"""Real servers for the tests that cross services."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.postgres import NoPostgres, PostgresServer, postgres_server, running_postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """``user@host:port/database`` of a PostgreSQL server: POSTGRES_URL's, else one started here."""
    if "POSTGRES_URL" in os.environ:
        yield os.environ["POSTGRES_URL"].split("://", 1)[-1]
        return
    with ExitStack() as running:
        try:
            address = running.enter_context(running_postgres())
        except NoPostgres as error:
            pytest.skip(f"{error}; or set POSTGRES_URL")
        yield address


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, which it may stop."""
    with ExitStack() as running:
        try:
            server = running.enter_context(postgres_server())
        except NoPostgres as error:
            pytest.skip(str(error))
        yield server
