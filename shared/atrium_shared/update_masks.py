"""Update masks (AIP-134)."""

from __future__ import annotations

from collections.abc import Sequence

from atrium_shared.errors import Invalid


class UpdateMaskUnknown(Invalid):
    """The update mask names a field that cannot be changed."""

    reason = "UPDATE_MASK_UNKNOWN"

    def __init__(self, path: str, allowed: Sequence[str]) -> None:
        listed = ", ".join(allowed)
        super().__init__(
            f"The update mask names {path!r}; expected some of: {listed}.",
            field="update_mask",
            path=path,
            allowed=listed,
        )


def resolve_mask(
    paths: Sequence[str], allowed: Sequence[str], *, named_only: Sequence[str] = ()
) -> frozenset[str]:
    """Return the fields to change: those named, or all when none is named or by ``*``.

    Args:
        paths: The mask.
        allowed: Fields that can be changed.
        named_only: Those among them that must be named: they came later, and who does not know
            them must not empty them.

    Raises:
        UpdateMaskUnknown: A path names no field that can be changed.
    """
    if not paths or list(paths) == ["*"]:
        return frozenset(allowed).difference(named_only)
    for path in paths:
        if path not in allowed:
            raise UpdateMaskUnknown(path, allowed)
    return frozenset(paths)
