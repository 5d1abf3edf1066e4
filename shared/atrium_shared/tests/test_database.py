import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from atrium_shared.database import Database, DatabaseUnavailable, UtcDateTime
from atrium_shared.testing import eventually
from atrium_shared.testing_databases import ServiceDatabases

REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "{rev}", {down!r}, None, None
def upgrade():
    {body}
"""
CREATE = (
    'op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True),'
    ' sa.Column("text", sa.String))'
)
NOTES = sa.table("notes", sa.column("id"), sa.column("text"))


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_notes.py").write_text(REVISION.format(rev="0001", down=None, body=CREATE))
    return versions.parent


def database(tmp_path: Path, migrations: Path) -> Database:
    return Database(
        f"sqlite+aiosqlite:///{tmp_path}/state/notes.db", migrations=migrations, name="notes"
    )


async def test_what_was_written_is_there_after_a_restart(tmp_path, migrations):
    first = database(tmp_path, migrations)
    await first.start()
    async with first.write() as session:
        await session.execute(sa.insert(NOTES).values(id=1, text="kept"))
    await first.close()
    second = database(tmp_path, migrations)
    await second.start()
    async with second.read() as session:
        assert (await session.execute(sa.select(NOTES.c.text))).scalars().all() == ["kept"]
    await second.close()


async def test_a_database_of_an_older_version_opens_in_the_next(tmp_path, migrations):
    old = database(tmp_path, migrations)
    await old.start()
    async with old.write() as session:
        await session.execute(sa.insert(NOTES).values(id=1, text="old"))
    await old.close()
    body = 'op.add_column("notes", sa.Column("stars", sa.Integer, server_default="3"))'
    (migrations / "versions" / "0002_stars.py").write_text(
        REVISION.format(rev="0002", down="0001", body=body)
    )
    new = database(tmp_path, migrations)
    await new.start()
    async with new.read() as session:
        rows = (await session.execute(sa.text("SELECT text, stars FROM notes"))).all()
    assert rows == [("old", 3)]
    await new.close()


async def test_an_error_undoes_the_whole_transaction(tmp_path, migrations):
    notes = database(tmp_path, migrations)
    await notes.start()

    async def fail_halfway() -> None:
        async with notes.write() as session:
            await session.execute(sa.insert(NOTES).values(id=1, text="gone"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_halfway()
    async with notes.read() as session:
        assert (await session.execute(sa.select(NOTES))).all() == []
    await notes.close()


async def test_fifty_concurrent_writers_lose_no_update(tmp_path, migrations):
    notes = database(tmp_path, migrations)
    await notes.start()
    async with notes.write() as session:
        await session.execute(sa.insert(NOTES).values(id=1, text="0"))

    async def increment() -> None:
        async with notes.write() as session:
            value = int((await session.execute(sa.select(NOTES.c.text))).scalar_one())
            await asyncio.sleep(0)
            await session.execute(sa.update(NOTES).values(text=str(value + 1)))

    await asyncio.gather(*(increment() for _ in range(50)))
    async with notes.read() as session:
        assert (await session.execute(sa.select(NOTES.c.text))).scalar_one() == "50"
    await notes.close()


async def test_a_database_that_cannot_be_opened_is_named(tmp_path, migrations):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "notes.db").mkdir()
    notes = database(tmp_path, migrations)
    with pytest.raises(DatabaseUnavailable) as caught:
        await notes.start()
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    assert caught.value.metadata == {"database": "notes"}


def test_moments_are_kept_in_utc_and_naive_ones_refused():
    column = UtcDateTime()
    engine = sa.create_engine("sqlite://")
    shanghai = datetime(2026, 3, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    bound = column.process_bind_param(shanghai, engine.dialect)
    assert bound == datetime(2026, 3, 1, 0, tzinfo=UTC)
    assert column.process_result_value(datetime(2026, 3, 1), engine.dialect) == bound
    with pytest.raises(ValueError, match="no time zone"):
        column.process_bind_param(datetime(2026, 3, 1), engine.dialect)


class Slow:
    """Holds a method of every session until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        original = getattr(AsyncSession, method)

        async def held(session: AsyncSession) -> None:
            self.reached.set()
            await self.go.wait()
            await original(session)

        monkeypatch.setattr(AsyncSession, method, held)


