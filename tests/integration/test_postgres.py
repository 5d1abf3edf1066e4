"""The shared storage on a real PostgreSQL server."""

import asyncio
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from atrium_shared.database import Database, DatabaseUnavailable
from tests.postgres import PostgresServer

REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "0001", None, None, None
def upgrade():
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("text", sa.String))
"""
NOTES = sa.table("notes", sa.column("id"), sa.column("text"))


async def test_two_services_share_a_database_in_schemas_of_their_own(tmp_path, postgres_url):
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "0001_notes.py").write_text(REVISION)
    url = f"postgresql+asyncpg://{postgres_url}"
    first = Database(url, migrations=tmp_path, name="first")
    second = Database(url, migrations=tmp_path, name="second")
    await first.start()
    await second.start()
    async with first.write() as session:
        await session.execute(sa.insert(NOTES).values(id=1, text="mine"))
    async with second.read() as session:
        assert (await session.execute(sa.select(NOTES))).all() == []
    await first.close()
    again = Database(url, migrations=tmp_path, name="first")
    await again.start()
    async with again.read() as session:
        assert (await session.execute(sa.select(NOTES.c.text))).scalars().all() == ["mine"]
    await again.close()
    await second.close()


async def test_of_two_that_wait_for_each_other_one_is_told_to_come_again(tmp_path, postgres_url):
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "0001_notes.py").write_text(REVISION)
    database = Database(f"postgresql+asyncpg://{postgres_url}", migrations=tmp_path, name="knot")
    await database.start()
    async with database.write() as session:
        await session.execute(sa.insert(NOTES), [{"id": 1, "text": ""}, {"id": 2, "text": ""}])
    holding = asyncio.Barrier(2)

    async def change(first: int, second: int) -> str:
        async with database.write() as session:
            await session.execute(sa.update(NOTES).where(NOTES.c.id == first).values(text="x"))
            await holding.wait()
            await session.execute(sa.update(NOTES).where(NOTES.c.id == second).values(text="y"))
        return "done"

    outcomes = await asyncio.gather(change(1, 2), change(2, 1), return_exceptions=True)
    assert sorted(map(type, outcomes), key=str) == [DatabaseUnavailable, str]
    await database.close()


# A process of a service with two replicas. The first hangs in its step until it is killed; where it
# is told to, the second fails when it takes over for the first time.
REPLICA = """
import asyncio, pathlib, sys
from atrium_shared import jobs as module
from atrium_shared.jobs import Jobs

url, executor, job, faults = *sys.argv[1:4], int(sys.argv[4])
state = pathlib.Path(sys.argv[5])
resume = module.DBOS.resume_workflow

def faulty(workflow_id):
    global faults
    if faults:
        faults -= 1
        (state / "failed").touch()
        raise RuntimeError("a bug")
    return resume(workflow_id)

module.DBOS.resume_workflow = faulty
module._HEARTBEAT_SECONDS, module._DEAD_AFTER_SECONDS, module._GAP_SECONDS = 0.2, 4.0, 2.0

async def main():
    done = asyncio.Event()

    async def handler(context, payload):
        async def work():
            if context.job_id != job:
                return  # one that another test left
            (state / f"began-{executor}").touch()
            if executor == "replica-0":
                await asyncio.sleep(600)
            done.set()

        await context.step("work", work)
        return {}

    jobs = Jobs(url, executor_id=executor, name="replicas")
    jobs.register("work", handler)
    await jobs.start()
    if executor == "replica-0":
        await jobs.submit("work", job, {})
    await asyncio.wait_for(done.wait(), 60)
    (state / "finished").touch()
    await jobs.close()

asyncio.run(main())
"""


class Replicas:
    """Processes of a service on one server; they end with the test."""

    def __init__(self, folder: Path, postgres_url: str, job: str) -> None:
        self._folder, self._job = folder, job
        self._url = f"postgresql+psycopg://{postgres_url}"
        self._script = folder / "replica.py"
        self._script.write_text(textwrap.dedent(REPLICA))
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, faults: int = 0) -> "subprocess.Popen[bytes]":
        arguments = (self._url, name, self._job, str(faults), str(self._folder))
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen([sys.executable, str(self._script), *arguments], stderr=log)
        self._running.append(process)
        return process

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@pytest.mark.parametrize("faults", [0, 1])
def test_a_dead_replicas_job_is_taken_over_by_its_peer(tmp_path: Path, postgres_url, faults):
    replicas = Replicas(tmp_path, postgres_url, f"job-{faults}")
    try:
        first = replicas.start("replica-0")
        _until((tmp_path / "began-replica-0").exists)
        first.kill()
        first.wait()
        replicas.start("replica-1", faults)
        _until((tmp_path / "finished").exists)
        assert (tmp_path / "failed").exists() == bool(faults)
    finally:
        replicas.end()


def test_an_outage_makes_no_replica_take_over_from_one_that_lives(
    tmp_path: Path, own_postgres: PostgresServer
):
    server = own_postgres
    replicas = Replicas(tmp_path, server.address, "job")
    try:
        replicas.start("replica-0")
        _until((tmp_path / "began-replica-0").exists)
        replicas.start("replica-1")
        _until(lambda: len(_beats(server.address)) == 2)
        server.stop()
        time.sleep(5)  # longer than a heart may be silent
        server.start()
        back = datetime.now(UTC)
        _until(lambda: sum(beat > back for beat in _beats(server.address)) == 2)
        time.sleep(5)
        assert len(_beats(server.address)) == 2
        assert "took over" not in (tmp_path / "log").read_text()
    finally:
        replicas.end()


def _beats(address: str) -> list[datetime]:
    engine = sa.create_engine(f"postgresql+psycopg://{address}")
    try:
        with engine.connect() as connection:
            found = sa.inspect(connection).has_table("atrium_executors")
            query = sa.text("SELECT beat_time FROM atrium_executors")
            return list(connection.execute(query).scalars()) if found else []
    except sa.exc.OperationalError:  # it still starts
        return []
    finally:
        engine.dispose()


def _until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
