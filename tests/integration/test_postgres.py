"""The shared storage on a real PostgreSQL server."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import sqlalchemy as sa

from atrium_shared.database import Database

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


# A process of a service with two replicas. The first hangs in its step until it is killed.
REPLICA = """
import asyncio, pathlib, sys
from atrium_shared import jobs as module
from atrium_shared.jobs import Jobs

url, executor, state = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
module._HEARTBEAT_SECONDS, module._DEAD_AFTER_SECONDS = 0.2, 2.0

async def main():
    done = asyncio.Event()

    async def handler(context, payload):
        async def work():
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
        await jobs.submit("work", "job-1", {})
    await asyncio.wait_for(done.wait(), 60)
    (state / "finished").touch()
    await jobs.close()

asyncio.run(main())
"""


def test_a_dead_replicas_job_is_taken_over_by_its_peer(tmp_path: Path, postgres_url):
    script = tmp_path / "replica.py"
    script.write_text(textwrap.dedent(REPLICA))
    url = f"postgresql+psycopg://{postgres_url}"

    def replica(name: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, str(script), url, name, str(tmp_path)])

    first = replica("replica-0")
    try:
        _until(lambda: (tmp_path / "began-replica-0").exists())
    finally:
        first.kill()
        first.wait()
    second = replica("replica-1")
    try:
        _until((tmp_path / "finished").exists)
    finally:
        second.kill()
        second.wait()


def _until(true, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
