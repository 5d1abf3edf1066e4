"""A PostgreSQL server for tests, on a free port of this machine, thrown away at the end.

As a program it runs pytest on it: ``python -m tests.postgres services/admin``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import free_port

_SECONDS_TO_START = 30.0


class NoPostgres(Exception):
    """The server's programs are not on this machine."""

    def __init__(self) -> None:
        super().__init__("no PostgreSQL: on Debian: apt-get install postgresql")


def _programs() -> Path:
    """Return the folder of PostgreSQL's server programs; Debian keeps them off the PATH."""
    if shutil.which("pg_config") is not None:
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
        folder = Path(answer.stdout.strip())
        if answer.returncode == 0 and (folder / "initdb").exists():
            return folder
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = [Path(each) for each in [shutil.which("initdb")] if each] or sorted(debian)
    if not found:
        raise NoPostgres
    return found[-1].resolve().parent


class PostgresServer:
    """A server that can be stopped, and started again with what it stored.

    Attributes:
        address: ``user@host:port/database``.

    Raises:
        NoPostgres: The server's programs are not there.
    """

    def __init__(self, folder: Path) -> None:
        self._programs = _programs()
        self._folder, self._data = folder, folder / "data"
        self._port = free_port()
        # PostgreSQL refuses to run as root.
        self._as_user: dict[str, str] = {"user": "nobody"} if os.geteuid() == 0 else {}
        self._server: subprocess.Popen[bytes] | None = None
        self.address = f"atrium@127.0.0.1:{self._port}/postgres"
        if self._as_user:
            shutil.chown(folder, "nobody")
        subprocess.run(
            [self._programs / "initdb", "-D", self._data, "-U", "atrium", "-A", "trust",
             "-E", "UTF8"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **self._as_user,
        )  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it answers."""
        # Nothing here outlives a power cut, so nothing waits for the disk.
        options = ("-c", "fsync=off", "-c", "full_page_writes=off")
        self._server = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data, "-p", str(self._port),
             "-h", "127.0.0.1", "-k", self._folder, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            **self._as_user,
        )  # fmt: skip
        _wait(self._server, self._port)

    def stop(self, *, graceful: bool = True) -> None:
        """End it without waiting for whoever is connected; else as a crash does."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT if graceful else signal.SIGQUIT)
            self._server.wait(30)
            self._server = None


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Give an empty server, started; thrown away at the end of the block.

    Raises:
        NoPostgres: The server's programs are not there.
    """
    folder = Path(tempfile.mkdtemp(prefix="atrium-pg-"))
    try:
        server = PostgresServer(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Give ``user@host:port/database`` of an empty server while the block runs.

    Raises:
        NoPostgres: The server's programs are not there.
    """
    with postgres_server() as server:
        yield server.address


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError(
                    f"PostgreSQL did not start within {_SECONDS_TO_START:g} s"
                ) from None
            time.sleep(0.1)


def main(arguments: list[str]) -> int:
    """Run pytest with these arguments on a server of its own; return its exit status."""
    try:
        with running_postgres() as address:
            url = f"postgresql+asyncpg://{address}"
            environment = {
                **os.environ,
                "POSTGRES_URL": f"postgresql://{address}",
                "ADMIN_TEST_DATABASE_URL": url,
                "GATEWAY_TEST_DATABASE_URL": url,
                "KNOWLEDGE_TEST_DATABASE_URL": url,
                "MEETING_TEST_DATABASE_URL": url,
            }
            return subprocess.call([sys.executable, "-m", "pytest", *arguments], env=environment)
    except NoPostgres as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
