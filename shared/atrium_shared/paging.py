"""Page tokens (AIP-158): opaque, and only good for the request that they were made for."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from atrium_shared.errors import Invalid

T = TypeVar("T")

_CHECK_BYTES = 8


class PageTokenInvalid(Invalid):
    """The page token was altered, or made by a request with other parameters."""

    reason = "PAGE_TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__(
            "The page token does not belong to this request. Send `next_page_token` of the page "
            "before, unchanged and with the same parameters, or leave it empty to start anew.",
            field="page_token",
        )


class PageSizeInvalid(Invalid):
    """Fewer than no items were asked for."""

    reason = "PAGE_SIZE_INVALID"

    def __init__(self, requested: int) -> None:
        super().__init__(
            f"The page size is {requested}; expected 0 for the default, or the most items to list.",
            field="page_size",
            page_size=requested,
        )


def encode_page_token(cursor: str, fingerprint: str) -> str:
    """Make a token that points after ``cursor``.

    Args:
        cursor: Sort key of the last item of the page.
        fingerprint: Tenant, method and filters of the request, so that a token serves no other.
    """
    payload = cursor.encode()
    return base64.urlsafe_b64encode(_check(payload, fingerprint) + payload).decode().rstrip("=")


def decode_page_token(token: str, fingerprint: str) -> str:
    """Return the cursor of a token, or "" for the empty token.

    Raises:
        PageTokenInvalid: The token is malformed or was made for another request.
    """
    if not token:
        return ""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        check, payload = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check != _check(payload, fingerprint):
            raise PageTokenInvalid
        cursor = payload.decode()
    except ValueError as error:  # of base64, of UTF-8, or letters that are not ASCII
        raise PageTokenInvalid from error
    if "\0" in cursor:  # no database finds it, and PostgreSQL refuses to look
        raise PageTokenInvalid
    return cursor


def decode_page_cursor(token: str, fingerprint: str, read: Callable[[str], T]) -> T | None:
    """Return what the cursor of a token stands for, or ``None`` for the empty token.

    Args:
        token: The token.
        fingerprint: As it was made with.
        read: Reads a cursor, such as :func:`cursor_number`. Anybody can make a token that has the
            right check: a cursor that ``read`` refuses with ``ValueError`` or ``OverflowError`` is
            one of those.

    Raises:
        PageTokenInvalid: The token is malformed, or was made for another request or by hand.
    """
    cursor = decode_page_token(token, fingerprint)
    if not cursor:
        return None
    try:
        return read(cursor)
    except (ValueError, OverflowError) as error:
        raise PageTokenInvalid from error


def cursor_number(text: str) -> int:
    """Read a number that a database keeps in 32 bits, from 0 on, as ``str`` writes it.

    Raises:
        ValueError: It is none, or larger.
    """
    return _number(text, bits=31)


def cursor_sequence(text: str) -> int:
    """Read a number that a database keeps in 64 bits, from 0 on, as ``str`` writes it.

    Raises:
        ValueError: It is none, or larger.
    """
    return _number(text, bits=63)


def cursor_time(text: str) -> datetime:
    """Read a time with its zone, as ``isoformat`` writes it; return it in UTC.

    Raises:
        ValueError: It is none, or has no zone.
        OverflowError: It is outside the years 1 to 9999 in UTC.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("The time of a cursor has a zone.")
    return time.astimezone(UTC)


def page_size(requested: int, default: int = 100, maximum: int = 1000) -> int:
    """Return the number of items of a page: 0 takes the default, more than the maximum is cut.

    Raises:
        PageSizeInvalid: It is negative.
    """
    if requested < 0:
        raise PageSizeInvalid(requested)
    return min(requested or default, maximum)


def _number(text: str, bits: int) -> int:
    number = int(text)
    if str(number) != text or not 0 <= number < 2**bits:
        raise ValueError("It is no number of a cursor.")
    return number


def _check(payload: bytes, fingerprint: str) -> bytes:
    # No secret: a forged cursor shows nothing that the caller could not list from the start.
    return hashlib.sha256(fingerprint.encode() + b"\0" + payload).digest()[:_CHECK_BYTES]
