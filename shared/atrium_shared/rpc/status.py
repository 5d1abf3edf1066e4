"""The six kinds of error as ``google.rpc.Status`` and back (AIP-193)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NoReturn
from urllib.parse import quote

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

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

DOMAIN = "atrium"
DETAILS_KEY = "grpc-status-details-bin"

# A peer may refuse more than 8 KiB of metadata, where the status travels twice: percent-encoded
# (nine bytes for a Chinese character) and inside the details (base64).
_MAX_ENCODED_MESSAGE_BYTES = 2000
_MAX_DETAILS_BYTES = 3400
_MAX_VALUE_CHARS = 300


class FieldInvalid(Invalid):
    """A request breaks limits that its proto states.

    Args:
        violations: Path of the field and what is wrong with it, for every violation.
    """

    reason = "FIELD_INVALID"

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        first, problem = violations[0]
        more = f" ({len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(
            f"Field {first!r}: {problem}.{more}" if first else f"{problem}.{more}",
            field=first or None,
            violations=len(violations),
        )
        self.violations = tuple(violations)


class TextUnstorable(FieldInvalid):
    """A text of a request holds a character that no database keeps."""

    reason = "TEXT_UNSTORABLE"


def status_code(error: AtriumError) -> grpc.StatusCode:
    """Return the gRPC code of an error's kind."""
    match error:
        case NotFound():
            return grpc.StatusCode.NOT_FOUND
        case Unauthenticated():
            return grpc.StatusCode.UNAUTHENTICATED
        case Denied():
            return grpc.StatusCode.PERMISSION_DENIED
        case Conflict() if error.reason.endswith("_EXISTS"):
            return grpc.StatusCode.ALREADY_EXISTS
        case Conflict() if error.reason.endswith("_CHANGED"):
            return grpc.StatusCode.ABORTED
        case Conflict():
            return grpc.StatusCode.FAILED_PRECONDITION
        case Invalid():
            return grpc.StatusCode.INVALID_ARGUMENT
        case Exhausted():
            return grpc.StatusCode.RESOURCE_EXHAUSTED
        case Unavailable():
            return grpc.StatusCode.UNAVAILABLE
    raise TypeError(f"{type(error).__name__} is none of the six kinds of error.")


def error_to_status(error: AtriumError, trace_id: str = "") -> status_pb2.Status:
    """Return the status of an error.

    Its details are ErrorInfo, RequestInfo, RetryInfo when it is known when to try again, and
    BadRequest when a field is at fault.

    Long texts are cut so that the status fits into the metadata that any peer accepts; the number
    of violations stays in the metadata of ErrorInfo.
    """
    status = status_pb2.Status(code=status_code(error).value[0], message=_cut(error.message))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = value[:_MAX_VALUE_CHARS]
    status.details.add().Pack(info)
    if trace_id:
        status.details.add().Pack(error_details_pb2.RequestInfo(request_id=trace_id))
    if error.retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_seconds * 1000))
        status.details.add().Pack(retry)
    violations: Sequence[tuple[str, str]] = ()
    if isinstance(error, FieldInvalid):
        violations = error.violations
    elif error.field is not None:
        violations = ((error.field, error.message),)
    if violations:
        bad_request = error_details_pb2.BadRequest()
        room = _MAX_DETAILS_BYTES - status.ByteSize()
        for field, problem in violations:
            violation = bad_request.field_violations.add(
                field=field[:_MAX_VALUE_CHARS],
                description=problem[:_MAX_VALUE_CHARS],
                reason=error.reason,
            )
            room -= violation.ByteSize() + 4
            if room < 0 and len(bad_request.field_violations) > 1:
                bad_request.field_violations.pop()
                break
        status.details.add().Pack(bad_request)
    return status


def internal_status(trace_id: str) -> status_pb2.Status:
    """Return the status of what nobody foresaw. It shows nothing but the trace id."""
    status = status_pb2.Status(
        code=grpc.StatusCode.INTERNAL.value[0],
        message=(
            f"Something went wrong inside Atrium (trace {trace_id}). Try again; if it stays, give "
            "the trace id to who runs the installation."
        ),
    )
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN))
    status.details.add().Pack(error_details_pb2.RequestInfo(request_id=trace_id))
    return status


