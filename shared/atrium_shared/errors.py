"""The six kinds of error that Atrium knows.

Domain code subclasses a kind with a ``reason`` and data; it says nothing about transport. One
interceptor (:mod:`atrium_shared.rpc.interceptors`) maps the kind to a gRPC status code, ``reason``
to ``google.rpc.ErrorInfo.reason``, ``metadata`` to ``ErrorInfo.metadata`` and ``field`` to a
``google.rpc.BadRequest`` field violation (AIP-193).
"""

from __future__ import annotations

from typing import ClassVar


class AtriumError(Exception):
    """Root of all errors that a caller may see.

    Args:
        message: What was wrong, what was expected, what to do. Shown to the caller.
        field: Path of the offending request field, such as ``"document.title"``.
        **metadata: Every dynamic value of the message, for programs that read the error.

    Attributes:
        lasting: Calls fail of it until an operator changes the installation. The log tells it
            once, not with each of them.
        retry_seconds: After how long the same call may work, where that is known.
    """

    reason: ClassVar[str] = "UNSPECIFIED"
    lasting: ClassVar[bool] = False
    retry_seconds: float | None = None

    def __init__(self, message: str, *, field: str | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.metadata: dict[str, str] = {key: str(value) for key, value in metadata.items()}


class NotFound(AtriumError):
    """It does not exist, or the caller may not know that it does: the two read the same."""

    reason = "NOT_FOUND"


class Denied(AtriumError):
    """The caller is not who they must be, or may not do this."""

    reason = "DENIED"


class Unauthenticated(Denied):
    """The credential is missing, malformed, expired, revoked or unknown."""

    reason = "UNAUTHENTICATED"


class Conflict(AtriumError):
    """The state of the resource forbids it: it exists already, or changed meanwhile."""

    reason = "CONFLICT"


class Invalid(AtriumError):
    """The request itself is wrong and will be wrong again if repeated."""

    reason = "INVALID"


class Exhausted(AtriumError):
    """A quota, a size limit or a queue is full."""

    reason = "EXHAUSTED"


class Unavailable(AtriumError):
    """Something needed does not answer now; the same call may work later."""

    reason = "UNAVAILABLE"
