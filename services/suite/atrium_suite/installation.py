"""The state folder: one suite at a time, its secret, its files."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr, TypeAdapter, ValidationError

from atrium_shared.settings import InstallationSecret, secret_bytes
from atrium_suite.errors import SecretBroken, StateDirInUse, StateDirUnusable

_SECRET = TypeAdapter(InstallationSecret)


class StateDir:
    """A folder that belongs to one running suite.

    The lock goes with the process, however that ends.

    Args:
        folder: Made when it is missing, readable for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self._lock: int | None = None

    def __enter__(self) -> StateDir:
        self.lock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def lock(self) -> None:
        """Take the folder.

        Raises:
            StateDirInUse: Another suite has it.
            StateDirUnusable: It cannot be made or written to.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / "suite.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateDirUnusable(self.folder, error.strerror or str(error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StateDirInUse(self.folder, holder) from error
        try:
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(lock)
            raise StateDirUnusable(self.folder, error.strerror or str(error)) from error
        self._lock = lock

    def release(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def database_url(self, name: str) -> str:
        """Return the URL of a SQLite file in the folder, for async drivers."""
        return f"sqlite+aiosqlite:///{self.folder / name}.db"

    def jobs_url(self) -> str:
        """Return the URL of the SQLite file of the jobs, for sync drivers."""
        return f"sqlite:///{self.folder / 'jobs.db'}"

    def admin_variables(self, secret: SecretStr) -> dict[str, str]:
        """Return the variables that set up the admin service on this folder."""
        return {
            "ATRIUM_SECRET": secret.get_secret_value(),
            "ADMIN_DATABASE_URL": self.database_url("admin"),
        }

    def secret(self) -> SecretStr:
        """Return the secret of this folder, making it the first time.

        Raises:
            SecretBroken: The file holds something else.
            StateDirUnusable: The file cannot be read or made.
        """
        file = self.folder / "secret"
        if not file.exists():
            self._make_secret(file)
        return read_secret(self.folder)

    def _make_secret(self, file: Path) -> None:
        made = file.with_suffix(".new")
        try:
            made.unlink(missing_ok=True)
            handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as out:
                out.write(secrets.token_hex(32) + "\n")
                out.flush()
                os.fsync(out.fileno())
            made.rename(file)
        except OSError as error:
            raise StateDirUnusable(self.folder, error.strerror or str(error)) from error


def read_secret(folder: Path) -> SecretStr:
    """Return the secret that a suite keeps in its state folder.

    Raises:
        SecretBroken: The file holds something else.
        StateDirUnusable: There is no such file, or it cannot be read.
    """
    file = folder.expanduser() / "secret"
    try:
        secret = _SECRET.validate_python(SecretStr(file.read_text(encoding="ascii").strip()))
        secret_bytes(secret)
    except (ValidationError, UnicodeDecodeError) as error:
        raise SecretBroken(file) from error
    except FileNotFoundError as error:
        why = "it has no secret yet, which `atrium up` makes at its first start"
        raise StateDirUnusable(folder, why) from error
    except OSError as error:
        raise StateDirUnusable(folder, error.strerror or str(error)) from error
    return secret
