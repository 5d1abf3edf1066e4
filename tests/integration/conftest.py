"""Real servers for the tests that cross services."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def _programs() -> Path | None:
    """Folder of PostgreSQL's server programs; Debian keeps them off the PATH."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    if shutil.which("pg_config") is None:
        return None
    answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
    folder = Path(answer.stdout.strip())
    return folder if (folder / "initdb").exists() else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """``user@host:port/database`` of a PostgreSQL server: POSTGRES_URL's, else one started here."""
    if "POSTGRES_URL" in os.environ:
        yield os.environ["POSTGRES_URL"].split("://", 1)[-1]
        return
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL: set POSTGRES_URL, or on Debian: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="atrium-pg-"))
    # PostgreSQL refuses to run as root.
    as_user: dict[str, str] = {"user": "nobody"} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(folder, "nobody")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "atrium", "-A", "trust", "-E", "UTF8"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **as_user,
    )
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        **as_user,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    pytest.fail("PostgreSQL did not start within 30 s")
                time.sleep(0.1)
        yield f"atrium@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
