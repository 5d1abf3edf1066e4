"""Resource names (AIP-122): ``users/lin`` outside, ``lin`` inside."""

from __future__ import annotations

import re

from atrium_admin.domain.errors import FieldInvalid

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def id_of(collection: str, name: str) -> str | None:
    """Return the id in ``<collection>/<id>``, or None when the name has another form.

    A malformed name names nothing, so callers treat None as absent.
    """
    prefix, _, rest = name.partition("/")
    return rest if prefix == collection and is_id(rest) else None


def is_id(text: str) -> bool:
    """Say whether ``text`` is a well-formed id: letters, digits and ``._@-``, at most 128."""
    return _ID.fullmatch(text) is not None


def user_name(user_id: str) -> str:
    """Return ``users/<id>``."""
    return f"users/{user_id}"


def group_name(group_id: str) -> str:
    """Return ``groups/<id>``."""
    return f"groups/{group_id}"


def role_name(role_id: str) -> str:
    """Return ``roles/<id>``."""
    return f"roles/{role_id}"


def api_key_name(key_id: str) -> str:
    """Return ``apiKeys/<id>``."""
    return f"apiKeys/{key_id}"


def tenant_name(tenant_id: str) -> str:
    """Return ``tenants/<id>``."""
    return f"tenants/{tenant_id}"


def require_one_line(text: str, *, field: str) -> str:
    """Return ``text`` as it is.

    Raises:
        FieldInvalid: It holds control characters or line breaks.
    """
    if _CONTROL.search(text):
        raise FieldInvalid(field, "one line without control characters")
    return text


def display_text(text: str, *, field: str, default: str = "") -> str:
    """Return a text for people without surrounding spaces; ``default`` when nothing is left.

    Raises:
        FieldInvalid: It holds control characters or line breaks.
    """
    return require_one_line(text.strip(), field=field) or default


def single_line(text: str, limit: int) -> str:
    """Return ``text`` cut to ``limit`` code points, control characters replaced by U+FFFD."""
    return _CONTROL.sub("\ufffd", text[:limit])
