"""Page tokens (AIP-158): opaque, and only good for the request that they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib

from atrium_shared.errors import Invalid

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
        return payload.decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise PageTokenInvalid from error


def page_size(requested: int, default: int = 100, maximum: int = 1000) -> int:
    """Return the number of items of a page: 0 takes the default, more than the maximum is cut.

    Raises:
        PageSizeInvalid: It is negative.
    """
    if requested < 0:
        raise PageSizeInvalid(requested)
    return min(requested or default, maximum)


def _check(payload: bytes, fingerprint: str) -> bytes:
    # No secret: a forged cursor shows nothing that the caller could not list from the start.
    return hashlib.sha256(fingerprint.encode() + b"\0" + payload).digest()[:_CHECK_BYTES]
