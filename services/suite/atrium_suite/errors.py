"""What can go wrong before the first call."""

from __future__ import annotations

from pathlib import Path

from atrium_shared.errors import Conflict, Invalid, Unavailable


class StateDirInUse(Conflict):
    """Another suite runs on this folder."""

    reason = "STATE_DIR_IN_USE"

    def __init__(self, folder: Path, process: str) -> None:
        super().__init__(
            f"The state folder {folder} is in use by another suite (process {process}). Stop that "
            "one, or choose another folder with --state or SUITE_STATE_DIR.",
            folder=folder,
            process=process,
        )


class StateDirUnusable(Unavailable):
    """The folder cannot be made or written to."""

    reason = "STATE_DIR_UNUSABLE"

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(
            f"The state folder {folder} cannot be used: {why}. Mend that, or choose another with "
            "--state or SUITE_STATE_DIR.",
            folder=folder,
        )


class SecretBroken(Invalid):
    """The file with the installation's secret does not hold one."""

    reason = "SECRET_BROKEN"

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file} does not hold the installation's secret: at least 32 bytes in hexadecimal "
            "digits were expected. Restore the file from a backup, or set ATRIUM_SECRET to the "
            "secret that this installation was made with.",
            file=file,
        )


class AddressInUse(Conflict):
    """Another program listens there."""

    reason = "ADDRESS_IN_USE"

    def __init__(self, address: str, option: str, variable: str) -> None:
        super().__init__(
            f"Another program listens on {address} already. Stop it, or choose another address "
            f"with {option} HOST:PORT or {variable} (port 0 takes any free one).",
            address=address,
        )


class AddressUnusable(Invalid):
    """This machine has no such address, or the port needs more rights."""

    reason = "ADDRESS_UNUSABLE"

    def __init__(self, address: str, why: str, option: str, variable: str) -> None:
        super().__init__(
            f"The suite cannot listen on {address}: {why}. Choose another address with {option} "
            f"HOST:PORT or {variable}.",
            address=address,
        )
