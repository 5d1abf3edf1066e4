"""Says whether a text mentions a fact, however its numbers and spaces are written.

The demo checks itself by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable

from atrium_suite.demo.facts import mentions
from atrium_suite.demo.facts import mentions_all as holds_facts

__all__ = ["holds_facts", "mentions", "shown_forbidden"]


def shown_forbidden(text: str, forbidden: Iterable[str]) -> list[str]:
    """Returns those of the forbidden phrases that `text` mentions."""
    return [phrase for phrase in forbidden if mentions(text, phrase)]
