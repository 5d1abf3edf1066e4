"""Resource names as people type and read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp


def full_name(kind: str, name: str) -> str:
    """Return ``users/lin`` for ``lin`` and for ``users/lin``."""
    return name if name.startswith(f"{kind}/") else f"{kind}/{name}"


def full_names(kind: str, names: Sequence[str] | None) -> list[str]:
    """Return the full name of each."""
    return [full_name(kind, each) for each in names or ()]


def short_name(name: str) -> str:
    """Return ``lin`` for ``users/lin``."""
    return name.partition("/")[2] or name


def moment(time: Timestamp) -> str:
    """Return a time in UTC; "" for none."""
    return time.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M") if time.seconds else ""
