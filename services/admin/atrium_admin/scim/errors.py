"""Errors in SCIM's shape (RFC 7644, section 3.12): status, scimType, and our reason in the text."""

from __future__ import annotations

from pydantic import ValidationError
from scim2_models import Error, SCIMException

from atrium_admin.domain.errors import ExternalIdTaken, GroupExists, UserExists, UserNameTaken
from atrium_shared.errors import (
    AtriumError,
    Conflict,
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)

_MOST_ECHO = 100
_UNIQUE = (ExternalIdTaken, GroupExists, UserExists, UserNameTaken)
_STATUS = (
    (NotFound, 404),
    (Unauthenticated, 401),
    (Denied, 403),
    (Conflict, 409),
    (Invalid, 400),
    (Exhausted, 413),
    (Unavailable, 503),
)


class BodyMalformed(Invalid):
    """The body is no JSON object."""

    reason = "SCIM_BODY_MALFORMED"

    def __init__(self) -> None:
        super().__init__("The body must be a JSON object.")


class BodyTooLarge(Exhausted):
    """The body is larger than any resource."""

    reason = "SCIM_BODY_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit:,} bytes. Send less at once.")


class PatchTooLong(Exhausted):
    """The patch holds too many operations."""

    reason = "SCIM_PATCH_TOO_LONG"

    def __init__(self, operations: int, limit: int) -> None:
        super().__init__(
            f"The patch holds {operations:,} operations; at most {limit:,} are taken at once."
        )


class FilterUnsupported(Invalid):
    """The filter is well-formed, but not one by which anything is found here."""

    reason = "SCIM_FILTER_UNSUPPORTED"

    def __init__(self, asked: str, expected: str) -> None:
        super().__init__(f"Nothing is found by {asked[:_MOST_ECHO]!r}: {expected}.")


class FilterTooLong(Invalid):
    """The filter is longer than any directory writes."""

    reason = "SCIM_FILTER_TOO_LONG"

    def __init__(self, characters: int, limit: int) -> None:
        super().__init__(
            f"The filter has {characters:,} characters; at most {limit:,} are read. Ask for less "
            f"at once."
        )


class SortUnsupported(Invalid):
    """Nothing is sorted this way."""

    reason = "SCIM_SORT_UNSUPPORTED"

    def __init__(self, parameter: str, expected: str) -> None:
        super().__init__(f"{parameter!r} must be {expected}.")


class ParameterMalformed(Invalid):
    """A parameter of a list request is no whole number."""

    reason = "SCIM_PARAMETER_MALFORMED"

    def __init__(self, parameter: str) -> None:
        super().__init__(f"{parameter!r} must be a whole number.")


class PathTooLong(Invalid):
    """A path of a patch is longer than any directory writes."""

    reason = "SCIM_PATH_TOO_LONG"

    def __init__(self, characters: int, limit: int) -> None:
        super().__init__(
            f"A path of the patch has {characters:,} characters; at most {limit:,} are read. Send "
            f"several operations."
        )


class PermissionMissing(Denied):
    """The caller may not write the directory."""

    reason = "PERMISSION_DENIED"

    def __init__(self, permission: str) -> None:
        super().__init__(f"This needs {permission!r}. Use a key of a user who holds it.")


def error_body(error: AtriumError | SCIMException | ValidationError) -> tuple[int, str]:
    """Return the status and the body for an error."""
    if isinstance(error, ValidationError):
        first = Error.from_validation_errors(error)[0]
        return scim_error(first.status or 400, first.scim_type or "", first.detail or "")
    if isinstance(error, SCIMException):
        return scim_error(error.status, error.scim_type, error.detail)
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    kind = ""
    if isinstance(error, _UNIQUE):
        kind = "uniqueness"
    elif isinstance(error, NotFound) and error.field is not None:
        # It is not what the URL names that is missing, but something that the body refers to.
        status, kind = 400, "invalidValue"
    elif isinstance(error, FilterUnsupported | FilterTooLong):
        kind = "invalidFilter"
    elif isinstance(error, PathTooLong):
        kind = "invalidPath"
    elif isinstance(error, BodyMalformed):
        kind = "invalidSyntax"
    elif isinstance(error, Invalid):
        kind = "invalidValue"
    return scim_error(status, kind, f"{error.message} ({error.reason})")


def scim_error(status: int, scim_type: str, detail: str) -> tuple[int, str]:
    """Return the status and the body for an error."""
    # The library's texts may run over several lines and end in links to its own pages.
    line = " ".join(part.strip() for part in detail.splitlines() if "https://" not in part)
    error = Error(status=status, scim_type=scim_type or None, detail=line)
    return status, error.model_dump_json()
