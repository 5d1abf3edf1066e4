"""One service's relational database: SQLite (WAL) by default, PostgreSQL where users outgrow it.

SQLite lets one writer in at a time. Writers of this process therefore queue on an asyncio lock and
begin with ``BEGIN IMMEDIATE``, so that none fails halfway with "database is locked".
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, DateTime, event, text
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.types import TypeDecorator

from atrium_shared.errors import Unavailable
from atrium_shared.unbroken import unbroken

_BUSY_TIMEOUT_MS = 10_000
_WRITE_OPTION = "atrium_write"

# Classes of SQLSTATE in which the server, not the statement, is at fault: connection, resources,
# an operator or a shutdown, the system. 25006: a failover left us at the server that only reads.
# 40: of two transactions that waited for each other one was undone, and works when it comes again.
_AWAY_CLASSES = ("08", "40", "53", "57", "58", "25006")


class DatabaseUnavailable(Unavailable):
    """The database cannot be opened or does not answer."""

    reason = "DATABASE_UNAVAILABLE"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The database of {name!r} does not answer. Check its URL, its disk and its server.",
            database=name,
        )


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, kept in UTC. Values without a time zone are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC on the way in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; expected an aware datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark as UTC on the way out; SQLite forgets the zone."""
        return None if value is None else value.replace(tzinfo=UTC)


class _UnbrokenStatements(AsyncSession):
    """A session whose statements end although the task that waits for them is cancelled.

    A thread runs a statement of SQLite, and nothing stops it. SQLAlchemy throws the connection of
    a task away that was cancelled meanwhile; one that is cancelled again while that goes on leaves
    a connection which nobody can close, and for whose end its next owner waits for ever.
    """

    async def execute(self, *args: Any, **options: Any) -> Any:
        """Run a statement."""
        return await unbroken(super().execute(*args, **options))

    async def scalar(self, *args: Any, **options: Any) -> Any:
        """Run a statement and return the first column of its first row."""
        return await unbroken(super().scalar(*args, **options))


class Database:
    """A pool of connections with migrations.

    Whatever shows that the database is away is raised as :class:`DatabaseUnavailable`, here and by
    the sessions it gives; a statement that is wrong, or breaks a constraint, raises SQLAlchemy's
    error.

    Args:
        url: ``sqlite+aiosqlite:///path/file.db`` or ``postgresql+asyncpg://user@host/name``.
        migrations: Folder that holds the Alembic revisions (``versions``).
        name: Name of the service. On PostgreSQL it is also the schema, so that services may share
            a database.
        pool_size: Most connections kept open.
    """

    def __init__(self, url: str, *, migrations: Path, name: str, pool_size: int = 8) -> None:
        self._url = make_url(url)
        self._migrations = migrations
        self._name = name
        self._pool_size = pool_size
        self._engine: AsyncEngine | None = None
        self._writer = asyncio.Lock()
        # PostgreSQL can be told to stop a statement, and is; a server that hangs holds nobody up.
        self._session = _UnbrokenStatements if self.is_sqlite else AsyncSession

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, where one process alone may use the file."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def engine(self) -> AsyncEngine:
        """The engine. Only after :meth:`start`."""
        if self._engine is None:
            raise RuntimeError(f"Database {self._name!r} is not started; await start() first")
        return self._engine

    async def start(self) -> None:
        """Open the pool and bring the schema to the newest revision.

        Raises:
            DatabaseUnavailable: The database cannot be opened.
        """
        arguments: dict[str, Any] = {}
        if self.is_sqlite:
            file = self._url.database
            folder = Path(file).parent if file and file != ":memory:" else None
        else:
            folder = None
            arguments["connect_args"] = {"server_settings": {"search_path": self._name}}
            arguments["pool_pre_ping"] = True
        self._engine = create_async_engine(
            self._url,
            pool_size=self._pool_size,
            hide_parameters=True,  # values are content, and errors are logged
            **arguments,
        )
        if self.is_sqlite:
            event.listen(self._engine.sync_engine, "connect", _configure_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        try:
            with self._answering():
                if folder is not None:
                    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
                async with self._engine.begin() as connection:
                    if not self.is_sqlite:
                        schema = text(f'CREATE SCHEMA IF NOT EXISTS "{self._name}"')
                        await connection.execute(schema)
                    await connection.run_sync(self._migrate)
        except DatabaseUnavailable:
            await self.close()
            raise

    async def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await unbroken(engine.dispose())

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Give a session that sees one consistent state and keeps no change.

        Raises:
            DatabaseUnavailable: It does not answer; the same may work later.
        """
        session = self._session(self.engine, expire_on_commit=False)
        with self._answering():
            try:
                yield session
            finally:
                await unbroken(session.close())  # it gives the connection back

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Give a session whose changes are committed at the end, or undone on an error.

        A task that is cancelled in between undoes them; one that is cancelled while they are being
        committed goes on once they are, and raises :class:`asyncio.CancelledError` all the same.

        Raises:
            DatabaseUnavailable: It does not answer; the same may work later. When that happened
                while changes were being committed, they may be there or not.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self._answering())
            engine = self.engine
            if self.is_sqlite:
                await stack.enter_async_context(self._writer)
                engine = engine.execution_options(**{_WRITE_OPTION: True})
            session = self._session(engine, expire_on_commit=False)
            # Not broken off: it gives the connection back, and undoes what was not committed.
            stack.push_async_callback(lambda: unbroken(session.close()))
            await session.begin()
            yield session
            await unbroken(session.commit())

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not _is_away(error):
                raise
            raise DatabaseUnavailable(self._name) from error

    def _migrate(self, connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", str(self._migrations / "versions"))
        config.attributes["connection"] = connection
        config.attributes["version_table"] = f"schema_version_{self._name}"
        command.upgrade(config, "head")


def _is_away(error: Exception) -> bool:
    """Say whether an error is the database's and may pass, rather than the statement's."""
    if isinstance(error, OSError | PoolTimeout):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    # Errors while a connection is being made may come as the driver raises them.
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_AWAY_CLASSES)
    # SQLite: locked, full, unreadable. Its plain "error" is a statement that is wrong.
    code = getattr(cause, "sqlite_errorcode", None)
    return isinstance(error, OperationalError) and code != sqlite3.SQLITE_ERROR


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event starts transactions instead
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # acknowledged means durable, a power cut included
        "foreign_keys = ON",
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE_OPTION)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
