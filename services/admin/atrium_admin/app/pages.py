"""Pages of lists (AIP-158)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from atrium_admin.app.ports import Slice
from atrium_shared.paging import decode_page_cursor, encode_page_token, page_size

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list a caller wants.

    Attributes:
        size: Most items; 0 takes the default.
        token: Token of the page before; "" for the first page.
    """

    size: int = 0
    token: str = ""

    @property
    def limit(self) -> int:
        """Most items to return."""
        return page_size(self.size)

    def cursor(self, fingerprint: str) -> str:
        """Return after which item to go on, or "".

        Raises:
            PageTokenInvalid: The token belongs to another request.
        """
        return self.cursor_as(fingerprint, str) or ""

    def cursor_as(self, fingerprint: str, read: Callable[[str], T]) -> T | None:
        """Return after which item to go on as ``read`` reads it, or ``None``.

        Raises:
            PageTokenInvalid: The token belongs to another request, or ``read`` refuses its cursor.
        """
        return decode_page_cursor(self.token, fingerprint, read)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page.

    Attributes:
        items: What is on it.
        next_page_token: Token of the next page; "" on the last.
    """

    items: list[T]
    next_page_token: str


def page_of(part: Slice[T], fingerprint: str, cursor_of: Callable[[T], str]) -> Page[T]:
    """Make a page of a part of a list.

    Args:
        part: The part.
        fingerprint: Tenant, method and filters of the request.
        cursor_of: Gives the sort key of an item.
    """
    token = encode_page_token(cursor_of(part.items[-1]), fingerprint) if part.more else ""
    return Page(part.items, token)
