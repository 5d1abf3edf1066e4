"""What every command does around its calls: options, connection, errors."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer

from atrium_client import DEFAULT_TARGET, AtriumCallError, AtriumClient, readable_errors
from atrium_shared.errors import AtriumError, Invalid, Unauthenticated
from atrium_shared.settings import SettingsInvalid
from atrium_suite.terminal.output import make_console, printable

Target = Annotated[
    str, typer.Option(envvar="ATRIUM_TARGET", help="Where Atrium listens, HOST:PORT.")
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="ATRIUM_API_KEY",
        help="API key or token.",
        show_default=False,
        metavar="KEY",
    ),
]
AsUser = Annotated[
    str | None,
    typer.Option(
        "--as",
        help="End user to act for (needs a key that may).",
        show_default=False,
        metavar="USER",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

Item = TypeVar("Item")

__all__ = [
    "DEFAULT_TARGET",
    "AsJson",
    "AsUser",
    "Key",
    "KeyMissing",
    "OptionInvalid",
    "StopSignal",
    "Target",
    "all_pages",
    "collection_name",
    "connect",
    "report",
    "run",
    "until_stopped",
]


class OptionInvalid(Invalid):
    """An option does not have the form that it needs."""

    reason = "OPTION_INVALID"


def parse_time(text: str, option: str) -> datetime:
    """Return the time that an option gives, in UTC unless it says so.

    Raises:
        OptionInvalid: It is no time.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise OptionInvalid(
            f"{option} is a time such as 2030-01-31 or 2030-01-31T09:00; not {text!r}."
        ) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


class KeyMissing(Unauthenticated):
    """The command was given no key."""

    reason = "CREDENTIAL_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "No API key. Give --key, or set ATRIUM_API_KEY. `atrium admin bootstrap` makes the "
            "first key, `atrium admin key create` more."
        )


def connect(target: str, key: str, as_user: str | None = None) -> AtriumClient:
    """Return a client for an installation.

    Raises:
        KeyMissing: No key was given.
        AtriumCallError: The key or the user's name is none.
    """
    if not key:
        raise KeyMissing
    return AtriumClient(key, target=target, on_behalf_of=as_user)


def collection_name(collection: str) -> str:
    """Accept "handbook" for "collections/handbook"."""
    return f"collections/{collection.removeprefix('collections/')}"


async def all_pages(method: Callable[[Any], Awaitable[Any]], request: Any, field: str) -> list[Any]:
    """Return the items of every page of a list method.

    Args:
        method: Such as ``client.admin.ListUsers``.
        request: Its request; its page token is set here.
        field: Where a page holds its items: ``users``.
    """
    found: list[Any] = []
    while True:
        page = await method(request)
        found += getattr(page, field)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


_HINTS = {
    "CREDENTIAL_MALFORMED": "The key of this command is what --key or ATRIUM_API_KEY says, the end "
    "user what --as says.",
    "API_KEY_UNKNOWN": "The key of this command is what --key or ATRIUM_API_KEY says.",
    "COLLECTION_NOT_FOUND": "Those that you may read: atrium knowledge list",
    "DOCUMENT_NOT_FOUND": "Those that you may read: atrium knowledge list COLLECTION",
    "SYNC_LIST_EMPTY": "On the command line that is --allow-empty.",
    "MEETING_NOT_FOUND": "Those that you may read: atrium meeting list",
    "UNIMPLEMENTED": "The address of this command is what --target or ATRIUM_TARGET says.",
    "UNAVAILABLE": "The address of this command is what --target or ATRIUM_TARGET says.",
}
"""What this command has to say of a reason, besides what the server said."""


def report(error: Exception) -> None:
    """Print what went wrong and what to do about it."""
    lines = [printable(_in_words(error))]
    if isinstance(error, AtriumCallError):
        lines += [
            f"  {printable(field)}: {printable(problem)}"
            for field, problem in error.fields.items()
            if problem not in error.message
        ]
        if error.trace_id and error.reason == "INTERNAL":
            lines.append(f"  The server's log tells more under trace {error.trace_id}.")
    if isinstance(error, AtriumCallError | AtriumError) and error.reason in _HINTS:
        lines.append(f"  {_HINTS[error.reason]}")
    console = make_console(stderr=True)
    console.print("error:", style="bold red", end=" ")
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end; a foreseen error becomes words and exit code 1."""
    try:
        with readable_errors():
            asyncio.run(work)
    except BrokenPipeError as error:
        # Whoever read the output has enough, as `head` has: nothing went wrong. What is still to be
        # written goes nowhere, or the interpreter would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(128 + signal.SIGPIPE) from error
    except (AtriumCallError, AtriumError, SettingsInvalid, OSError) as error:
        report(error)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error


class StopSignal:
    """SIGTERM or SIGINT; the second one has its usual effect."""

    _NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self._came = asyncio.Event()
        for number in self._NUMBERS:
            asyncio.get_running_loop().add_signal_handler(number, self._came.set)

    async def wait(self) -> None:
        """Return when a signal came."""
        await self._came.wait()
        self.release()

    def release(self) -> None:
        """Give the signals their usual effect again."""
        for number in self._NUMBERS:
            asyncio.get_running_loop().remove_signal_handler(number)


async def until_stopped(items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """Yield items until they or the user (Ctrl-C, SIGTERM) ends it; a second Ctrl-C breaks off."""
    stopping = StopSignal()
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(items))
            await asyncio.wait((coming, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                return
            try:
                item = coming.result()
            except StopAsyncIteration:
                return
            yield item
            if stopped.done():
                return
    finally:
        stopped.cancel()
        stopping.release()


def _in_words(error: Exception) -> str:
    if isinstance(error, AtriumError):
        return f"{error.message} ({error.reason})"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f"{error.filename}: the" if error.filename is not None else "The"
        return f"{where} disk is full. Free some space, then repeat the command."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return str(error)
