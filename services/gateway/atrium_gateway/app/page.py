"""Pages of lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from atrium_shared.paging import encode_page_token

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the token for the next ones; empty on the last page."""

    items: Sequence[T]
    next_page_token: str = ""


def cut_page(
    items: Sequence[T], size: int, cursor: Callable[[T], str], fingerprint: str
) -> Page[T]:
    """Return the first ``size`` of ``items`` as a page.

    Args:
        items: What is left of the list; one item more than ``size`` is enough.
        size: Items on a page.
        cursor: Sort key of an item.
        fingerprint: Of the request; see :func:`atrium_shared.paging.encode_page_token`.
    """
    if len(items) <= size:
        return Page(items)
    page = items[:size]
    return Page(page, encode_page_token(cursor(page[-1]), fingerprint))