async def test_a_cancelled_commit_is_over_when_the_cancelled_task_is(
    tmp_path, migrations, monkeypatch
):
    notes = database(tmp_path, migrations)
    await notes.start()
    slow = Slow(monkeypatch, "commit")

    async def put() -> None:
        async with notes.write() as session:
            await session.execute(sa.insert(NOTES).values(id=1, text="kept"))

    putting = asyncio.create_task(put())
    await slow.reached.wait()
    putting.cancel()
    await asyncio.sleep(0.05)
    assert not putting.done()
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await putting
    async with notes.read() as session:
        assert (await session.execute(sa.select(NOTES.c.text))).scalars().all() == ["kept"]
    await notes.close()


async def test_a_cancelled_change_is_undone_and_the_next_writer_need_not_wait(
    tmp_path, migrations, monkeypatch
):
    notes = database(tmp_path, migrations)
    await notes.start()
    changed = asyncio.Event()

    async def put() -> None:
        async with notes.write() as session:
            await session.execute(sa.insert(NOTES).values(id=1, text="half"))
            changed.set()
            await asyncio.Event().wait()

    putting = asyncio.create_task(put())
    await changed.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    async with asyncio.timeout(5), notes.write() as session:
        assert (await session.execute(sa.select(NOTES.c.text))).scalars().all() == []
        await session.execute(sa.insert(NOTES).values(id=1, text="whole"))
    await notes.close()


def connection_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "connection" in thread.name}


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_statement_ends_however_often_its_task_is_cancelled_meanwhile(
    tmp_path, migrations, kind
):
    before = connection_threads()
    notes = database(tmp_path, migrations)
    await notes.start()
    pool = notes.engine.sync_engine.pool
    assert isinstance(pool, sa.QueuePool)

    async def put() -> None:
        async with getattr(notes, kind)() as session:
            await session.execute(sa.insert(NOTES).values(id=1, text="half"))

    for _ in range(3):
        with closing(sqlite3.connect(tmp_path / "state" / "notes.db")) as other:
            other.execute("BEGIN IMMEDIATE")  # whoever else changes something waits for this
            putting = asyncio.create_task(put())
            while not pool.checkedout():  # noqa: ASYNC110 - no event
                await asyncio.sleep(0)
            for _ in range(3):  # however often
                putting.cancel()
                await asyncio.sleep(0.01)
            assert not putting.done()
        with pytest.raises(asyncio.CancelledError):
            await putting
    async with asyncio.timeout(20), notes.write() as session:
        assert (await session.execute(sa.select(NOTES.c.text))).scalars().all() == []
        await session.execute(sa.insert(NOTES).values(id=1, text="whole"))
    await notes.close()
    await eventually(lambda: not connection_threads() - before)


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_database_that_goes_away_is_named_and_works_again_later(tmp_path, migrations, kind):
    notes = database(tmp_path, migrations)
    await notes.start()

    async def look() -> None:
        async with getattr(notes, kind)() as session:
            await session.execute(sa.select(NOTES))

    with ServiceDatabases("notes", "").away(f"sqlite:///{tmp_path}/state/notes.db"):
        with pytest.raises(DatabaseUnavailable) as caught:
            await look()
        assert caught.value.metadata == {"database": "notes"}
    await look()
    await notes.close()


async def test_a_full_disk_is_no_fault_of_the_statement(tmp_path, migrations):
    notes = database(tmp_path, migrations)
    await notes.start()

    async def fill() -> None:
        async with notes.write() as session:
            pages = (await session.execute(sa.text("PRAGMA page_count"))).scalar_one()
            await session.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
            await session.execute(sa.insert(NOTES).values(id=1, text="x" * 100_000))

    with pytest.raises(DatabaseUnavailable):
        await fill()
    await notes.close()


async def test_a_wrong_statement_is_no_outage(tmp_path, migrations):
    notes = database(tmp_path, migrations)
    await notes.start()

    async def run(statement: sa.Executable) -> None:
        async with notes.write() as session:
            await session.execute(statement)

    with pytest.raises(sa.exc.OperationalError):
        await run(sa.text("SELECT stars FROM notes"))
    with pytest.raises(sa.exc.IntegrityError):
        await run(sa.insert(NOTES).values([{"id": 1}, {"id": 1}]))
    await notes.close()
