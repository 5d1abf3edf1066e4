"""Databases of a service's tests: SQLite in a folder, or one each on a PostgreSQL server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url


class ServiceDatabases:
    """Makes, reads and drops the databases in which one service keeps its records under test.

    Args:
        service: Name of the service, which is its schema on PostgreSQL, "knowledge".
        server: A PostgreSQL server, ``postgresql+asyncpg://user@host/name``; "": SQLite.
    """

    def __init__(self, service: str, server: str) -> None:
        self._service = service
        self._postgres = server

    def url_in(self, folder: Path) -> str:
        """Return where the records of a folder are; on PostgreSQL it has a database of its own."""
        if not self._postgres:
            return f"sqlite+aiosqlite:///{folder}/{self._service}.db"
        name = hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()
        url = make_url(self._postgres).set(database=f"{self._service}_{name}")
        return url.render_as_string(False)

    def engine_of(self, database_url: str) -> sa.Engine:
        """Return a way past the service to its records. Dispose of it."""
        url = make_url(database_url)
        if url.get_backend_name() == "sqlite":
            return sa.create_engine(url.set(drivername="sqlite"))
        options = {"options": f"-csearch_path={self._service}"}
        return sa.create_engine(url.set(drivername="postgresql+psycopg"), connect_args=options)

    def run_sql(self, database_url: str, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the records as who holds the database can. Returns its rows."""
        engine = self.engine_of(database_url)
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            rows = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    def make(self, database_url: str, *, like: str = "template1") -> None:
        """Make a database on the server of the tests, unless it is there; SQLite makes its own.

        It becomes a copy of the database named ``like``, to which nobody may be connected.
        """
        url = make_url(database_url)
        if not self._postgres or url.get_backend_name() == "sqlite":
            return
        with self._server() as connection:
            found = connection.execute(
                sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": url.database}
            )
            if found.first() is None:
                connection.execute(sa.text(f'CREATE DATABASE "{url.database}" TEMPLATE "{like}"'))

    def drop(self, database_url: str) -> None:
        """Drop a database that `make` made, and close what is connected to it."""
        url = make_url(database_url)
        if not self._postgres or url.get_backend_name() == "sqlite":
            return
        with self._server() as connection:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)'))

    @contextmanager
    def away(self, database_url: str) -> Iterator[None]:
        """Break every connection to a database that is used while the block runs."""
        away = make_url(database_url).database

        def broken(connection: sa.Connection, *_: object) -> None:
            if connection.engine.url.database == away:
                raise ConnectionResetError("the database is away")

        sa.event.listen(sa.Engine, "before_cursor_execute", broken)
        try:
            yield
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", broken)

    @contextmanager
    def _server(self) -> Iterator[sa.Connection]:
        """Give a connection to the server outside of a transaction; databases are made there."""
        url = make_url(self._postgres).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()