def _cut(message: str) -> str:
    """Shorten a message until it fits percent-encoded into the metadata."""
    if len(quote(message)) <= _MAX_ENCODED_MESSAGE_BYTES:
        return message
    size, kept = 0, 0
    for character in message:
        size += len(quote(character))
        if size > _MAX_ENCODED_MESSAGE_BYTES:
            break
        kept += 1
    return message[:kept] + "…"


class RemoteError(AtriumError):
    """An error that another Atrium service answered with; beside it stands one of the six kinds.

    Attributes:
        code: gRPC code of the answer.
        trace_id: Trace id of the other side, or empty.
        violations: Path and description of every field at fault.
    """

    code: grpc.StatusCode
    trace_id: str
    violations: Sequence[tuple[str, str]]


class RemoteNotFound(RemoteError, NotFound):
    """Another service answered NOT_FOUND."""


class RemoteUnauthenticated(RemoteError, Unauthenticated):
    """Another service answered UNAUTHENTICATED."""


class RemoteDenied(RemoteError, Denied):
    """Another service answered PERMISSION_DENIED."""


class RemoteConflict(RemoteError, Conflict):
    """Another service answered FAILED_PRECONDITION, ALREADY_EXISTS or ABORTED."""


class RemoteInvalid(RemoteError, Invalid):
    """Another service answered INVALID_ARGUMENT or OUT_OF_RANGE."""


class RemoteExhausted(RemoteError, Exhausted):
    """Another service answered RESOURCE_EXHAUSTED."""


class RemoteUnavailable(RemoteError, Unavailable):
    """Another service did not answer, not in time, or failed inside."""


_KIND_OF_CODE: Mapping[grpc.StatusCode, type[RemoteError]] = {
    grpc.StatusCode.NOT_FOUND: RemoteNotFound,
    grpc.StatusCode.UNAUTHENTICATED: RemoteUnauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: RemoteDenied,
    grpc.StatusCode.FAILED_PRECONDITION: RemoteConflict,
    grpc.StatusCode.ALREADY_EXISTS: RemoteConflict,
    grpc.StatusCode.ABORTED: RemoteConflict,
    grpc.StatusCode.INVALID_ARGUMENT: RemoteInvalid,
    grpc.StatusCode.OUT_OF_RANGE: RemoteInvalid,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RemoteExhausted,
}


@lru_cache(maxsize=1000)
def _with_reason(code: grpc.StatusCode, reason: str) -> type[RemoteError]:
    """Return a subclass with this reason, since ``reason`` belongs to the class of an error."""
    kind = _KIND_OF_CODE.get(code, RemoteUnavailable)
    return type(kind.__name__, (kind,), {"reason": reason, "__doc__": kind.__doc__})


def raise_from_rpc(error: grpc.aio.AioRpcError) -> NoReturn:
    """Raise what another service answered as one of the six kinds.

    Reason, message, metadata and field are kept. Without details the reason is the name of the
    code. Codes that stand for a failure inside the other service (INTERNAL, UNKNOWN,
    DEADLINE_EXCEEDED and so on) are raised as :class:`RemoteUnavailable`.

    Raises:
        RemoteError: Always; also an instance of one of the six kinds.
    """
    info, bad_request, request_info = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RequestInfo(),
    )
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                details = status_pb2.Status.FromString(value).details
            except DecodeError:
                continue  # some proxy's own details; the code still says what it is
            for detail in details:
                for message in (info, bad_request, request_info):
                    if detail.Is(message.DESCRIPTOR):
                        detail.Unpack(message)
    violations = [
        (violation.field, violation.description) for violation in bad_request.field_violations
    ]
    raised = _with_reason(error.code(), info.reason or error.code().name)(
        error.details() or f"The service answered {error.code().name}.",
        field=violations[0][0] if violations else None,
    )
    raised.metadata.update(info.metadata)
    raised.code = error.code()
    raised.trace_id = request_info.request_id
    raised.violations = violations
    raise raised from error
